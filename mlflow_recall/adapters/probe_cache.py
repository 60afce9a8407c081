"""A cache of finished probes, so that a second recall on the same dataset computes nothing.

A probe is one safetensors file in the cache folder, which is never visible before it is complete.
When the files exceed the limit, those that were used longest ago are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mlflow_recall.cache import cache_folder
from mlflow_recall.ports import Probe, ProbeTask

#: default limit of all files together in bytes; ``MLFLOW_RECALL_PROBES`` sets it in megabytes
_DEFAULT_LIMIT = 2_000_000_000
#: part of the key, which changes when the probe of the same model changes
_FORMAT_VERSION = 3


class ProbeCache:
    """Finished probes by model version, dataset, sample and input size.

    Args:
        folder: Folder of the files; None: a folder in the cache folder.
        limit: Limit of all files together in bytes; None: the environment or the default says it.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        megabytes = os.environ.get("MLFLOW_RECALL_PROBES", "")
        default = int(megabytes) * 1_000_000 if megabytes.isdigit() else _DEFAULT_LIMIT
        self._folder = folder or cache_folder("probes")
        self._limit = default if limit is None else limit

    def get(self, task: ProbeTask) -> Probe | None:
        """Return the probe of a task; None where it is not in the cache or damaged."""
        file = self._file(task)
        with suppress(OSError, SafetensorError, KeyError, ValueError):
            with safe_open(file, framework="np") as tensors:
                names = set(tensors.keys())
                probe = Probe(
                    labels=tensors.get_tensor("labels"),
                    embeddings=tensors.get_tensor("embeddings"),
                    probabilities=(
                        tensors.get_tensor("probabilities") if "probabilities" in names else None
                    ),
                    seconds=0.0,
                    layers=int(tensors.get_tensor("layers")[0]) if "layers" in names else None,
                )
            _touch(file)
            return probe
        return None

    def put(self, task: ProbeTask, probe: Probe) -> None:
        """Write a probe, and delete the probes that were used longest ago above the limit."""
        arrays = {"labels": probe.labels, "embeddings": probe.embeddings}
        if probe.layers is not None:
            arrays["layers"] = np.array([probe.layers])
        if probe.probabilities is not None:
            arrays["probabilities"] = probe.probabilities
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix=".part", dir=self._folder)
        os.close(handle)
        partial = Path(name)
        try:
            save_file(arrays, partial)
            _touch(partial)
            partial.replace(self._file(task))
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

    def _file(self, task: ProbeTask) -> Path:
        member, recipe = task.member, task.recipe
        key = [
            *(_FORMAT_VERSION, member.identity, member.name, member.version, member.arch),
            *(member.has_source_head, dict(member.config)),
            *(task.dataset.digest, task.samples, recipe.seed, recipe.input_size),
        ]
        text = json.dumps(key, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"


def _touch(file: Path) -> None:
    """Set the time of the last use, since the file system's own clock is milliseconds late."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))
