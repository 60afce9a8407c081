"""Facts of a row of the policies, and of what policies are given: stage and order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.policies import POLICIES, Cohort, PolicyHistory, stopping_policies
from mlflow_recall.core.policies.spec import (
    CANDIDATE_COUNTS,
    PolicyOptions,
    PolicySpec,
    Verdict,
    current_stage,
    rank_by_score,
)
from mlflow_recall.errors import ConfigError, StageIncomplete

NAN = math.nan


@pytest.mark.parametrize(
    ("cohort", "stage"),
    [({}, 0), ({"a": [0.1]}, 1), ({"a": [0.1, 0.2], "b": [0.3]}, 1), ({"a": [NAN] * 3}, 3)],
)
def test_the_stage_is_what_everyone_has_reached(cohort: dict[str, list[float]], stage: int) -> None:
    """A model that is ahead waits."""
    assert current_stage(cohort) == stage


def test_whoever_has_not_reported_is_named() -> None:
    """Nothing is decided about a candidate without any score."""
    message = (
        "b, c: expected a score of the first stage, got none: ask when every model has reported"
    )
    with pytest.raises(StageIncomplete, match=f"^{message}$"):
        current_stage({"a": [0.1], "b": [], "c": []})


def test_the_order_is_that_of_the_present_stage_ties_in_trial_order_nan_last() -> None:
    """The score of the common stage counts, also for a model that is ahead."""
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


@dataclass(frozen=True)
class Patience(PolicyOptions):
    """Options of three kinds."""

    rounds: int = 2
    share: float = 0.5
    name: str = "calm"

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"rounds: expected 0 or more, got {self.rounds}")


def stop_nobody(
    cohort: Cohort, history: PolicyHistory | None, options: Patience
) -> dict[str, Verdict]:
    return {model: Verdict(stop=False, reason="patience") for model in cohort}


PATIENT: PolicySpec[Patience] = PolicySpec(
    decide=stop_nobody, summary="stops nobody", options=Patience
)


def test_options_are_those_of_the_policy_without_the_stages() -> None:
    """Users set options; the number of stages comes with the recipe."""
    assert PATIENT.option_names == ("rounds", "share", "name")
    assert POLICIES["halving"].option_names == ()
    assert PATIENT.select_options({"share": 0.1, "min_gain_per_epoch": 1}) == {"share": 0.1}


@pytest.mark.parametrize("values", [None, {}])
def test_unset_options_have_their_defaults(values: dict[str, object] | None) -> None:
    assert PATIENT.make_options(4, values) == Patience(4)


def test_option_values_may_be_text() -> None:
    """The command line and tags hold text."""
    options = PATIENT.make_options(3, {"rounds": "7", "share": "0.25", "name": "x"})

    assert options == Patience(3, 7, 0.25, "x")
    assert [type(value) for value in (options.rounds, options.share)] == [int, float]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": 3}, "unknown policy option 'stages': expected one of name, rounds, share"),
        ({"round": 3}, "unknown policy option 'round': expected one of name, rounds, share"),
        ({"rounds": "many"}, "rounds: expected a value of type int, got 'many'"),
        ({"share": None}, "share: expected a value of type float, got None"),
        ({"rounds": -1}, "rounds: expected 0 or more, got -1"),
    ],
)
def test_options_that_the_policy_cannot_use_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        PATIENT.make_options(3, values)


def test_a_policy_of_two_fields_costs_what_halving_costs_and_warns_of_nothing() -> None:
    """``decide`` and ``summary`` are enough for an installed policy to be compared and planned."""
    assert PATIENT.max_epochs(10, 5) == 10 + 5 + 2 + 1 + 1
    assert PATIENT.warn_about(0) == ""
    assert [setting.candidates for setting in PATIENT.settings] == list(CANDIDATE_COUNTS)
    assert not any(setting.options for setting in PATIENT.settings)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_settings_are_at_most_twelve_that_the_policy_accepts(name: str) -> None:
    """More settings than another policy has would be an advantage in the comparison."""
    spec = POLICIES[name]

    assert len(spec.settings) <= 12
    for setting in spec.settings:
        assert spec.make_options(3, setting.options).stages == 3
        assert setting.candidates is not None or spec.initial_candidates is not None
    for options in spec.variants.values():
        assert set(options) <= set(spec.option_names)


def test_brute_force_alone_stops_nobody() -> None:
    """It has no settings, since it is what the others are compared with."""
    assert list(stopping_policies()) == [name for name in POLICIES if name != "brute_force"]
