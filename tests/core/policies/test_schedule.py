"""Facts of schedules: how many models train in each stage where nothing else is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.policies.schedule import full_counts, halving_counts


def test_the_papers_halving_trains_forty_twenty_ten_five_two() -> None:
    """Section V of the paper: 77 epochs for 40 models and 5 stages, 19 for the ten recalled."""
    assert halving_counts(40, 5) == [40, 20, 10, 5, 2]
    assert halving_counts(10, 5) == [10, 5, 2, 1, 1]


@given(models=st.integers(1, 200), stages=st.integers(1, 12))
def test_every_stage_has_the_floor_of_half_of_the_one_before_and_at_least_one(
    models: int, stages: int
) -> None:
    """Halving stage by stage and halving at once agree, because floors compose."""
    counts = halving_counts(models, stages)

    expected = [models]
    while len(expected) < stages:
        expected.append(max(1, expected[-1] // 2))
    assert counts == expected


def test_without_halving_every_stage_has_all() -> None:
    assert full_counts(3, 4) == [3, 3, 3, 3]


def test_no_models_train_in_no_stage() -> None:
    assert halving_counts(0, 3) == full_counts(0, 3) == [0, 0, 0]
    assert halving_counts(5, 0) == full_counts(5, 0) == []
