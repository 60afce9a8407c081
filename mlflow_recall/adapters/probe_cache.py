"""Probes that were made before: a second recall on the same dataset computes nothing.

A probe is one safetensors file below the cache folder. It appears whole or not at all, whatever
other processes do, and the files that were read longest ago go when there are too many.
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

#: bytes of all probes together, where ``MLFLOW_RECALL_PROBES`` names no other number of megabytes
_LIMIT = 2_000_000_000
#: changes when the same model would be seen differently
_FORMAT = 2


class ProbeCache:
    """Finished probes by model version, dataset, sample and size of input.

    Args:
        folder: of the files; below the cache folder if not given.
        limit: bytes of all files together.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        megabytes = os.environ.get("MLFLOW_RECALL_PROBES", "")
        told = int(megabytes) * 1_000_000 if megabytes.isdigit() else _LIMIT
        self._folder = folder or cache_folder("probes")
        self._limit = told if limit is None else limit

    def get(self, task: ProbeTask) -> Probe | None:
        """The probe that this task would make, if it is there and whole."""
        file = self._file(task)
        with suppress(OSError, SafetensorError, KeyError, ValueError):
            with safe_open(file, framework="np") as opened:
                names = set(opened.keys())
                probabilities = (
                    opened.get_tensor("probabilities") if "probabilities" in names else None
                )
                layers = int(opened.get_tensor("layers")[0]) if "layers" in names else None
                probe = Probe(
                    labels=opened.get_tensor("labels"),
                    embeddings=opened.get_tensor("embeddings"),
                    probabilities=probabilities,
                    seconds=0.0,
                    layers=layers,
                )
            _touch(file)
            return probe
        return None

    def put(self, task: ProbeTask, probe: Probe) -> None:
        """Keep a probe, and let the oldest go where there are too many bytes."""
        arrays = {"labels": probe.labels, "embeddings": probe.embeddings}
        if probe.layers is not None:
            arrays["layers"] = np.array([probe.layers])
        if probe.probabilities is not None:
            arrays["probabilities"] = probe.probabilities
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, rough = tempfile.mkstemp(suffix=".part", dir=self._folder)
        os.close(handle)
        try:
            save_file(arrays, rough)
            _touch(Path(rough))
            Path(rough).replace(self._file(task))
        finally:
            Path(rough).unlink(missing_ok=True)
        self._shrink()

    def _shrink(self) -> None:
        files = []
        for file in self._folder.glob("*.safetensors"):
            with suppress(OSError):  # another process let it go
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
            *(_FORMAT, member.identity, member.name, member.version, member.arch),
            *(member.has_source_head, dict(member.config)),
            *(task.dataset.digest, task.samples, recipe.seed, recipe.input_size),
        ]
        text = json.dumps(key, sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"


def _touch(file: Path) -> None:
    """Used just now, by a finer clock than the file system's own, which is milliseconds late."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))
