"""Facts of gaps: what choosing a model, or a set of models, has cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import empirical_gaps
from mlflow_recall.core.recommend.gaps import PredictedGaps

NAN = math.nan


def gaps(values: object, tolerance: float = 0.01) -> PredictedGaps:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    matrix = PerformanceMatrix(tuple("abcdef"[:models]), tuple("uvwxyz"[:datasets]), array)
    return empirical_gaps(matrix, tolerance)


#: best is 0.9 (a), 0.8 (b) and 0.7 (a and c)
EXAMPLE = [[0.9, 0.6, 0.7], [0.5, 0.8, NAN], [NAN, 0.75, 0.7], [NAN, NAN, NAN]]


def test_gaps_by_hand() -> None:
    got = gaps(EXAMPLE, tolerance=0.1)

    np.testing.assert_allclose(
        got.joint_gaps, [[0, 0.2, 0], [0.4, 0, NAN], [NAN, 0.05, 0], [NAN, NAN, NAN]], atol=1e-12
    )
    np.testing.assert_allclose(got.mean, [0.2 / 3, 0.2, 0.025, NAN])
    np.testing.assert_allclose(got.predicted, [2.2 / 3, 0.65, 0.725, NAN])
    np.testing.assert_allclose(got.p_within, [2 / 3, 1 / 2, 1, NAN])
    np.testing.assert_allclose(got.low, [0, 0.04, 0.005, NAN], atol=1e-12)
    np.testing.assert_allclose(got.high, [0.16, 0.36, 0.045, NAN], atol=1e-12)


@pytest.mark.parametrize(
    ("chosen", "share"),
    [("a", 2 / 3), ("b", 1 / 2), ("ab", 1.0), ("bc", 2 / 3), ("d", NAN), ("ad", 2 / 3), ("", NAN)],
)
def test_a_set_holds_the_best_where_any_of_its_members_does(chosen: str, share: float) -> None:
    """Datasets on which nobody of the set was measured do not count."""
    assert gaps(EXAMPLE).p_holds_best(list(chosen)) == pytest.approx(share, nan_ok=True)


def test_a_set_is_judged_jointly() -> None:
    """Shares of 1/2 each make 1 where the two win in turn, and 1/2 where they win together."""
    in_turn = gaps([[0.9, 0.1], [0.1, 0.9], [0.0, 0.0]])
    together = gaps([[0.9, 0.1], [0.9, 0.1], [0.0, 0.9]])

    assert in_turn.p_holds_best("ab") == 1.0
    assert together.p_holds_best("ab") == 0.5


@pytest.mark.parametrize("best", [0.9, 0.36, 0.29, 0.57])
def test_a_gap_of_exactly_the_tolerance_is_within_it(best: float) -> None:
    """One point is one point, though 0.9 - 0.89 is 0.010000000000000009 in binary."""
    got = gaps([[best], [round(best - 0.01, 2)]])

    assert got.p_within.tolist() == [1.0, 1.0]
    assert got.p_holds_best(["b"]) == 1.0


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_a_larger_set_holds_the_best_at_least_as_often(seed: int) -> None:
    """And everybody together always does; how hard a dataset is does not matter."""
    rng = np.random.default_rng(seed)
    values = rng.random((5, 6))
    first = gaps(values, 0.1)
    shares = [first.p_holds_best("abcde"[:k]) for k in range(1, 6)]

    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    np.testing.assert_allclose(
        gaps(values + rng.random(6), 0.1).joint_gaps, first.joint_gaps, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0), (2, 3)])
def test_nothing_measured_says_nothing(shape: tuple[int, int]) -> None:
    got = gaps(np.full(shape, NAN))

    assert np.isnan([got.mean, got.low, got.high, got.predicted, got.p_within]).all()
    assert math.isnan(got.p_holds_best(["a"]))
