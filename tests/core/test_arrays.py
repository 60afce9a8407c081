"""Facts of arrays: read-only copies, means that skip the unknown, and what a tolerance includes."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import is_within, nan_mean, read_only

NAN = math.nan


def test_a_frozen_array_is_a_copy_that_nobody_can_write_to() -> None:
    """Data is checked once, at its birth, so it must not change later."""
    given_values = np.array([1, 2, 3])

    got = read_only(given_values)
    given_values[0] = 9

    assert got.dtype == np.float64
    assert got.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        got[0] = 5.0


@given(
    rows=st.lists(
        st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=3, max_size=3), min_size=1
    )
)
@settings(max_examples=30, deadline=None)
def test_means_are_those_of_what_was_measured(rows: list[list[float | None]]) -> None:
    """NaN where nothing was, without a warning, along either axis."""
    values = np.array([[NAN if v is None else v for v in row] for row in rows])

    for axis, lines in ((1, rows), (0, list(zip(*rows, strict=True)))):
        known = [[v for v in line if v is not None] for line in lines]
        expected = [statistics.fmean(line) if line else NAN for line in known]
        np.testing.assert_allclose(nan_mean(values, axis=axis), expected, rtol=1e-9, atol=1e-6)


def test_means_of_nothing_are_empty_or_unknown() -> None:
    assert nan_mean(np.empty((0, 3)), axis=1).shape == (0,)
    assert np.isnan(nan_mean(np.empty((0, 3)), axis=0)).tolist() == [True] * 3


@pytest.mark.parametrize("tolerance", [0.01, 0.03, 0.1, 0.29])
def test_a_gap_of_the_tolerance_is_within_it_whatever_its_binary_digits(tolerance: float) -> None:
    """0.9 - 0.89 is 0.010000000000000009; what is unknown is within nothing."""
    gaps = np.array([0.0, 0.9 - (0.9 - tolerance), tolerance + 1e-6, -1.0, NAN, math.inf])

    assert is_within(gaps, tolerance).tolist() == [True, True, False, True, False, False]
