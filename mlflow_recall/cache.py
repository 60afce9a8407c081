"""The folder on this machine for what can be made again: datasets, checkpoints, weights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """``$MLFLOW_RECALL_CACHE``, by default ``~/.cache/mlflow-recall``, and a folder below it."""
    root = os.environ.get("MLFLOW_RECALL_CACHE") or "~/.cache/mlflow-recall"
    return Path(root).expanduser().resolve().joinpath(*parts)


def build_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """``folder``, made by ``make`` if it is not there yet.

    It appears whole or not at all, also when two processes make it at once.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    rough = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(rough)
        try:
            rough.rename(folder)
        except OSError:
            if not folder.exists():  # another process was faster: its copy is as good
                raise
    finally:
        shutil.rmtree(rough, ignore_errors=True)
    return folder
