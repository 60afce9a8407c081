"""What a few cheap scores on recorded datasets let expect of a model without a history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray, IntArray, nan_mean
from mlflow_recall.core.clusters.clustering import Clustering
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

#: measured models that are scored beside the newcomers
REFERENCES = 8
#: of them that must have scores, lest a slope or a weight rests on two or three
_LEAST = 4
#: standard deviations of the outcome that one of a score is worth before any was seen, and the
#: models that this counts as
_SLOPE, _WORTH = 0.5, 4.0
#: models, apart by one standard deviation in both expectations, that speak for equal weights of
#: features and scores before any was held out
_EVEN = 1.0
#: standard deviations of a score beyond which an outlier counts no more
_FURTHEST = 2.0


def reference_models(
    matrix: PerformanceMatrix,
    features: Mapping[str, FeatureColumn],
    among: Collection[str],
    most: int = REFERENCES,
) -> tuple[str, ...]:
    """The measured models to score beside the newcomers, so that scores can be compared.

    The three nearest of every newcomer by features, then others, evenly from the weakest to the
    strongest, until there are ``most``.

    Args:
        matrix: (m, d) scores; newcomers have rows of NaN.
        features: feature -> one value a model of ``matrix``.
        among: names of those that can be scored.
        most: of all, where the nearest are fewer.
    """
    strength = matrix.mean_z_score
    can = np.array([name in among for name in matrix.models], dtype=bool)
    measured = np.flatnonzero(~np.isnan(strength) & can)
    distance = gower_distance(features, len(matrix.models))
    near: dict[int, None] = {}
    for row in np.flatnonzero(np.isnan(strength) & can):
        order = measured[np.argsort(distance[row, measured], kind="stable")]
        near |= dict.fromkeys(order[:NEIGHBORS].tolist())
    rest = np.array([row for row in measured.tolist() if row not in near], dtype=np.intp)
    rest = rest[np.argsort(strength[rest], kind="stable")]
    spread = np.linspace(0, len(rest) - 1, min(len(rest), max(0, most - len(near))))
    return tuple(matrix.models[row] for row in [*near, *rest[spread.round().astype(int)].tolist()])


def most_measured(matrix: PerformanceMatrix, among: Iterable[str], most: int) -> tuple[str, ...]:
    """At most so many datasets, those first on which most models were measured; ties by name."""
    count = dict(zip(matrix.datasets, (~np.isnan(matrix.values)).sum(axis=0).tolist(), strict=True))
    return tuple(sorted(among, key=lambda name: (-count[name], name))[:most])


def score_cold_start(
    found: Sequence[ColdStartEstimate],
    matrix: PerformanceMatrix,
    clustering: Clustering,
    features: Mapping[str, FeatureColumn],
    past: Mapping[str, FloatArray],
) -> list[ColdStartEstimate]:
    """What is expected of newcomers by their features and by scores on recorded datasets.

    By scores: on every dataset a score is standardized over the measured models that have it, and
    one slope from all of them says how much better than their mean on that dataset a model is.
    The two expectations are joined by the weight, in [0, 1], that would have served the scored
    models best: the least squares of their true strengths on both, each held out in turn. The
    newcomer is like the model that is nearest in features and strength, one standard deviation of
    strength weighing as much as all features.

    Args:
        found: what features alone say, as ``newcomers`` returned it.
        matrix: (m, d) scores; newcomers have rows of NaN.
        clustering: of the measured models.
        features: feature -> one value a model of ``matrix``; NaN or empty where unknown.
        past: score -> (m, d) values, higher transfers better; NaN where not computed.

    Returns:
        ``found``, changed where the newcomer and at least four measured models have scores.
    """
    strength = matrix.mean_z_score
    scored = _Scored.of(matrix, past)
    refs = np.flatnonzero(~np.isnan(strength) & scored.rows)
    if len(refs) < _LEAST:
        return list(found)
    distance = gower_distance(features, len(matrix.models))
    weight = _weight(scored, distance, strength, refs)
    measured = np.flatnonzero(~np.isnan(strength))
    refined = []
    for each in found:
        row = int(indices_of(matrix.models, [each.model])[0])
        by_score, datasets = scored.expected(row, refs)
        if not datasets:
            refined.append(each)
            continue
        strong = each.z_score + weight * (by_score - each.z_score)
        apart = np.nan_to_num(distance[row, measured], nan=1.0)
        like = measured[np.argmin(apart + np.abs(strength[measured] - strong))]
        group = clustering.cluster_of(matrix.models[like])
        refined.append(
            replace(
                each,
                nearest_model=matrix.models[like],
                distance=float(distance[row, like]),
                cluster_id=group.id if group else "",
                z_score=float(strong),
                scored_datasets=tuple(matrix.datasets[column] for column in datasets),
                score_z_score=by_score,
                basis=_known_by(len(datasets)),
                score_weight=weight,
            )
        )
    return refined


def _known_by(datasets: int) -> str:
    return f"{FEATURES} and scores on {datasets} dataset{'' if datasets == 1 else 's'}"


@dataclass(frozen=True, eq=False)
class _Scored:
    """Every score on every dataset as a column, beside what came out on that dataset."""

    values: FloatArray  # (m, q)
    outcomes: FloatArray  # (m, q) z-scores of the same datasets
    datasets: IntArray  # (q,) number of each column's dataset

    @classmethod
    def of(cls, matrix: PerformanceMatrix, past: Mapping[str, FloatArray]) -> _Scored:
        models, datasets = matrix.values.shape
        blank = np.zeros((models, 0))
        values = np.hstack([blank, *past.values()])
        z = z_scores(matrix.values)
        return cls(
            values,
            np.hstack([blank, *[z] * len(past)]),
            np.tile(np.arange(datasets), len(past)),
        )

    @property
    def rows(self) -> BoolArray:
        """(m,) who has any score."""
        return np.asarray(~np.isnan(self.values).all(axis=1))

    def expected(self, row: int, refs: IntArray) -> tuple[float, tuple[int, ...]]:
        """Strength of a model by what scores say of it beside ``refs``, and on which datasets."""
        known = ~np.isnan(self.values[refs]) & ~np.isnan(self.outcomes[refs])
        usable = (known.sum(axis=0) >= 2) & ~np.isnan(self.values[row])
        own, known = self.values[row, usable], known[:, usable]
        x = np.where(known, self.values[np.ix_(refs, np.flatnonzero(usable))], np.nan)
        y = np.where(known, self.outcomes[np.ix_(refs, np.flatnonzero(usable))], np.nan)
        center, level = nan_mean(x, axis=0), nan_mean(y, axis=0)
        spread = np.sqrt(nan_mean((x - center) ** 2, axis=0))
        told = spread > 1e-12 * np.maximum(np.abs(center), 1.0)
        if not told.any():
            return 0.0, ()
        far = np.clip((x - center)[:, told] / spread[told], -_FURTHEST, _FURTHEST)
        mine = np.clip((own - center)[told] / spread[told], -_FURTHEST, _FURTHEST)
        pull = _WORTH * told.sum()
        slope = (np.nansum(far * (y - level)[:, told]) + pull * _SLOPE) / (np.nansum(far**2) + pull)
        where = np.unique(self.datasets[usable][told])
        return float(np.mean(level[told] + slope * mine)), tuple(where.tolist())


def _weight(scored: _Scored, distance: FloatArray, strength: FloatArray, refs: IntArray) -> float:
    """Weight of scores against features that fits the reference models best, each held out."""
    measured = np.flatnonzero(~np.isnan(strength))
    agreement, size = _EVEN / 2, _EVEN
    for row in refs.tolist():
        plain = nearest_by_features(distance[row], strength, measured[measured != row])
        by_feature = 0.0 if plain is None else plain.z_score
        by_score, _ = scored.expected(row, refs[refs != row])
        apart = by_score - by_feature
        agreement += apart * (float(strength[row]) - by_feature)
        size += apart**2
    return float(np.clip(agreement / size, 0.0, 1.0))
