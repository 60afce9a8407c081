"""Values of different units on one scale, so that they can be added."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from mlflow_recall.core.arrays import FloatArray, nan_mean


def z_scores(values: FloatArray) -> FloatArray:
    """Return each column less its mean, over its standard deviation; NaN stays NaN.

    A column whose values are all equal tells nothing apart and becomes 0.

    Args:
        values: (n,), or (n, k): each column is standardized on its own.

    Example:
        >>> z_scores(np.array([1.0, 3.0, np.nan])).tolist()
        [-1.0, 1.0, nan]
    """
    centered = values - nan_mean(values, axis=0)
    spread = spreads(values)
    scaled = np.divide(centered, spread, out=np.zeros_like(centered), where=spread > 0)
    return np.where(np.isnan(values), np.nan, scaled)


def spreads(values: FloatArray) -> FloatArray:
    """Return the standard deviation of each column; 0 where all its values are equal.

    Args:
        values: (n,), or (n, k); NaN does not count.

    Example:
        >>> spreads(np.array([1.0, 3.0, np.nan])).tolist()
        1.0
    """
    centered = values - nan_mean(values, axis=0)
    spread = np.sqrt(nan_mean(centered**2, axis=0))
    size = np.sqrt(nan_mean(values**2, axis=0))  # the rounding error of a mean is relative to it
    varies: FloatArray = np.where(spread > 1e-12 * np.maximum(size, 1.0), spread, 0.0)
    return varies


def normal_scores(values: FloatArray) -> FloatArray:
    """Return the rank of each value as a quantile of the normal distribution; NaN stays NaN.

    Rank r of n from below, ties at their mean rank, becomes Φ⁻¹((r - 1/2) / n). Only the order
    counts, so that no outlier of one component decides a sum of components.

    Args:
        values: (n,), or (n, k): each column is ranked on its own.

    Example:
        >>> normal_scores(np.array([0.1, 0.2, 100.0])).round(2).tolist()
        [-0.97, 0.0, 0.97]
    """
    known = ~np.isnan(values)
    # differences of rounding are ties; unknown values rank above all others and shift no rank
    rounded = np.minimum(np.round(values, 12), np.finfo(np.float64).max)
    filled = np.where(known, rounded, np.inf)
    ranks = mean_ranks(filled) if filled.ndim == 1 else rankdata(filled, axis=0)
    share = (ranks - 0.5) / np.maximum(known.sum(axis=0), 1)
    scaled: FloatArray = np.where(known, ndtri(np.where(known, share, 0.5)), np.nan)
    return scaled


def mean_ranks(values: FloatArray) -> FloatArray:
    """Return the (n,) rank from below, from 1, of each of (n,) ``values``; ties share their mean.

    Example:
        >>> mean_ranks(np.array([0.5, 0.1, 0.5])).tolist()
        [2.5, 1.0, 2.5]
    """
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[level]
    return ranks


def fill_zero(values: FloatArray) -> FloatArray:
    """Return standardized ``values`` in which unknown ones count as the mean, 0."""
    return np.where(np.isnan(values), 0.0, values)
