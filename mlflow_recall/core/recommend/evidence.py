"""What a recommender is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.errors import ConfigError

#: one feature of many models or datasets: numbers (NaN unknown) or labels (empty unknown)
FeatureColumn: TypeAlias = Sequence[float | str]
_Item = TypeVar("_Item")


@dataclass(frozen=True, eq=False)
class Evidence:
    """History of m candidates on d datasets, and scores of some of them on the target.

    Only the first two are needed. What the others are for: ``proxies`` or ``scores`` say something
    about the target itself, ``past`` how far such scores can be trusted, and features carry over
    to models and datasets without a history.
    """

    matrix: PerformanceMatrix
    clustering: Clustering
    #: representative -> score on the target; all of one kind, higher transfers better
    representative_scores: Mapping[str, float] = field(default_factory=dict)
    #: score -> (m,) values on the target, higher transfers better; NaN where not computed
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    #: score -> (m, d) values on the recorded datasets; NaN where not computed
    recorded_scores: Mapping[str, FloatArray] = field(default_factory=dict)
    #: feature -> one value a model
    model_features: Mapping[str, FeatureColumn] = field(default_factory=dict)
    #: feature -> one value a recorded dataset
    dataset_features: Mapping[str, FeatureColumn] = field(default_factory=dict)
    #: feature -> its value for the target
    target_features: Mapping[str, float | str] = field(default_factory=dict)
    #: (d + 1, d + 1) distance of the class names of the recorded datasets and, last, the target
    label_distance: FloatArray | None = None
    #: model without a history -> the strength that is expected of it
    estimated_z_scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        models, datasets = self.matrix.values.shape
        for what, arrays, shape in (
            ("scores", self.scores, (models,)),
            ("past", self.recorded_scores, (models, datasets)),
            ("model_features", self.model_features, (models,)),
            ("dataset_features", self.dataset_features, (datasets,)),
        ):
            for name, values in arrays.items():
                size = values.shape if isinstance(values, np.ndarray) else (len(values),)
                if size != shape:
                    raise ConfigError(f"{what}: expected {name} with shape {shape}, got {size}")
        square = (datasets + 1, datasets + 1)
        if self.label_distance is not None and self.label_distance.shape != square:
            raise ConfigError(
                f"label_distance: expected shape {square}, got {self.label_distance.shape}"
            )

    @property
    def mean_z_score(self) -> FloatArray:
        """(m,) mean z-score in the history, or what is expected of a model without one."""
        expected = [self.estimated_z_scores.get(model, np.nan) for model in self.matrix.models]
        return np.where(np.isnan(self.matrix.mean_z_score), expected, self.matrix.mean_z_score)

    def hold_out(self, dataset: int) -> Evidence:
        """What was known before recorded dataset number ``dataset``, as if it were the target.

        The clusters stay: they only carry scores from a representative to its members.
        """
        keep = np.arange(len(self.matrix.datasets)) != dataset
        matrix = PerformanceMatrix(
            self.matrix.models,
            _without(self.matrix.datasets, dataset),
            self.matrix.values[:, keep],
        )
        scored = {name: ~np.isnan(values) for name, values in self.target_scores().items()}
        scores = {
            name: np.where(scored[name], values[:, dataset], np.nan)
            for name, values in self.recorded_scores.items()
            if name in scored
        }
        columns = self.dataset_features.items()
        last = [*np.flatnonzero(keep).tolist(), dataset]
        return replace(
            self,
            matrix=matrix,
            representative_scores={},
            scores={name: values for name, values in scores.items() if not np.isnan(values).all()},
            recorded_scores={
                name: values[:, keep] for name, values in self.recorded_scores.items()
            },
            dataset_features={name: _without(tuple(column), dataset) for name, column in columns},
            target_features={name: column[dataset] for name, column in columns},
            label_distance=(
                None if self.label_distance is None else self.label_distance[np.ix_(last, last)]
            ),
        )

    def target_scores(self) -> dict[str, FloatArray]:
        """Score -> (m,) values on the target as computed; ``proxies`` alone are called proxy."""
        if self.scores or not self.usable_representative_scores:
            return dict(self.scores)
        return {
            "proxy": np.array(
                [self.usable_representative_scores.get(m, np.nan) for m in self.matrix.models]
            )
        }

    def propagated_scores(self) -> dict[str, FloatArray]:
        """Score -> (m,) values of the models themselves, or else of who represents them.

        Scores without spread say nothing and are left out. NaN: a model that nobody speaks for.
        """
        found = {name: self._represented(values) for name, values in self.target_scores().items()}
        return {name: v for name, v in found.items() if len(np.unique(v[~np.isnan(v)])) > 1}

    def _represented(self, values: FloatArray) -> FloatArray:
        if not np.isnan(values).any():
            return values
        of = dict(zip(self.matrix.models, values.tolist(), strict=True))
        for group in self.clustering.clusters:
            said = of.get(group.representative, np.nan)
            of |= {m: said for m in group.members if m in of and np.isnan(of[m])}
        return np.array([of[model] for model in self.matrix.models])

    def propagated_representative_scores(self) -> FloatArray:
        """(m,) the proxies carried over to every model; NaN for models without history.

        A member of a cluster has its representative's. Anyone else has the mean of all proxies,
        weighted by similarity (eq. 1) to their representatives.
        """
        models = self.matrix.models
        usable = self.usable_representative_scores
        known = list(usable)
        if not known:
            return np.full(len(models), np.nan)
        proxy = np.array([usable[name] for name in known])
        similarity = self.similarity(known)
        values, weights = similarity @ proxy, similarity.sum(axis=1)
        mean = np.divide(values, weights, out=np.full(len(models), np.nan), where=weights > 0)
        own = [self._representative_score(name) for name in models]
        return np.array([m if o is None else o for m, o in zip(mean, own, strict=True)])

    def similarity(self, others: list[str]) -> FloatArray:
        """(m, k) similarity (eq. 1) of every model to k others, in [0, 1]; 0 without history."""
        clustered = self.clustering.models
        has = np.array([model in clustered for model in self.matrix.models], dtype=bool)
        rows = indices_of(clustered, (m for m in self.matrix.models if m in clustered))
        columns = indices_of(clustered, others)
        similarity = np.zeros((len(self.matrix.models), len(others)))
        distance = self.clustering.distance[np.ix_(rows, columns)]
        similarity[has] = np.clip(1.0 - distance, 0.0, 1.0)
        return similarity

    @property
    def usable_representative_scores(self) -> dict[str, float]:
        """The finite proxies of models that were clustered, so that distances to them exist.

        Without proxies, what the first of the ``scores`` says of the clusters' representatives.
        """
        proxies = self.representative_scores
        if not proxies and self.scores:
            known = dict(zip(self.matrix.models, next(iter(self.scores.values())), strict=True))
            proxies = {m: float(known[m]) for m in self.clustering.representatives if m in known}
        clustered = set(self.clustering.models)
        return {m: p for m, p in proxies.items() if m in clustered and np.isfinite(p)}

    def _representative_score(self, model: str) -> float | None:
        cluster = self.clustering.cluster_of(model)
        return (
            None
            if cluster is None
            else self.usable_representative_scores.get(cluster.representative)
        )


def _without(items: tuple[_Item, ...], place: int) -> tuple[_Item, ...]:
    return (*items[:place], *items[place + 1 :])


@dataclass(frozen=True, eq=False)
class Ranking:
    """Models from the most to the least recommended, and what their score is made of."""

    models: tuple[str, ...]
    scores: FloatArray  # (m,) in the order of ``models``
    #: (m,) each, in the order of ``models``
    parts: Mapping[str, FloatArray]

    @classmethod
    def from_scores(
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
