"""Facts of a cost-regret frontier, its area, and the area without hindsight."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.frontier import MAX_SETTINGS, Frontier, paired
from mlflow_recall.errors import HistoryError

T = 5


def frontier(epochs: object, regrets: object) -> Frontier:
    spent, lost = np.array(epochs, dtype=np.float64), np.array(regrets, dtype=np.float64)
    return Frontier(tuple(f"d{j}" for j in range(spent.shape[1])), spent, lost, T)


def drawn(s: int, d: int, seed: int) -> Frontier:
    rng = np.random.default_rng(seed)
    epochs = rng.uniform(T, 6 * T, size=(s, d))
    epochs[0] = T
    return frontier(epochs, rng.random((s, d)))


def slow_area(epochs: FloatArray, regrets: FloatArray, nested: bool) -> float:
    """Section 4 of the design, cost by cost and dataset by dataset."""
    s, d = epochs.shape
    total, steps = 0.0, 41
    for step in range(steps):
        cost = T * 5 ** (step / (steps - 1))
        for j in range(d):
            judges = [i for i in range(d) if i != j] if nested else list(range(d))
            best = None
            for k in range(s):
                spent = math.fsum(epochs[k, i] for i in judges) / len(judges)
                lost = math.fsum(regrets[k, i] for i in judges) / len(judges)
                if spent <= cost + 1e-9 and (best is None or lost < best[0]):
                    best = lost, k
            assert best is not None
            total += regrets[best[1], j] / d / steps
    return total


@given(s=st.integers(1, MAX_SETTINGS), d=st.integers(2, 7), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_areas_are_those_of_the_definition(s: int, d: int, seed: int) -> None:
    got = drawn(s, d, seed)

    assert got.area == pytest.approx(slow_area(got.epochs, got.regrets, nested=False))
    assert got.area_nested == pytest.approx(slow_area(got.epochs, got.regrets, nested=True))


def test_one_setting_is_its_own_mean_regret() -> None:
    got = frontier([[T, T, T]], [[0.1, 0.2, 0.6]])

    assert got.area == pytest.approx(0.3)
    assert got.area_nested == pytest.approx(0.3)  # nothing was chosen, so nothing flatters
    assert got.points[0] == pytest.approx((5.0, 0.3))


def test_half_of_the_logarithm_is_half_of_the_area() -> None:
    """A second setting without regret at T √5 epochs counts from the middle of the costs on."""
    middle = T * math.sqrt(5)
    got = frontier([[T, T], [middle, middle]], [[0.41, 0.41], [0.0, 0.0]])

    assert got.area == pytest.approx(0.41 * 20 / 41)


def test_a_setting_that_is_dearer_and_worse_changes_nothing() -> None:
    first = drawn(4, 5, 1)
    worse = frontier(
        np.vstack([first.epochs, first.epochs[-1] + 1]),
        np.vstack([first.regrets, first.regrets[-1] + 1]),
    )

    assert worse.area == pytest.approx(first.area)
    assert worse.area_nested == pytest.approx(first.area_nested)


def test_the_choice_of_the_other_datasets_is_not_told_this_ones() -> None:
    """Each of two settings is best on one dataset: hindsight takes the better, others the worse."""
    got = frontier([[T, T], [T, T]], [[0.0, 0.3], [0.2, 0.0]])

    assert got.area == pytest.approx(0.1)
    assert got.area_nested == pytest.approx(0.25)
    np.testing.assert_allclose(got.nested, [0.2, 0.3])


def test_one_dataset_has_no_others() -> None:
    got = frontier([[T]], [[0.1]])

    assert got.area == pytest.approx(0.1)
    assert math.isnan(got.area_nested)


def test_what_is_no_frontier_is_refused() -> None:
    with pytest.raises(HistoryError, match="expected epochs and regrets of settings x 1 datasets"):
        Frontier(("d",), np.full((1, 2), 5.0), np.zeros((1, 2)), T)
    with pytest.raises(HistoryError, match="expected 1 to 12 settings fixed beforehand, got 13"):
        frontier(np.full((13, 1), T), np.zeros((13, 1)))
    with pytest.raises(HistoryError, match="expected a first setting that trains one model for 5"):
        frontier([[2 * T]], [[0.0]])


def test_paired_differences_by_hand() -> None:
    """Differences 1, 2 and 3: mean 2, standard deviation 1."""
    mean, error = paired(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]))

    assert [mean, error] == pytest.approx([2.0, 1 / math.sqrt(3)])
    one = paired(np.array([2.0]), np.array([1.0]))
    assert one[0] == 1.0
    assert math.isnan(one[1])
    assert np.isnan(paired(np.array([]), np.array([]))).all()
