"""What is known of the models' strength, as a joint normal distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_recall.core.arrays import FloatArray, IntArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.standardize import fill_zero
from mlflow_recall.errors import HistoryError

#: measured datasets that weigh as much as the supposition that models are unrelated
_UNRELATED = 5.0
#: cells of a dataset that weigh as much as the spread of all datasets
_SPREAD = 3.0
#: share of the models' variance that is kept as independent noise, where repeats tell of less
_NUGGET = 1e-3


@dataclass(frozen=True, eq=False)
class Belief:
    """What m models' strength is taken to be, jointly normal, in standard deviations."""

    mean: FloatArray  # (m,)
    covariance: FloatArray  # (m, m) of the strengths
    #: (m, m) of what models deviate by on one dataset, noise included
    residual_covariance: FloatArray
    is_measured: NDArray[np.bool_]  # (m, d) measured

    @property
    def uncertainty(self) -> float:
        """Mean variance of the strengths about their common mean, which orders nobody."""
        return _uncertainty(self.covariance)


def fit_belief(matrix: PerformanceMatrix, noise: float = 0.0) -> Belief:
    """Strength of every model as a normal belief.

    A score is the dataset's level, plus its spread times the model's strength and a deviation.
    Deviations are normal and independent between datasets; between models they have the recorded
    covariance, drawn to compound symmetry (unrelated models of one variance) by five datasets'
    worth and by every dataset that a model misses. Strengths are unrelated beforehand, with the
    variance that the recorded ones have beyond chance. Levels are unknown, so that a dataset with
    one measured model says nothing.

    Args:
        matrix: (m, d) scores, NaN where not measured.
        noise: standard deviation of one score between repeats; 0 where nobody knows.

    Raises:
        HistoryError: no dataset has two measured models.
    """
    known = ~np.isnan(matrix.values)
    if not (known.sum(axis=0) >= 2).any():
        raise HistoryError(
            "next: expected a dataset with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    count = known.sum(axis=1)
    strength, level = _additive(matrix.values)
    spread = _spreads(matrix.values - level)
    scaled = matrix.values / spread
    strength, level = _additive(scaled)
    residual = fill_zero(scaled - level - strength[:, None])
    freedom = max(1, int(known.sum() - known.any(axis=1).sum() - known.any(axis=0).sum() + 1))
    variance = max(float((residual**2).sum()) / freedom, 1e-12)
    deviation = _shrunk(residual, count, variance)
    deviation += max(_NUGGET * variance, noise**2 / float(np.mean(spread**2))) * np.eye(len(count))
    raw = nan_mean(scaled - level, axis=1)[count > 0]
    beyond = float(np.var(raw) - np.mean(variance / count[count > 0]))
    mean, covariance = _posterior(scaled, deviation, max(0.1 * variance, beyond))
    return Belief(mean, covariance, deviation, known)


def _additive(values: FloatArray, rounds: int = 30) -> tuple[FloatArray, FloatArray]:
    """Models' effects (m,), drawn to 0 by half a dataset's worth, and datasets' levels (d,)."""
    count = (~np.isnan(values)).sum(axis=1)
    effect = np.zeros(len(values))
    for _ in range(rounds):
        level = nan_mean(values - effect[:, None], axis=0)
        effect = fill_zero(nan_mean(values - level, axis=1)) * count / (count + 0.5)
    return effect, level


def _spreads(centered: FloatArray) -> FloatArray:
    """(d,) standard deviation between models, drawn to that of all datasets."""
    count = (~np.isnan(centered)).sum(axis=0)
    squares = fill_zero(centered**2).sum(axis=0)
    pooled = float(squares.sum() / max(1, count.sum()))
    spreads: FloatArray = np.sqrt(
        np.maximum((squares + _SPREAD * pooled) / (count + _SPREAD), 1e-24)
    )
    return spreads


def _shrunk(residual: FloatArray, count: IntArray, variance: float) -> FloatArray:
    """(m, m) covariance of models, positive semi-definite however many cells are missing."""
    size = np.sqrt(np.maximum(count, 1))
    trust = np.sqrt(count / (count + _UNRELATED))
    some = residual * (trust / size)[:, None]
    return some @ some.T + np.diag((1.0 - trust**2) * variance)


def _posterior(
    scaled: FloatArray, deviation: FloatArray, prior: float
) -> tuple[FloatArray, FloatArray]:
    """Mean (m,) and covariance (m, m) of the strengths, levels integrated out."""
    precision = np.eye(len(scaled)) / prior
    told = np.zeros(len(scaled))
    for column in scaled.T:
        there = np.flatnonzero(~np.isnan(column))
        if len(there) < 2:
            continue
        inverse = np.linalg.inv(deviation[np.ix_(there, there)])
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums, sums) / sums.sum()
        precision[np.ix_(there, there)] += inverse
        told[there] += inverse @ column[there]
    covariance = np.linalg.inv(precision)
    return read_only(covariance @ told), read_only(covariance)


def _uncertainty(covariance: FloatArray) -> float:
    return float(np.diag(covariance).mean() - covariance.mean())
