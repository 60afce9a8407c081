"""Distance of models by their scores on the benchmark datasets."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray

#: distance of two models that were not measured on enough common datasets
INCOMPARABLE = 1e7
#: maximum number of pairwise differences that are held in memory at once
_BLOCK = 2**24


def top_difference(values: FloatArray, *, top: int = 5, shared: int | None = None) -> FloatArray:
    """Return the distance of models by their largest differences (Cui et al. 2024, Eq. 1).

    Equation 1 defines the similarity of two models as one minus the mean of their ``top`` largest
    absolute differences over the benchmark datasets; this is that mean.

    Args:
        values: (m, d) scores; NaN cells are left out of all pairs of their model.
        top: Number of largest differences that count; fewer where fewer datasets are common.
        shared: Minimum number of common datasets; a pair with fewer is ``INCOMPARABLE``. None:
            half of the datasets.

    Returns:
        (m, m) symmetric distances in the unit of the scores, zero on the diagonal.

    Example:
        >>> top_difference(np.array([[0.9, 0.5, 0.4], [0.4, 0.5, 0.5]]), top=2).round(2).tolist()
        [[0.0, 0.3], [0.3, 0.0]]
    """
    models, datasets = values.shape
    shared = max(1, (datasets + 1) // 2) if shared is None else shared
    top = min(top, datasets)
    distance = np.empty((models, models))
    step = max(1, _BLOCK // max(1, models * datasets))
    for start in range(0, models, step):
        rows = slice(start, start + step)
        difference = np.abs(values[rows, None, :] - values[None, :, :])  # (rows, m, d)
        common = (~np.isnan(difference)).sum(axis=2)
        difference = np.where(np.isnan(difference), 0.0, difference)  # 0 adds nothing to a mean
        largest = np.partition(difference, datasets - top, axis=2)[:, :, datasets - top :]
        mean = largest.sum(axis=2) / np.clip(common, 1, max(1, top))
        distance[rows] = np.where(common >= shared, mean, INCOMPARABLE)
    np.fill_diagonal(distance, 0.0)
    return distance


def released_difference(values: FloatArray) -> FloatArray:
    """Return the distance of the authors' released code: Eq. 1 over cells where both are positive.

    Cells that are not positive, such as those of a Matthews correlation, are left out, and a pair
    with five or fewer common positive cells is ``INCOMPARABLE``.
    """
    return top_difference(np.where(values > 0, values, np.nan), top=5, shared=6)
