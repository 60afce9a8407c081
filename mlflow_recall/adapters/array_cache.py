"""A cache of arrays in files, which keeps within a limit.

An entry is one safetensors file, which is never visible before it is complete. When the files
exceed the limit, those that were used longest ago are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlflow_recall.cache import cache_folder
from mlflow_recall.core.arrays import AnyArray

#: default limit of all files together in bytes; ``MLFLOW_RECALL_PROBES`` sets it in megabytes
_DEFAULT_LIMIT = 2_000_000_000


class ArrayCache:
    """Named arrays by a key.

    Args:
        folder: Folder of the files; None: a folder in the cache folder.
        limit: Limit of all files together in bytes; None: the environment or the default says it.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        megabytes = os.environ.get("MLFLOW_RECALL_PROBES", "")
        default = int(megabytes) * 1_000_000 if megabytes.isdigit() else _DEFAULT_LIMIT
        self._folder = folder or cache_folder("probes")
        self._limit = default if limit is None else limit

    def get(self, key: Sequence[object]) -> dict[str, AnyArray]:
        """Return the arrays of a key; none where they are not in the cache or damaged."""
        file = self._file(key)
        with suppress(OSError, SafetensorError, ValueError):
            arrays: dict[str, AnyArray] = load_file(file)
            _touch(file)
            return arrays
        return {}

    def put(self, key: Sequence[object], arrays: Mapping[str, AnyArray]) -> None:
        """Write the arrays of a key, and delete those used longest ago above the limit."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)
        os.close(handle)
        partial = Path(name)
        try:
            save_file(dict(arrays), partial)
            _touch(partial)
            partial.replace(self._file(key))
        finally:
            partial.unlink(missing_ok=True)
        self._shrink()

    def _shrink(self) -> None:
        files = []
        for file in self._folder.glob("*.safetensors"):
            with suppress(OSError):  # another process has deleted it
                stat = file.stat()
                files.append((stat.st_mtime_ns, stat.st_size, file))
        total = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if total <= self._limit:
                return
            file.unlink(missing_ok=True)
            total -= size

    def _file(self, key: Sequence[object]) -> Path:
        text = json.dumps(key, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"


def _touch(file: Path) -> None:
    """Set the time of the last use, since the file system's own clock is milliseconds late."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))
