"""Test of whether a history says anything about datasets that are not in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from mlflow_recall.core.arrays import BoolArray, FloatArray, read_only
from mlflow_recall.core.backtest.holdout import MIN_MODELS
from mlflow_recall.core.backtest.recommender_comparison import Estimate, best_of_random
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.standardize import z_scores

#: probability that an uninformative history passes the test
_LEVEL = 0.01
_SHUFFLES = 199
#: numbers of first picks whose gains are averaged, as far as they are no more than a third of the
#: models: any order finds the best of nearly all models
_SIZES = (1, 3, 5)


@dataclass(frozen=True, eq=False, kw_only=True)
class TransferTest:
    """Whether models that are good on some datasets are good on others too."""

    applies: bool
    datasets: tuple[str, ...]
    #: (d,) Spearman correlation of the mean z-score on the other datasets with the scores on this
    spearman: FloatArray
    #: (d,) expected regret of the best of some random picks minus that of as many first picks, mean
    #: over ``sizes``
    gain: FloatArray
    #: numbers of picks
    sizes: tuple[int, ...]
    #: probability that shuffled names agree as much, by permutation
    p_value: float


def permutation_test(
    matrix: PerformanceMatrix, *, min_models: int = MIN_MODELS, seed: int = 0
) -> TransferTest:
    """Compare the prior with chance, and its agreement with that of shuffled names.

    The history applies where two conditions hold. First, names that are shuffled within each
    dataset reach the mean Spearman correlation over datasets in at most a hundredth of all
    shuffles. That test is exact for any number of datasets; a standard error over datasets would be
    too small, since every pair of them is compared twice, once each way. Second, the mean gain in
    regret is above 0 by more than one paired standard error, since agreement alone does not find a
    good model. The gain is the mean of the gains of one, three and five picks, as far as they are
    no more than a third of the models; one or two datasets can decide the gain of five picks alone.

    Args:
        matrix: (m, d) final scores, higher is better.
        min_models: Models that a dataset needs; models count from two datasets on.
        seed: Seed of the shuffles.

    Returns:
        ``applies`` is False where fewer than two datasets are left, and ``p_value`` is 1 there.
    """
    matrix = _shared_cells(matrix, min_models)
    if len(matrix.datasets) < 2:
        empty = read_only([])
        return TransferTest(
            applies=False, datasets=(), spearman=empty, gain=empty, sizes=(), p_value=1.0
        )
    measured = ~np.isnan(matrix.values)
    z = z_scores(matrix.values)
    ranks = _centered_ranks(matrix.values)
    agreement = _agreement(_mean_of_others(z), ranks)
    third = float(np.median(measured.sum(axis=0))) / 3
    sizes = tuple(size for size in _SIZES if size <= max(1.0, third))
    gains = [_gain(_mean_of_others(z), matrix.values, size) for size in sizes]
    gain = np.mean(gains, axis=0)
    rng = np.random.default_rng(seed)
    as_good = 0
    for _ in range(_SHUFFLES):
        shuffled_z, shuffled_ranks = _shuffle((z, ranks), measured, rng)
        shuffled_agreement = _agreement(_mean_of_others(shuffled_z), shuffled_ranks)
        as_good += shuffled_agreement.mean() >= agreement.mean()
    p_value = float((1 + as_good) / (1 + _SHUFFLES))
    mean_gain = Estimate.from_values(gain)
    return TransferTest(
        applies=bool(p_value <= _LEVEL and mean_gain.mean > mean_gain.standard_error),
        datasets=matrix.datasets,
        spearman=read_only(agreement),
        gain=read_only(gain),
        sizes=sizes,
        p_value=p_value,
    )


def _shared_cells(matrix: PerformanceMatrix, min_models: int) -> PerformanceMatrix:
    """Keep the datasets with enough models, and the models with at least two of these datasets."""
    values = matrix.values
    rows, columns = np.ones(values.shape[0], dtype=bool), np.ones(values.shape[1], dtype=bool)
    while True:
        measured = ~np.isnan(values) & rows[:, None] & columns
        enough = measured.sum(axis=1) >= 2, measured.sum(axis=0) >= max(2, min_models)
        if (enough[0] == rows).all() and (enough[1] == columns).all():
            break
        rows, columns = enough[0] & rows, enough[1] & columns
    models = tuple(m for m, kept in zip(matrix.models, rows, strict=True) if kept)
    datasets = tuple(d for d, kept in zip(matrix.datasets, columns, strict=True) if kept)
    return PerformanceMatrix(models, datasets, values[rows][:, columns])


def _mean_of_others(z: FloatArray) -> FloatArray:
    """Return (m, d) mean of each model's other datasets; NaN where ``z`` is."""
    count = (~np.isnan(z)).sum(axis=1, keepdims=True)
    others: FloatArray = (np.nansum(z, axis=1, keepdims=True) - z) / (count - 1)
    return others


def _centered_ranks(values: FloatArray) -> FloatArray:
    """Return (m, d) ranks of the measured models of each dataset from below, less their mean."""
    known = ~np.isnan(values)
    ranks: FloatArray = rankdata(np.where(known, np.round(values, 12), np.inf), axis=0)
    return np.where(known, ranks - (known.sum(axis=0) + 1) / 2, 0.0)


def _agreement(others: FloatArray, ranks: FloatArray) -> FloatArray:
    """Return (d,) Spearman correlation; 0 where one of both does not vary."""
    predicted = _centered_ranks(others)
    size = np.sqrt((predicted**2).sum(axis=0) * (ranks**2).sum(axis=0))
    product = (predicted * ranks).sum(axis=0)
    agreement: FloatArray = np.divide(product, size, out=np.zeros_like(size), where=size > 0)
    return agreement


def _gain(others: FloatArray, values: FloatArray, k: int) -> FloatArray:
    """Return (d,) expected regret of k random models minus that of the first k."""
    gaps = np.nanmax(values, axis=0) - values
    first = np.argsort(-others, axis=0, kind="stable")[:k]  # NaN last
    regret = np.nanmin(np.take_along_axis(gaps, first, axis=0), axis=0)
    ordered = np.sort(gaps, axis=0)
    counts = (~np.isnan(gaps)).sum(axis=0)
    chance = [
        best_of_random(n, k) @ column[:n] for n, column in zip(counts, ordered.T, strict=True)
    ]
    gain: FloatArray = np.array(chance) - regret
    return gain


def _shuffle(
    arrays: tuple[FloatArray, ...], measured: BoolArray, rng: np.random.Generator
) -> list[FloatArray]:
    """Exchange the measured models of each dataset in (m, d) arrays, in all of them alike."""
    keys = np.where(measured, rng.random(measured.shape), np.inf)
    source = np.argsort(keys, axis=0)
    target = np.argsort(~measured, axis=0, kind="stable")
    shuffled = []
    for values in arrays:
        moved = np.empty_like(values)
        np.put_along_axis(moved, target, np.take_along_axis(values, source, axis=0), axis=0)
        shuffled.append(moved)
    return shuffled
