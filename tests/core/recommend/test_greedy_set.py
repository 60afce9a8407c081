"""Facts of the greedy choice of a set: order, limits, and how near it is to the best set."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.greedy_set import choose_greedily

#: the first is best on average; the second wins only with it, the third where it fails
OUTCOMES = np.array([[9.0, 9.0, 0.0], [8.0, 8.0, 1.0], [0.0, 0.0, 7.0]])


def choose(
    outcomes: FloatArray, *, first: int = 0, size: int | None = None, min_gain: float = -np.inf
) -> tuple[list[int], FloatArray]:
    """Choose by the mean raise over equally likely samples."""
    return choose_greedily(
        outcomes,
        lambda best: np.fmax(outcomes - best, 0.0).mean(axis=1),
        first=first,
        size=size,
        min_gain=min_gain,
    )


def test_the_next_member_is_the_one_that_raises_the_expected_best_the_most() -> None:
    """The third raises it by 7/3; beside both the second adds nothing."""
    chosen, gains = choose(OUTCOMES)

    assert chosen == [0, 2, 1]
    assert gains == pytest.approx([0.0, 0.0, 7 / 3])


def test_gains_of_the_others_are_what_they_would_raise_now() -> None:
    """The second would raise the best by 1/3 beside the first, but by nothing beside both."""
    assert choose(OUTCOMES, size=1)[1] == pytest.approx([0.0, 1 / 3, 7 / 3])
    assert choose(OUTCOMES, size=2)[1] == pytest.approx([0.0, 0.0, 7 / 3])


@pytest.mark.parametrize(
    ("min_gain", "chosen"), [(7 / 3, [0]), (2.0, [0, 2]), (0.0, [0, 2]), (-1.0, [0, 2, 1])]
)
def test_the_set_grows_while_a_gain_is_above_the_minimum(
    min_gain: float, chosen: list[int]
) -> None:
    """A gain of exactly the minimum does not pay."""
    assert choose(OUTCOMES, min_gain=min_gain)[0] == chosen


@pytest.mark.parametrize("size", [1, 2, 3, 9])
def test_a_size_is_never_exceeded_and_at_most_everyone_is_chosen(size: int) -> None:
    assert choose(OUTCOMES, size=size)[0] == [0, 2, 1][:size]


def test_the_caller_may_pick_another_than_the_largest_gain() -> None:
    """Gains of chosen candidates are minus infinity, so that nobody picks them twice."""
    gains_of: list[list[float]] = []

    def smallest(gains: FloatArray, chosen: Sequence[int]) -> int:
        gains_of.append(gains.tolist())
        assert all(gains[i] == -math.inf for i in chosen)
        return int(np.where(np.isfinite(gains), gains, np.inf).argmin())

    chosen, _ = choose_greedily(
        OUTCOMES,
        lambda best: np.fmax(OUTCOMES - best, 0.0).mean(axis=1),
        first=0,
        pick=smallest,
    )

    assert chosen == [0, 1, 2]
    assert gains_of[0] == pytest.approx([-math.inf, 1 / 3, 7 / 3])


def test_unknown_outcomes_leave_the_best_of_the_known() -> None:
    """Where the first has no sample, the best of the others counts alone."""
    outcomes = np.array([[5.0, math.nan], [math.nan, 3.0], [4.0, 2.0]])

    def gain(best: FloatArray) -> FloatArray:
        assert not np.isnan(best[0])
        bests.append(best.tolist())
        return np.array([0.0, 2.0, 1.0])

    bests: list[list[float]] = []
    chosen, _ = choose_greedily(outcomes, gain, first=0, size=3)

    assert chosen == [0, 1, 2]
    assert np.isnan(bests[0][1])
    assert bests[1] == [5.0, 3.0]


@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 4))
def test_the_set_reaches_the_share_of_the_best_one_that_submodularity_promises(
    seed: int, size: int
) -> None:
    """At least 1 - 1/e of what the best set with the same first raises (Nemhauser et al. 1978)."""
    outcomes = np.random.default_rng(seed).normal(size=(6, 20))

    def expected_best(rows: Sequence[int]) -> float:
        return float(outcomes[list(rows)].max(axis=0).mean())

    chosen, gains = choose(outcomes, size=size)

    base = expected_best([0])
    sets = ([0, *others] for others in itertools.combinations(range(1, 6), size - 1))
    best = max(map(expected_best, sets))
    assert expected_best(chosen) - base >= (1 - 1 / math.e) * (best - base) - 1e-12
    assert gains[chosen].sum() == pytest.approx(expected_best(chosen) - base)
