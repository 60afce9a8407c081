"""The cache folder on this machine, for datasets, checkpoints and weights."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow_recall.errors import ConfigError

#: name of a folder of the cache: never a path, and never hidden
_NAME = re.compile(r"\w[\w.-]{0,199}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


def is_digest(text: str) -> bool:
    """Return whether a text, which a tag may hold, has the form of a digest."""
    return _DIGEST.fullmatch(text) is not None


def cache_folder(*parts: str) -> Path:
    """Return a folder in ``$MLFLOW_RECALL_CACHE``, which defaults to ``~/.cache/mlflow-recall``.

    Raises:
        ConfigError: A part is no plain name.
    """
    for part in parts:
        if not _NAME.fullmatch(part):
            raise ConfigError(f"cache: expected names of folders, got {part!r}")
    root = os.environ.get("MLFLOW_RECALL_CACHE") or "~/.cache/mlflow-recall"
    return Path(root).expanduser().resolve().joinpath(*parts)


def build_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return a folder, which is created if it does not exist.

    It is never visible before it is complete, also when two processes create it at the same time.

    Args:
        folder: Folder to return.
        make: Writes the content into an empty folder.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # another process was faster, and its copy is the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
