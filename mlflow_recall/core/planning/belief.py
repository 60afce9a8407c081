"""What the history says of the models' strengths, as a joint normal distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray, IntArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.standardize import fill_zero
from mlflow_recall.errors import HistoryError

#: measured datasets that count as much as the assumption that models are unrelated
_PRIOR_DATASETS = 5.0
#: cells of a dataset that count as much as the spread of all datasets
_PRIOR_CELLS = 3.0
#: measured datasets that count as much as the assumption that a model's effect is 0
_PRIOR_EFFECTS = 0.5
#: minimum variance of the independent noise, as a share of the models' variance
_MIN_NOISE_SHARE = 1e-3


@dataclass(frozen=True, eq=False)
class Belief:
    """Joint normal distribution of the strengths of m models, in standard deviations."""

    mean: FloatArray  # (m,) expected strengths
    covariance: FloatArray  # (m, m) covariance of the strengths
    #: (m, m) covariance of the models' deviations on one dataset, noise included
    residual_covariance: FloatArray
    is_measured: BoolArray  # (m, d) whether a cell is measured

    @property
    def uncertainty(self) -> float:
        """Mean variance of the strengths around their common mean, which affects no order."""
        return float(np.diag(self.covariance).mean() - self.covariance.mean())


def fit_belief(matrix: PerformanceMatrix, noise: float = 0.0) -> Belief:
    """Fit the joint distribution of the models' strengths to a history.

    A score is the dataset's level, plus the dataset's spread times the sum of the model's strength
    and a deviation. Deviations are normal and independent between datasets. Between models they
    have the recorded covariance, shrunk to compound symmetry (unrelated models with one variance)
    by the weight of five datasets, and by more for models with missing datasets. A priori the
    strengths are unrelated, with the variance that the recorded ones have beyond chance. Levels are
    unknown, so that a dataset with one measured model has no effect.

    Args:
        matrix: (m, d) scores; NaN where not measured.
        noise: Standard deviation of one score between repeats; 0 where it is unknown.

    Raises:
        HistoryError: No dataset has two measured models.
    """
    known = ~np.isnan(matrix.values)
    if not (known.sum(axis=0) >= 2).any():
        raise HistoryError(
            "next: expected a dataset with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    count = known.sum(axis=1)
    strength, level = _additive_fit(matrix.values)
    spread = _spreads(matrix.values - level)
    scaled = matrix.values / spread
    strength, level = _additive_fit(scaled)
    residual = fill_zero(scaled - level - strength[:, None])
    freedom = max(1, int(known.sum() - known.any(axis=1).sum() - known.any(axis=0).sum() + 1))
    variance = max(float((residual**2).sum()) / freedom, 1e-12)
    deviation = _shrunk_covariance(residual, count, variance)
    noise_variance = noise**2 / float(np.mean(spread**2))
    deviation += max(_MIN_NOISE_SHARE * variance, noise_variance) * np.eye(len(count))
    raw_strength = nan_mean(scaled - level, axis=1)[count > 0]
    beyond_chance = float(np.var(raw_strength) - np.mean(variance / count[count > 0]))
    mean, covariance = _posterior(scaled, deviation, max(0.1 * variance, beyond_chance))
    return Belief(mean, covariance, deviation, known)


def _additive_fit(values: FloatArray, rounds: int = 30) -> tuple[FloatArray, FloatArray]:
    """Return models' effects (m,), shrunk to 0 by half a dataset, and datasets' levels (d,)."""
    count = (~np.isnan(values)).sum(axis=1)
    effect = np.zeros(len(values))
    for _ in range(rounds):
        level = nan_mean(values - effect[:, None], axis=0)
        effect = fill_zero(nan_mean(values - level, axis=1)) * count / (count + _PRIOR_EFFECTS)
    return effect, level


def _spreads(centered: FloatArray) -> FloatArray:
    """Return (d,) standard deviations between models, shrunk to that of all datasets."""
    count = (~np.isnan(centered)).sum(axis=0)
    squares = fill_zero(centered**2).sum(axis=0)
    pooled = float(squares.sum() / max(1, count.sum()))
    spreads: FloatArray = np.sqrt(
        np.maximum((squares + _PRIOR_CELLS * pooled) / (count + _PRIOR_CELLS), 1e-24)
    )
    return spreads


def _shrunk_covariance(residual: FloatArray, count: IntArray, variance: float) -> FloatArray:
    """Return the (m, m) covariance of models, positive semi-definite for any missing cells."""
    size = np.sqrt(np.maximum(count, 1))
    trust = np.sqrt(count / (count + _PRIOR_DATASETS))
    scaled = residual * (trust / size)[:, None]
    return scaled @ scaled.T + np.diag((1.0 - trust**2) * variance)


def _posterior(
    scaled: FloatArray, deviation: FloatArray, prior: float
) -> tuple[FloatArray, FloatArray]:
    """Return the mean (m,) and covariance (m, m) of the strengths, with levels integrated out.

    Args:
        scaled: (m, d) scores in standard deviations; NaN where not measured.
        deviation: (m, m) covariance of the models' deviations on one dataset.
        prior: Variance of the strengths before any score is known.
    """
    precision = np.eye(len(scaled)) / prior
    weighted = np.zeros(len(scaled))
    for column in scaled.T:
        measured = np.flatnonzero(~np.isnan(column))
        if len(measured) < 2:
            continue
        inverse = np.linalg.inv(deviation[np.ix_(measured, measured)])
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums, sums) / sums.sum()
        precision[np.ix_(measured, measured)] += inverse
        weighted[measured] += inverse @ column[measured]
    covariance = np.linalg.inv(precision)
    return read_only(covariance @ weighted), read_only(covariance)
