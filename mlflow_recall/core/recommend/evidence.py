"""What a recommender is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clustering import Clustering
from mlflow_recall.core.matrix import PerformanceMatrix, positions


@dataclass(frozen=True, eq=False)
class Evidence:
    """History of m candidates, and one score of some representatives on the target."""

    matrix: PerformanceMatrix
    clustering: Clustering
    #: representative -> score on the target; all of one kind, higher transfers better
    proxies: Mapping[str, float] = field(default_factory=dict)

    def propagated(self) -> FloatArray:
        """(m,) the proxies carried over to every model; NaN for models without history.

        A member of a cluster has its representative's. Anyone else has the mean of all proxies,
        weighted by similarity (eq. 1) to their representatives.
        """
        models = self.matrix.models
        usable = self.usable
        known = list(usable)
        if not known:
            return np.full(len(models), np.nan)
        proxy = np.array([usable[name] for name in known])
        similarity = self.similarity(known)
        values, weights = similarity @ proxy, similarity.sum(axis=1)
        mean = np.divide(values, weights, out=np.full(len(models), np.nan), where=weights > 0)
        own = [self._proxy_of(name) for name in models]
        return np.array([m if o is None else o for m, o in zip(mean, own, strict=True)])

    def similarity(self, others: list[str]) -> FloatArray:
        """(m, k) similarity (eq. 1) of every model to k others, in [0, 1]; 0 without history."""
        clustered = self.clustering.models
        has = np.array([model in clustered for model in self.matrix.models], dtype=bool)
        rows = positions(clustered, (m for m in self.matrix.models if m in clustered))
        columns = positions(clustered, others)
        similarity = np.zeros((len(self.matrix.models), len(others)))
        distance = self.clustering.distance[np.ix_(rows, columns)]
        similarity[has] = np.clip(1.0 - distance, 0.0, 1.0)
        return similarity

    @property
    def usable(self) -> dict[str, float]:
        """The finite proxies of models that were clustered, so that distances to them exist."""
        clustered = self.clustering.models
        return {m: p for m, p in self.proxies.items() if m in clustered and np.isfinite(p)}

    def _proxy_of(self, model: str) -> float | None:
        cluster = self.clustering.of(model)
        return None if cluster is None else self.usable.get(cluster.representative)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Models from the most to the least recommended, and what their score is made of."""

    models: tuple[str, ...]
    scores: FloatArray  # (m,) in the order of ``models``
    #: (m,) each, in the order of ``models``
    parts: Mapping[str, FloatArray]

    @classmethod
    def by(
        cls, models: tuple[str, ...], scores: FloatArray, parts: Mapping[str, FloatArray]
    ) -> Ranking:
        """Sort by score, highest first; NaN last; ties by name."""
        known = np.where(np.isnan(scores), -np.inf, scores)
        order = sorted(range(len(models)), key=lambda i: (-known[i], models[i]))
        return cls(
            tuple(models[i] for i in order),
            scores[order],
            {name: values[order] for name, values in parts.items()},
        )


Recommender: TypeAlias = Callable[[Evidence], Ranking]
