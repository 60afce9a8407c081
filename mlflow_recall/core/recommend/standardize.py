"""Values of different units on one scale, so that they can be added."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from mlflow_recall.core.arrays import FloatArray, nan_mean


def z_scores(values: FloatArray) -> FloatArray:
    """Each column of (n,) or (n, k) ``values`` less its mean, over its spread; NaN stays NaN.

    A column in which all agree says nothing and becomes 0.
    """
    centered = values - nan_mean(values, axis=0)
    spread = np.sqrt(nan_mean(centered**2, axis=0))
    size = np.sqrt(nan_mean(values**2, axis=0))  # a mean rounds in proportion to it
    some = spread > 1e-12 * np.maximum(size, 1.0)
    scaled = np.divide(centered, spread, out=np.zeros_like(centered), where=some)
    return np.where(np.isnan(values), np.nan, scaled)


def normal_scores(values: FloatArray) -> FloatArray:
    """Each value's place among n as a quantile of the normal distribution; NaN stays NaN.

    Place r from below, ties at their mean place, becomes Φ⁻¹((r - 1/2) / n): only the order counts,
    so that no outlier of one part decides a sum of parts.

    Args:
        values: (n,), or (n, k): each column by itself.
    """
    known = ~np.isnan(values)
    # rounding is no order; the unknown come behind all, where they push nobody back
    rounded = np.minimum(np.round(values, 12), np.finfo(np.float64).max)
    filled = np.where(known, rounded, np.inf)
    places = mean_ranks(filled) if filled.ndim == 1 else rankdata(filled, axis=0)
    share = (places - 0.5) / np.maximum(known.sum(axis=0), 1)
    scaled: FloatArray = np.where(known, ndtri(np.where(known, share, 0.5)), np.nan)
    return scaled


def mean_ranks(values: FloatArray) -> FloatArray:
    """(n,) place from below, from 1, of each of (n,) ``values``; ties at their mean place."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    places: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[level]
    return places


def fill_zero(values: FloatArray) -> FloatArray:
    """Standardized ``values`` where unknown ones count as the mean, 0."""
    return np.where(np.isnan(values), 0.0, values)
