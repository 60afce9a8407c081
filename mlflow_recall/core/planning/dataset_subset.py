"""The datasets that suffice: whose ranking serves as that of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import weightedtau

from mlflow_recall.core.arrays import FloatArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.standardize import fill_zero, z_scores
from mlflow_recall.errors import HistoryError

#: sets of a ranking's first whose best is judged
_FIRST = (1, 3, 5)
#: parts of the datasets that are left out in turn
_FOLDS = 10


@dataclass(frozen=True, eq=False)
class DatasetSubset:
    """The fewest datasets whose ranking serves as that of all, and every other size beside it."""

    #: in the order chosen
    datasets: tuple[str, ...]
    #: every dataset with two measured models, in the order in which a growing subset takes it
    order: tuple[str, ...]
    #: (d,) weighted Kendall correlation of the ranking by 1, 2, ... datasets with that by all
    agreement: FloatArray
    #: (d,) regret on left-out datasets beyond that of all the others, in the unit of the scores
    loss: FloatArray
    standard_error: FloatArray  # (d,) standard error of the loss over datasets

    @property
    def size(self) -> int:
        """Datasets that are needed."""
        return len(self.datasets)


def find_smallest_subset(matrix: PerformanceMatrix, tolerance: float = 0.01) -> DatasetSubset:
    """The smallest subset of datasets whose ranking costs no more than ``tolerance``.

    Greedy: each next dataset is the one whose mean z-scores, with those chosen before, correlate
    best with the mean over all. Judged by cross-validation: a tenth of the datasets at a time is
    left out of choosing, and the loss is the regret on it of the subset's first 1, 3 and 5 models
    (the best of each, averaged) beyond that of the first of all datasets that were not left out.
    The smallest subset is taken from which on the mean loss is within the tolerance or one standard
    error.

    Args:
        matrix: (m, d) scores; missing cells do not count.
        tolerance: loss that does not matter, in the unit of the scores.

    Raises:
        HistoryError: fewer than three datasets or models.
    """
    useful = (~np.isnan(matrix.values)).sum(axis=0) >= 2
    values = matrix.values[:, useful]
    models, datasets = values.shape
    if models < 3 or datasets < 3:
        raise HistoryError(
            f"subset: expected at least 3 models and 3 datasets that two of them were measured on, "
            f"got {models} and {datasets}"
        )
    scaled = z_scores(values)
    full = fill_zero(nan_mean(scaled, axis=1))
    kept, losses = np.full((2, datasets, datasets), np.nan)  # by size and left-out dataset
    for fold in range(min(_FOLDS, datasets)):
        out = np.arange(datasets) % min(_FOLDS, datasets) == fold
        judged = _ranked(scaled[:, ~out], _order(scaled[:, ~out]))
        regrets = _regrets(judged, values[:, out])
        losses[: len(judged), out] = regrets - regrets[-1]
        kept[: len(judged), out] = [[_tau(mean, full)] for mean in judged]
    # the largest subset that a fold can choose from is all it has; all datasets lose nothing
    loss, agreed = nan_mean(losses, axis=1), nan_mean(kept, axis=1)
    count = (~np.isnan(losses)).sum(axis=1)
    spread = np.sqrt(nan_mean((losses - loss[:, None]) ** 2, axis=1))
    error = np.divide(spread, np.sqrt(np.maximum(count - 1, 1)))
    short = np.isnan(loss)
    loss[short], error[short], agreed[short] = 0.0, 0.0, 1.0
    enough = loss <= np.maximum(tolerance, error) + 1e-12
    size = len(enough) - int(np.argmin([*enough[::-1], False])) + 1  # the end of the last run
    names = [name for name, use in zip(matrix.datasets, useful, strict=True) if use]
    order = tuple(names[j] for j in _order(scaled))
    return DatasetSubset(order[:size], order, read_only(agreed), read_only(loss), read_only(error))


def _order(scaled: FloatArray) -> list[int]:
    """All datasets, each next one bringing the mean of those so far nearest to that of all."""
    full = fill_zero(nan_mean(scaled, axis=1))
    full = full - full.mean()
    filled, known = fill_zero(scaled), ~np.isnan(scaled)
    total, count = np.zeros(len(scaled)), np.zeros(len(scaled))
    order: list[int] = []
    while len(order) < scaled.shape[1]:
        sums, counts = total[:, None] + filled, count[:, None] + known
        mean = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        mean -= mean.mean(axis=0)
        size = np.linalg.norm(mean, axis=0)
        fit = np.divide(full @ mean, size, out=np.full(len(size), -np.inf), where=size > 0)
        fit[order] = -np.inf
        left = [j for j in range(scaled.shape[1]) if j not in set(order)]
        pick = left[int(np.argmax(fit[left]))]
        order.append(pick)
        total, count = sums[:, pick], counts[:, pick]
    return order


def _ranked(scaled: FloatArray, order: list[int]) -> FloatArray:
    """(d, m) mean z-scores by the first 1, 2, ... datasets of the order; unknown models as 0."""
    some = scaled[:, order]
    count = np.cumsum(~np.isnan(some), axis=1)
    total = np.cumsum(fill_zero(some), axis=1)
    ranked: FloatArray = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return ranked.T


def _regrets(judged: FloatArray, values: FloatArray) -> FloatArray:
    """(s, e) mean regret of the best of the first 1, 3 and 5 of s rankings on e datasets."""
    gaps = np.where(np.isnan(values), -np.inf, values)
    gaps = gaps.max(axis=0) - values
    order = np.argsort(-judged, axis=1, kind="stable")
    found = []
    for first in _FIRST:
        some = gaps[order[:, :first]]  # (s, first, e)
        worst = np.nanmax(gaps, axis=0)
        best = np.where(np.isnan(some), np.inf, some).min(axis=1)
        found.append(np.where(np.isinf(best), worst, best))
    mean: FloatArray = np.mean(found, axis=0)
    return mean


def _tau(one: FloatArray, other: FloatArray) -> float:
    return float(np.nan_to_num(weightedtau(one, other).statistic))
