"""Estimates for models without a history from a few scores on recorded datasets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray, IntArray, nan_mean
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.core.recommend.cold_start import (
    FEATURES,
    NEIGHBORS,
    ColdStartEstimate,
    gower_distance,
    nearest_by_features,
)
from mlflow_recall.core.recommend.evidence import FeatureColumn
from mlflow_recall.core.standardize import z_scores

#: measured models that are scored beside the models without a history
REFERENCES = 8
#: measured models with scores below which no slope and no weight is fitted
_MIN_REFERENCES = 4
#: slope of outcomes on scores, both in standard deviations, before any is known, and the number of
#: models that it counts as
_PRIOR_SLOPE, _PRIOR_MODELS = 0.5, 4.0
#: models, with estimates one standard deviation apart, that the prior of equal weights of features
#: and scores counts as
_EQUAL_WEIGHT_MODELS = 1.0
#: standard deviations at which a score is clipped
_MAX_DEVIATION = 2.0


def reference_models(
    matrix: PerformanceMatrix,
    features: Mapping[str, FeatureColumn],
    among: Collection[str],
    most: int = REFERENCES,
) -> tuple[str, ...]:
    """Choose the measured models to score beside new models, so that scores can be compared.

    They are the three nearest to every new model by features, then others, evenly from the worst to
    the best, until there are ``most``.

    Args:
        matrix: (m, d) scores; models without a history have rows of NaN.
        features: Feature -> one value for each model of ``matrix``.
        among: Names of the models that can be scored.
        most: Number of models, unless more are among the nearest.
    """
    mean_z_score = matrix.mean_z_score
    can_score = np.array([name in among for name in matrix.models], dtype=bool)
    measured = np.flatnonzero(~np.isnan(mean_z_score) & can_score)
    distance = gower_distance(features, len(matrix.models))
    nearest: dict[int, None] = {}
    for row in np.flatnonzero(np.isnan(mean_z_score) & can_score):
        order = measured[np.argsort(distance[row, measured], kind="stable")]
        nearest |= dict.fromkeys(order[:NEIGHBORS].tolist())
    rest = np.array([row for row in measured.tolist() if row not in nearest], dtype=np.intp)
    rest = rest[np.argsort(mean_z_score[rest], kind="stable")]
    positions = np.linspace(0, len(rest) - 1, min(len(rest), max(0, most - len(nearest))))
    others = rest[positions.round().astype(int)].tolist()
    return tuple(matrix.models[row] for row in [*nearest, *others])


def most_measured(matrix: PerformanceMatrix, among: Iterable[str], limit: int) -> tuple[str, ...]:
    """Return at most ``limit`` datasets with the most measured models; ties by name."""
    count = dict(zip(matrix.datasets, (~np.isnan(matrix.values)).sum(axis=0).tolist(), strict=True))
    return tuple(sorted(among, key=lambda name: (-count[name], name))[:limit])


def score_cold_start(
    estimates: Sequence[ColdStartEstimate],
    matrix: PerformanceMatrix,
    clustering: Clustering,
    features: Mapping[str, FeatureColumn],
    recorded_scores: Mapping[str, FloatArray],
) -> list[ColdStartEstimate]:
    """Improve the estimates of models without a history by their scores on recorded datasets.

    On every dataset a score is standardized over the measured models that have it. One slope for
    all scores says by how much a model is better than their mean on that dataset. The estimates by
    features and by scores are combined by the weight, in [0, 1], that fits the scored models best:
    the least squares of their mean z-scores on both, each model held out in turn. The new model
    joins the cluster of the model that is nearest in features and mean z-score, where one standard
    deviation of the latter counts as much as all features.

    Args:
        estimates: Estimates by features, as ``estimate_from_features`` returns them.
        matrix: (m, d) scores; models without a history have rows of NaN.
        clustering: Clusters of the measured models.
        features: Feature -> one value for each model of ``matrix``; NaN or empty where unknown.
        recorded_scores: Score -> (m, d) values, higher transfers better; NaN where not computed.

    Returns:
        ``estimates``, changed where the new model and at least four measured models have scores.
    """
    mean_z_score = matrix.mean_z_score
    columns = _ScoreColumns.from_scores(matrix, recorded_scores)
    references = np.flatnonzero(~np.isnan(mean_z_score) & columns.is_scored)
    if len(references) < _MIN_REFERENCES:
        return list(estimates)
    distance = gower_distance(features, len(matrix.models))
    weight = _fit_weight(columns, distance, mean_z_score, references)
    measured = np.flatnonzero(~np.isnan(mean_z_score))
    refined = []
    for estimate in estimates:
        row = int(indices_of(matrix.models, [estimate.model])[0])
        by_scores, datasets = columns.predict(row, references)
        if not datasets:
            refined.append(estimate)
            continue
        z_score = estimate.z_score + weight * (by_scores - estimate.z_score)
        feature_distance = np.nan_to_num(distance[row, measured], nan=1.0)
        total_distance = feature_distance + np.abs(mean_z_score[measured] - z_score)
        nearest = measured[np.argmin(total_distance)]
        cluster = clustering.cluster_of(matrix.models[nearest])
        refined.append(
            replace(
                estimate,
                nearest_model=matrix.models[nearest],
                distance=float(distance[row, nearest]),
                cluster_id=cluster.id if cluster else "",
                z_score=float(z_score),
                scored_datasets=tuple(matrix.datasets[column] for column in datasets),
                score_z_score=by_scores,
                basis=f"{FEATURES} and scores on {count_of(len(datasets), 'dataset')}",
                score_weight=weight,
            )
        )
    return refined


@dataclass(frozen=True, eq=False)
class _ScoreColumns:
    """Every score on every dataset as a column, with the outcomes on that dataset."""

    values: FloatArray  # (m, q) scores
    outcomes: FloatArray  # (m, q) z-scores of the final scores on the same datasets
    datasets: IntArray  # (q,) index of each column's dataset

    @classmethod
    def from_scores(
        cls, matrix: PerformanceMatrix, recorded_scores: Mapping[str, FloatArray]
    ) -> _ScoreColumns:
        models, datasets = matrix.values.shape
        blank = np.zeros((models, 0))
        z = z_scores(matrix.values)
        return cls(
            values=np.hstack([blank, *recorded_scores.values()]),
            outcomes=np.hstack([blank, *[z] * len(recorded_scores)]),
            datasets=np.tile(np.arange(datasets), len(recorded_scores)),
        )

    @property
    def is_scored(self) -> BoolArray:
        """(m,) whether a model has any score."""
        return np.asarray(~np.isnan(self.values).all(axis=1))

    def predict(self, row: int, references: IntArray) -> tuple[float, tuple[int, ...]]:
        """Predict the mean z-score of a model from its scores and those of the references.

        Args:
            row: Index of the model.
            references: Indices of measured models with scores.

        Returns:
            The prediction, and the indices of the datasets that it uses; 0 and none where no
            dataset has scores that differ.
        """
        known = ~np.isnan(self.values[references]) & ~np.isnan(self.outcomes[references])
        usable = (known.sum(axis=0) >= 2) & ~np.isnan(self.values[row])
        own, known = self.values[row, usable], known[:, usable]
        x = np.where(known, self.values[np.ix_(references, np.flatnonzero(usable))], np.nan)
        y = np.where(known, self.outcomes[np.ix_(references, np.flatnonzero(usable))], np.nan)
        center, level = nan_mean(x, axis=0), nan_mean(y, axis=0)
        spread = np.sqrt(nan_mean((x - center) ** 2, axis=0))
        varies = spread > 1e-12 * np.maximum(np.abs(center), 1.0)
        if not varies.any():
            return 0.0, ()
        limits = -_MAX_DEVIATION, _MAX_DEVIATION
        deviation = np.clip((x - center)[:, varies] / spread[varies], *limits)
        own_deviation = np.clip((own - center)[varies] / spread[varies], *limits)
        prior = _PRIOR_MODELS * varies.sum()
        product = np.nansum(deviation * (y - level)[:, varies])
        slope = (product + prior * _PRIOR_SLOPE) / (np.nansum(deviation**2) + prior)
        datasets = np.unique(self.datasets[usable][varies])
        return float(np.mean(level[varies] + slope * own_deviation)), tuple(datasets.tolist())


def _fit_weight(
    columns: _ScoreColumns, distance: FloatArray, mean_z_score: FloatArray, references: IntArray
) -> float:
    """Return the weight of scores against features that fits the references, each held out.

    Args:
        columns: Scores and outcomes.
        distance: (m, m) Gower distances of the models.
        mean_z_score: (m,) in the history; NaN without one.
        references: Indices of measured models with scores.
    """
    measured = np.flatnonzero(~np.isnan(mean_z_score))
    agreement, size = _EQUAL_WEIGHT_MODELS / 2, _EQUAL_WEIGHT_MODELS
    for row in references.tolist():
        nearest = nearest_by_features(distance[row], mean_z_score, measured[measured != row])
        by_features = 0.0 if nearest is None else nearest.z_score
        by_scores, _ = columns.predict(row, references[references != row])
        difference = by_scores - by_features
        agreement += difference * (float(mean_z_score[row]) - by_features)
        size += difference**2
    return float(np.clip(agreement / size, 0.0, 1.0))
