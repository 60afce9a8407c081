"""Folders that somebody else filled: nothing below them may lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def find_escape(folder: Path, *roots: Path) -> Path | None:
    """Return the first path below a folder that is outside of it after resolving links.

    Args:
        folder: Folder to search, through links to folders too.
        roots: Folders that links may lead to; without any, the folder itself, and the blobs of a
            hub cache if the folder is a snapshot of one.

    Returns:
        The path as it stands below the folder; None where nothing leads elsewhere.
    """
    allowed = [root.resolve() for root in roots or (folder, *_blob_folders(folder))]
    visited: set[Path] = set()
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        resolved = path.resolve()
        if not any(resolved.is_relative_to(root) for root in allowed):
            return path
        if resolved.is_dir() and resolved not in visited:
            visited.add(resolved)
            waiting.extend(sorted(path.iterdir(), reverse=True))
    return None


def _blob_folders(folder: Path) -> Iterator[Path]:
    """Yield where the links of a snapshot in a hub cache lead to; nothing for another folder."""
    snapshot = folder.resolve()
    if snapshot.parent.name == "snapshots" and snapshot.parents[1].name.startswith("models--"):
        yield snapshot.parents[1] / "blobs"
        yield snapshot.parents[2] / "blobs"  # shared by all repositories
