"""What a recommender is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.errors import ConfigError

#: one feature of many models or datasets: numbers (NaN: unknown) or labels (empty: unknown)
FeatureColumn: TypeAlias = Sequence[float | str]
#: feature -> model or dataset -> value, as a ``History`` has them
Features: TypeAlias = Mapping[str, Mapping[str, float | str]]
_Item = TypeVar("_Item")


def feature_columns(features: Features, names: Sequence[str]) -> dict[str, FeatureColumn]:
    """Return feature -> one value a name; empty text or NaN where unknown.

    Example:
        >>> feature_columns({"family": {"a": "bert"}}, ["a", "b"])
        {'family': ['bert', '']}
    """
    columns: dict[str, FeatureColumn] = {}
    for feature, known in features.items():
        is_text = any(isinstance(value, str) for value in known.values())
        blank: float | str = "" if is_text else float("nan")
        columns[feature] = [known.get(name, blank) for name in names]
    return columns


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """History of m candidates on d datasets, and scores of some of them on the target.

    Only the first two fields are required. ``scores`` or ``representative_scores`` describe the
    target itself, ``recorded_scores`` tell how far such scores can be trusted, and features carry
    over to models and datasets without a history.
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
    #: model without a history -> the mean z-score that is estimated for it
    estimated_z_scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        models, datasets = self.matrix.values.shape
        for what, arrays, shape in (
            ("scores", self.scores, (models,)),
            ("recorded_scores", self.recorded_scores, (models, datasets)),
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
        """(m,) mean z-score in the history, or the estimate for a model without one."""
        estimates = [self.estimated_z_scores.get(model, np.nan) for model in self.matrix.models]
        recorded = self.matrix.mean_z_score
        return np.where(np.isnan(recorded), estimates, recorded)

    def hold_out(
        self, dataset: int, known_scores: Mapping[str, BoolArray] | None = None
    ) -> Evidence:
        """Return what was known before a recorded dataset, as if that were the target.

        This is the one place where a dataset is left out. The clusters stay, since they only carry
        scores from a representative to its members.

        Args:
            dataset: Its index in the matrix.
            known_scores: Score -> (m,) models that it would have been computed for; by default the
                models that have it on the target.
        """
        if known_scores is None:
            known_scores = {n: ~np.isnan(values) for n, values in self.target_scores().items()}
        keep = np.arange(len(self.matrix.datasets)) != dataset
        matrix = PerformanceMatrix(
            self.matrix.models,
            _without(self.matrix.datasets, dataset),
            self.matrix.values[:, keep],
        )
        scores = {
            name: np.where(known_scores[name], values[:, dataset], np.nan)
            for name, values in self.recorded_scores.items()
            if name in known_scores
        }
        columns = self.dataset_features.items()
        last = [*np.flatnonzero(keep).tolist(), dataset]
        distance = self.label_distance
        return replace(
            self,
            matrix=matrix,
            representative_scores={},
            scores={name: values for name, values in scores.items() if not np.isnan(values).all()},
            recorded_scores={n: values[:, keep] for n, values in self.recorded_scores.items()},
            dataset_features={n: _without(tuple(column), dataset) for n, column in columns},
            target_features={name: column[dataset] for name, column in columns},
            label_distance=None if distance is None else distance[np.ix_(last, last)],
        )

    def select_models(self, keep: BoolArray) -> Evidence:
        """Return the evidence of the models that a mask (m,) keeps; the clustering stays."""
        models = tuple(m for m, kept in zip(self.matrix.models, keep, strict=True) if kept)
        return replace(
            self,
            matrix=PerformanceMatrix(models, self.matrix.datasets, self.matrix.values[keep]),
            scores={name: values[keep] for name, values in self.scores.items()},
            recorded_scores={name: values[keep] for name, values in self.recorded_scores.items()},
            model_features={
                name: [value for value, kept in zip(column, keep, strict=True) if kept]
                for name, column in self.model_features.items()
            },
        )

    def target_scores(self) -> dict[str, FloatArray]:
        """Return score -> (m,) values on the target as computed.

        ``representative_scores`` alone are one score of the name ``proxy``.
        """
        if self.scores or not self.usable_representative_scores:
            return dict(self.scores)
        known = self.usable_representative_scores
        return {"proxy": np.array([known.get(m, np.nan) for m in self.matrix.models])}

    def propagated_scores(self) -> dict[str, FloatArray]:
        """Return score -> (m,) values of the models themselves, or else of their representatives.

        Scores that are the same for every model are left out. NaN: nobody represents the model.
        """
        scores = {name: self._propagate(values) for name, values in self.target_scores().items()}
        return {n: v for n, v in scores.items() if len(np.unique(v[~np.isnan(v)])) > 1}

    def _propagate(self, values: FloatArray) -> FloatArray:
        if not np.isnan(values).any():
            return values
        score = dict(zip(self.matrix.models, values.tolist(), strict=True))
        for cluster in self.clustering.clusters:
            shared = score.get(cluster.representative, np.nan)
            score |= {m: shared for m in cluster.members if m in score and np.isnan(score[m])}
        return np.array([score[model] for model in self.matrix.models])

    def propagated_representative_scores(self) -> FloatArray:
        """Return (m,) the representatives' score carried over to every model.

        A member of a cluster has its representative's. Every other model has the mean of all
        representatives, weighted by similarity (Eq. 1) to them. NaN: a model without history.
        """
        models = self.matrix.models
        known = self.usable_representative_scores
        names = list(known)
        if not names:
            return np.full(len(models), np.nan)
        similarity = self.similarity(names)
        weighted = similarity @ np.array([known[name] for name in names])
        total = similarity.sum(axis=1)
        mean = np.divide(weighted, total, out=np.full(len(models), np.nan), where=total > 0)
        own = [self._representative_score(name) for name in models]
        return np.array([m if o is None else o for m, o in zip(mean, own, strict=True)])

    def similarity(self, others: list[str]) -> FloatArray:
        """Return (m, k) similarity (Eq. 1) of every model to k others, in [0, 1]; 0: no history."""
        clustered = self.clustering.models
        has_history = np.array([model in clustered for model in self.matrix.models], dtype=bool)
        rows = indices_of(clustered, (m for m in self.matrix.models if m in clustered))
        columns = indices_of(clustered, others)
        similarity = np.zeros((len(self.matrix.models), len(others)))
        distance = self.clustering.distance[np.ix_(rows, columns)]
        similarity[has_history] = np.clip(1.0 - distance, 0.0, 1.0)
        return similarity

    @property
    def usable_representative_scores(self) -> dict[str, float]:
        """The finite scores of models that were clustered, so that distances to them exist.

        Without ``representative_scores``, those of the first of the ``scores``.
        """
        scores = self.representative_scores
        if not scores and self.scores:
            known = dict(zip(self.matrix.models, next(iter(self.scores.values())), strict=True))
            scores = {m: float(known[m]) for m in self.clustering.representatives if m in known}
        clustered = set(self.clustering.models)
        return {m: s for m, s in scores.items() if m in clustered and np.isfinite(s)}

    def _representative_score(self, model: str) -> float | None:
        cluster = self.clustering.cluster_of(model)
        if cluster is None:
            return None
        return self.usable_representative_scores.get(cluster.representative)


def _without(items: tuple[_Item, ...], index: int) -> tuple[_Item, ...]:
    return (*items[:index], *items[index + 1 :])


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
        """Sort models by score, highest first; NaN last, ties by name."""
        known = np.where(np.isnan(scores), -np.inf, scores)
        order = sorted(range(len(models)), key=lambda i: (-known[i], models[i]))
        return cls(
            tuple(models[i] for i in order),
            scores[order],
            {name: values[order] for name, values in parts.items()},
        )


Recommender: TypeAlias = Callable[[Evidence], Ranking]
