"""Array types, and the one way to make an array read-only."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
BoolArray: TypeAlias = NDArray[np.bool_]
AnyArray: TypeAlias = NDArray[Any]

#: a gap of exactly the tolerance is within it
_ROUNDING = 1e-9


def read_only(values: ArrayLike) -> FloatArray:
    """A read-only float64 copy of ``values``."""
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


def nan_mean(values: FloatArray, axis: int) -> FloatArray:
    """Mean over ``axis`` ignoring NaN; NaN where nothing was measured, without a warning."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    mean: FloatArray = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def is_within(gaps: FloatArray, tolerance: float) -> BoolArray:
    """Which gaps are at most the tolerance, whatever its binary digits; NaN is none of them."""
    near: BoolArray = gaps <= tolerance + _ROUNDING
    return near
