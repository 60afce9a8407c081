"""The fewest datasets whose ranking is as good as that of all datasets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import weightedtau

from mlflow_recall.core.arrays import FloatArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.standardize import fill_zero, z_scores
from mlflow_recall.errors import HistoryError

#: numbers of first models of a ranking whose best is judged
_SET_SIZES = (1, 3, 5)
#: parts of the datasets that are held out in turn
_FOLDS = 10


@dataclass(frozen=True, eq=False, kw_only=True)
class DatasetSubset:
    """The fewest datasets whose ranking suffices, and how good subsets of every size are."""

    #: the datasets that suffice, in the order in which they were chosen
    datasets: tuple[str, ...]
    #: all datasets with two measured models, in the order in which a growing subset adds them
    order: tuple[str, ...]
    #: (d,) weighted Kendall correlation of the ranking by 1, 2, ... datasets with that by all
    agreement: FloatArray
    #: (d,) regret on held-out datasets beyond that of all other datasets, in the unit of the scores
    loss: FloatArray
    standard_error: FloatArray  # (d,) standard error of the loss over datasets

    @property
    def size(self) -> int:
        """Number of datasets that suffice."""
        return len(self.datasets)


def find_smallest_subset(matrix: PerformanceMatrix, tolerance: float = 0.01) -> DatasetSubset:
    """Find the smallest subset of datasets whose ranking loses no more than ``tolerance``.

    The choice is greedy: each next dataset is the one whose mean z-scores, together with those of
    the datasets chosen before, correlate best with the mean over all. It is judged by
    cross-validation: a tenth of the datasets at a time has no part in the choice. The loss is the
    regret on these of the best of the subset's first 1, 3 and 5 models, averaged, beyond that of
    the ranking by all datasets that were not held out. The result is the smallest subset from which
    on the mean loss is within the tolerance or one standard error.

    Args:
        matrix: (m, d) scores; missing cells do not count.
        tolerance: Loss that is treated as zero, in the unit of the scores.

    Raises:
        HistoryError: There are fewer than three datasets or models.
    """
    shared = (~np.isnan(matrix.values)).sum(axis=0) >= 2
    values = matrix.values[:, shared]
    models, datasets = values.shape
    if models < 3 or datasets < 3:
        raise HistoryError(
            f"subset: expected at least 3 models and 3 datasets that two of them were measured on, "
            f"got {models} and {datasets}"
        )
    scaled = z_scores(values)
    full = fill_zero(nan_mean(scaled, axis=1))
    # by size of the subset and held-out dataset
    agreements, losses = np.full((2, datasets, datasets), np.nan)
    for fold in range(min(_FOLDS, datasets)):
        held_out = np.arange(datasets) % min(_FOLDS, datasets) == fold
        rankings = _growing_means(scaled[:, ~held_out], _choose_order(scaled[:, ~held_out]))
        regrets = _mean_regrets(rankings, values[:, held_out])
        losses[: len(rankings), held_out] = regrets - regrets[-1]
        agreements[: len(rankings), held_out] = [[_weighted_tau(mean, full)] for mean in rankings]
    # no fold has subsets of all sizes; the missing ones have nearly all datasets and lose nothing
    loss, agreement = nan_mean(losses, axis=1), nan_mean(agreements, axis=1)
    count = (~np.isnan(losses)).sum(axis=1)
    spread = np.sqrt(nan_mean((losses - loss[:, None]) ** 2, axis=1))
    error = np.divide(spread, np.sqrt(np.maximum(count - 1, 1)))
    unknown = np.isnan(loss)
    loss[unknown], error[unknown], agreement[unknown] = 0.0, 0.0, 1.0
    enough = loss <= np.maximum(tolerance, error) + 1e-12
    size = len(enough) - int(np.argmin([*enough[::-1], False])) + 1  # all sizes from here on do
    names = [name for name, use in zip(matrix.datasets, shared, strict=True) if use]
    order = tuple(names[j] for j in _choose_order(scaled))
    return DatasetSubset(
        datasets=order[:size],
        order=order,
        agreement=read_only(agreement),
        loss=read_only(loss),
        standard_error=read_only(error),
    )


def _choose_order(scaled: FloatArray) -> list[int]:
    """Order all datasets, so that each next one brings the mean so far nearest to that of all."""
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
        remaining = [j for j in range(scaled.shape[1]) if j not in set(order)]
        chosen = remaining[int(np.argmax(fit[remaining]))]
        order.append(chosen)
        total, count = sums[:, chosen], counts[:, chosen]
    return order


def _growing_means(scaled: FloatArray, order: list[int]) -> FloatArray:
    """Return (d, m) mean z-scores on the first 1, 2, ... datasets of an order; 0 for unknown."""
    ordered = scaled[:, order]
    count = np.cumsum(~np.isnan(ordered), axis=1)
    total = np.cumsum(fill_zero(ordered), axis=1)
    means: FloatArray = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return means.T


def _mean_regrets(rankings: FloatArray, values: FloatArray) -> FloatArray:
    """Return (s, e) mean regret of the best of the first 1, 3 and 5 models.

    Where none of them is measured on a dataset, the regret is that of the worst model.

    Args:
        rankings: (s, m) scores by which s rankings order m models.
        values: (m, e) scores of the models on e datasets; NaN where not measured.
    """
    gaps = np.where(np.isnan(values), -np.inf, values)
    gaps = gaps.max(axis=0) - values
    order = np.argsort(-rankings, axis=1, kind="stable")
    regrets = []
    for size in _SET_SIZES:
        set_gaps = gaps[order[:, :size]]  # (s, size, e)
        worst = np.nanmax(gaps, axis=0)
        best = np.where(np.isnan(set_gaps), np.inf, set_gaps).min(axis=1)
        regrets.append(np.where(np.isinf(best), worst, best))
    mean: FloatArray = np.mean(regrets, axis=0)
    return mean


def _weighted_tau(one: FloatArray, other: FloatArray) -> float:
    return float(np.nan_to_num(weightedtau(one, other).statistic))
