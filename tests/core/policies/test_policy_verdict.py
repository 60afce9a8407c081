"""Facts of what policies are given: the stage of a cohort, and its order."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.policies.spec import current_stage, rank_by_score
from mlflow_recall.errors import StageIncomplete

NAN = math.nan


@pytest.mark.parametrize(
    ("cohort", "stage"),
    [({}, 0), ({"a": [0.1]}, 1), ({"a": [0.1, 0.2], "b": [0.3]}, 1), ({"a": [NAN] * 3}, 3)],
)
def test_the_stage_is_what_everyone_has_reached(cohort: dict[str, list[float]], stage: int) -> None:
    """Whoever is ahead waits."""
    assert current_stage(cohort) == stage


def test_whoever_has_not_reported_is_named() -> None:
    """It never answers for a candidate of whom nothing is known."""
    with pytest.raises(
        StageIncomplete, match=r"^b, c has not reported yet: ask when everyone has$"
    ):
        current_stage({"a": [0.1], "b": [], "c": []})


def test_the_order_is_that_of_the_present_stage_ties_in_trial_order_nan_last() -> None:
    """Of a model that is ahead, the score at the stage of all counts."""
    cohort = {"a": [NAN], "b": [0.5], "c": [0.7, 0.1], "d": [0.5], "e": [-math.inf], "f": [NAN]}

    assert rank_by_score(cohort) == ["c", "b", "d", "e", "a", "f"]


@given(st.dictionaries(st.text(max_size=3), st.lists(st.floats(), min_size=1, max_size=3)))
def test_the_order_is_one_of_all_names_from_high_to_low(cohort: dict[str, list[float]]) -> None:
    got = rank_by_score(cohort)

    stage = current_stage(cohort)
    now = [cohort[model][stage - 1] for model in got]
    known = [score for score in now if not math.isnan(score)]
    assert sorted(got) == sorted(cohort)
    assert known == sorted(known, reverse=True)
    assert all(map(math.isnan, now[len(known) :]))
