"""Facts of subsets of datasets: which ones suffice to rank the models."""

from __future__ import annotations

import numpy as np
import pytest
from histories import NAN, matrix, world
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.planning.dataset_subset import find_smallest_subset
from mlflow_recall.errors import HistoryError


def test_one_of_the_datasets_that_agree_is_enough() -> None:
    values = np.arange(5.0)[:, None] * np.linspace(1.0, 2.0, 7) + np.arange(7.0)

    subset = find_smallest_subset(matrix(values))

    assert subset.size == 1
    assert subset.agreement == pytest.approx(1.0)
    assert subset.loss == pytest.approx(0.0)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_all_datasets_keep_everything_and_lose_nothing(seed: int) -> None:
    history = matrix(world(seed))

    subset = find_smallest_subset(history, tolerance=0.0)

    assert sorted(subset.order) == sorted(history.datasets)
    assert subset.datasets == subset.order[: subset.size]
    assert (subset.agreement[-1], subset.loss[-1], subset.standard_error[-1]) == (1.0, 0.0, 0.0)
    assert not np.isnan(subset.loss).any()


def test_a_larger_tolerance_never_needs_more_datasets() -> None:
    for seed in range(5):
        history = matrix(world(seed, models=12, datasets=15))
        sizes = [
            find_smallest_subset(history, tolerance).size for tolerance in (0.0, 0.05, 0.3, 5.0)
        ]
        assert sizes == sorted(sizes, reverse=True)


def test_every_larger_subset_is_enough_too() -> None:
    """A subset that is good by luck does not count."""
    for seed in range(10):
        subset = find_smallest_subset(matrix(world(seed, models=12, datasets=15)), 0.05)
        loss, error = subset.loss[subset.size - 1 :], subset.standard_error[subset.size - 1 :]
        assert (loss <= np.maximum(0.05, error) + 1e-9).all()


def test_the_dataset_that_orders_models_as_all_do_is_taken_first() -> None:
    """The others are that one with noise of their own."""
    rng = np.random.default_rng(0)
    strength = np.arange(10.0)[:, None]
    values = np.hstack([strength + 4.0 * rng.normal(size=(10, 30)), strength])

    assert find_smallest_subset(matrix(values)).order[0] == "d30"


def test_the_loss_is_counted_on_held_out_datasets() -> None:
    """Each dataset favors a model of its own: its ranking serves nowhere else.

    Ranked by all, the good model that wins nowhere is first, at a gap of 1; by one dataset its own
    winner is, at a gap of 5 elsewhere.
    """
    values = np.vstack([np.full((1, 9), 4.0), 5.0 * np.eye(9)])

    subset = find_smallest_subset(matrix(values))

    assert subset.loss[0] > 0.5
    assert subset.size > 1


@pytest.mark.parametrize("shape", [(2, 6), (6, 2)])
def test_too_little_is_refused_with_what_there_is(shape: tuple[int, int]) -> None:
    with pytest.raises(HistoryError, match=f"got {shape[0]} and {shape[1]}"):
        find_smallest_subset(matrix(np.random.default_rng(0).normal(size=shape)))


def test_datasets_with_one_measured_model_do_not_count() -> None:
    values = world(6, missing=0.0)
    values[1:, 0] = NAN

    assert "d0" not in find_smallest_subset(matrix(values)).order
