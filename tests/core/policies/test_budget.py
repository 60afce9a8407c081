"""Facts of the budget of a selection: how many candidates may still train."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.policies.budget import Budget


def affordable(
    budget: Budget,
    spent: int,
    waiting: int,
    later_stages: int,
    seconds_per_epoch: float = math.nan,
) -> int:
    """Candidates that may go on after ``spent`` epochs of two seconds."""
    return budget.affordable_candidates(
        spent_epochs=spent,
        spent_seconds=spent * 2.0,
        seconds_per_epoch=seconds_per_epoch,
        waiting=waiting,
        later_stages=later_stages,
    )


def test_without_a_limit_everyone_goes_on() -> None:
    assert affordable(Budget(), 1000, 30, 4) == 30
    assert not Budget().is_limited


def test_one_can_always_be_trained_to_the_end() -> None:
    """9 epochs: 5 train the first of 5 stages, then 4 are left for the one that goes on."""
    assert affordable(Budget(epochs=9), 0, 16, 4) == 5
    assert affordable(Budget(epochs=9), 5, 5, 3) == 1


def test_a_budget_below_one_fine_tuning_trains_one_as_far_as_it_gets() -> None:
    budget = Budget(epochs=3)

    assert [affordable(budget, spent, 4, 4 - spent) for spent in range(4)] == [1, 1, 1, 0]


def test_hours_count_by_what_an_epoch_takes() -> None:
    """20 s at 2 s an epoch are 10 epochs."""
    assert affordable(Budget(seconds=20), 0, 16, 4, seconds_per_epoch=2.0) == 6
    assert affordable(Budget(seconds=20), 10, 3, 1, seconds_per_epoch=2.0) == 0


def test_without_a_known_rate_time_stops_only_when_it_is_over() -> None:
    assert affordable(Budget(seconds=20), 9, 3, 1) == 3
    assert affordable(Budget(seconds=20), 10, 3, 1) == 0


def test_the_first_epoch_is_always_trained() -> None:
    """Or there would be nothing to register."""
    assert affordable(Budget(seconds=1), 0, 3, 4, seconds_per_epoch=50.0) == 1


@given(epochs=st.integers(1, 60), candidates=st.integers(1, 20), stages=st.integers(1, 8))
def test_a_whole_race_stays_within_its_budget(epochs: int, candidates: int, stages: int) -> None:
    spent, active, reached = 0, candidates, 0
    for stage in range(1, stages + 1):
        active = affordable(Budget(epochs=epochs), spent, active, stages - stage)
        if not active:
            break
        spent, reached = spent + active, stage

    assert spent <= epochs
    assert reached == min(stages, epochs)


@pytest.mark.parametrize(
    ("budget", "text"),
    [
        (Budget(), "no limit"),
        (Budget(epochs=9), "9 epochs"),
        (Budget(9, 5400), "9 epochs and 1.5 hours"),
    ],
)
def test_it_can_be_read(budget: Budget, text: str) -> None:
    assert str(budget) == text
