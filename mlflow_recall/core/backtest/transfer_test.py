"""Does the history say anything at all of datasets that it has not seen?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mlflow_recall.core.arrays import FloatArray, read_only
from mlflow_recall.core.backtest.holdout import MIN_MODELS
from mlflow_recall.core.backtest.recommender_comparison import Estimate, best_of_random
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.standardize import z_scores

#: chance that a history without any meaning is said to apply
_LEVEL = 0.01
_SHUFFLES = 199
#: first picks whose gain counts, alike, where they are no more than a third of the models: the best
#: of nearly all is found by anybody
_SIZES = (1, 3, 5)


@dataclass(frozen=True, eq=False)
class TransferTest:
    """Whether models that are good on some datasets are good on others too."""

    applies: bool
    datasets: tuple[str, ...]
    #: (d,) Spearman of the mean z-score on the other datasets and the scores on this one
    spearman: FloatArray
    #: (d,) by how much the best of the first picks lack less than the best of as many at random,
    #: mean over ``sizes``
    gain: FloatArray
    #: how many are picked
    sizes: tuple[int, ...]
    #: chance that shuffled names agree as much, by permutation
    p_value: float


def permutation_test(
    matrix: PerformanceMatrix, *, min_models: int = MIN_MODELS, seed: int = 0
) -> TransferTest:
    """Compare the prior with chance, and its agreement with that of shuffled names.

    The history applies where both hold. The mean Spearman over datasets is one that names shuffled
    within each dataset reach in at most a hundredth of all shuffles: a test that is exact whatever
    the number of datasets, while a standard error over datasets is too small here, since every pair
    of them is compared twice, once each way. And the mean gain in regret is above 0 by more than
    one paired standard error: agreement alone finds nothing. The gain is the mean of that of one,
    three and five picks, as far as they are no more than a third of the models; that of five alone
    can be decided by one or two datasets.

    Args:
        matrix: (m, d) final scores, higher is better.
        least: models that a dataset needs; models count from two datasets on.
        seed: of the shuffles.

    Returns:
        ``yes`` is False where fewer than two datasets are left, and ``p_value`` is 1 there.
    """
    matrix = _shared(matrix, min_models)
    if len(matrix.datasets) < 2:
        return TransferTest(False, (), read_only([]), read_only([]), (), 1.0)
    measured = ~np.isnan(matrix.values)
    z = z_scores(matrix.values)
    places = _places(matrix.values)
    agreement = _agreement(_others(z), places)
    third = float(np.median(measured.sum(axis=0))) / 3
    sizes = tuple(size for size in _SIZES if size <= max(1.0, third))
    gain = np.mean([_gain(_others(z), matrix.values, size) for size in sizes], axis=0)
    rng = np.random.default_rng(seed)
    as_good = 0
    for _ in range(_SHUFFLES):
        shuffled, moved = _shuffled((z, places), measured, rng)
        as_good += _agreement(_others(shuffled), moved).mean() >= agreement.mean()
    p_value = float((1 + as_good) / (1 + _SHUFFLES))
    gained = Estimate.from_values(gain)
    yes = bool(p_value <= _LEVEL and gained.mean > gained.standard_error)
    return TransferTest(yes, matrix.datasets, read_only(agreement), read_only(gain), sizes, p_value)


def _shared(matrix: PerformanceMatrix, min_models: int) -> PerformanceMatrix:
    """Datasets with enough models, and models with at least two of these datasets."""
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


def _others(z: FloatArray) -> FloatArray:
    """(m, d) mean of each model's other datasets; NaN where ``z`` is."""
    count = (~np.isnan(z)).sum(axis=1, keepdims=True)
    others: FloatArray = (np.nansum(z, axis=1, keepdims=True) - z) / (count - 1)
    return others


def _places(values: FloatArray) -> FloatArray:
    """(m, d) places of the measured models of each dataset from below, less their mean."""
    known = ~np.isnan(values)
    places: FloatArray = rankdata(np.where(known, np.round(values, 12), np.inf), axis=0)
    return np.where(known, places - (known.sum(axis=0) + 1) / 2, 0.0)


def _agreement(others: FloatArray, places: FloatArray) -> FloatArray:
    """(d,) Spearman; 0 where one of both does not vary."""
    said = _places(others)
    size = np.sqrt((said**2).sum(axis=0) * (places**2).sum(axis=0))
    agreement: FloatArray = np.divide(
        (said * places).sum(axis=0), size, out=np.zeros_like(size), where=size > 0
    )
    return agreement


def _gain(others: FloatArray, values: FloatArray, k: int) -> FloatArray:
    """(d,) expected regret of k at random less that of the first k."""
    gaps = np.nanmax(values, axis=0) - values
    first = np.argsort(-others, axis=0, kind="stable")[:k]  # NaN last
    found = np.nanmin(np.take_along_axis(gaps, first, axis=0), axis=0)
    ordered = np.sort(gaps, axis=0)
    counts = (~np.isnan(gaps)).sum(axis=0)
    chance = [
        best_of_random(n, k) @ column[:n] for n, column in zip(counts, ordered.T, strict=True)
    ]
    gain: FloatArray = np.array(chance) - found
    return gain


def _shuffled(
    arrays: tuple[FloatArray, ...], measured: NDArray[np.bool_], rng: np.random.Generator
) -> list[FloatArray]:
    """(m, d) arrays with the measured models of each dataset exchanged, alike in all of them."""
    keys = np.where(measured, rng.random(measured.shape), np.inf)
    source = np.argsort(keys, axis=0)
    target = np.argsort(~measured, axis=0, kind="stable")
    moved = []
    for values in arrays:
        shuffled = np.empty_like(values)
        np.put_along_axis(shuffled, target, np.take_along_axis(values, source, axis=0), axis=0)
        moved.append(shuffled)
    return moved
