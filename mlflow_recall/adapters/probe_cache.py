"""A cache of finished probes, so that a second recall on the same dataset computes nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from mlflow_recall.adapters.array_cache import ArrayCache
from mlflow_recall.ports import Probe, ProbeTask

#: part of the key, which changes when the probe of the same model changes
_FORMAT_VERSION = 3


class ProbeCache:
    """Finished probes by model version, dataset, sample and input size.

    Args:
        folder: See ``ArrayCache``.
        limit: See ``ArrayCache``.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self._arrays = ArrayCache(folder, limit)

    def get(self, task: ProbeTask) -> Probe | None:
        """Return the probe of a task; None where it is not in the cache or damaged."""
        arrays = self._arrays.get(_key(task))
        with suppress(KeyError):
            return Probe(
                labels=arrays["labels"],
                embeddings=arrays["embeddings"],
                probabilities=arrays.get("probabilities"),
                seconds=0.0,
                layers=int(arrays["layers"][0]) if "layers" in arrays else None,
            )
        return None

    def put(self, task: ProbeTask, probe: Probe) -> None:
        """Write a probe, and delete what was used longest ago above the limit."""
        arrays = {"labels": probe.labels, "embeddings": probe.embeddings}
        if probe.layers is not None:
            arrays["layers"] = np.array([probe.layers])
        if probe.probabilities is not None:
            arrays["probabilities"] = probe.probabilities
        self._arrays.put(_key(task), arrays)


def _key(task: ProbeTask) -> list[object]:
    member, recipe = task.member, task.recipe
    return [
        *(_FORMAT_VERSION, member.identity, member.name, member.version, member.arch),
        *(member.has_source_head, dict(member.config)),
        *(task.dataset.digest, task.samples, recipe.seed, recipe.input_size),
    ]
