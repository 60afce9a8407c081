"""Types of arrays, and the few operations on them that every part of the core needs."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = NDArray[Any]

#: slack of a comparison: a gap of exactly the tolerance is within it
_ROUNDING = 1e-9


def read_only(values: ArrayLike) -> FloatArray:
    """Return a read-only float64 copy of ``values``."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def nan_mean(values: FloatArray, axis: int) -> FloatArray:
    """Return the mean over ``axis`` without NaN; NaN where nothing is known, without a warning.

    Example:
        >>> nan_mean(np.array([[1.0, 3.0], [np.nan, np.nan]]), axis=1).tolist()
        [2.0, nan]
    """
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def is_within(gaps: FloatArray, tolerance: float) -> BoolArray:
    """Return which gaps are at most the tolerance, rounding errors aside; NaN is not.

    Example:
        >>> is_within(np.array([0.1 + 0.2, 0.4, np.nan]), 0.3).tolist()
        [True, False, False]
    """
    near: BoolArray = gaps <= tolerance + _ROUNDING
    return near
