"""Facts of successive halving, and of what every policy has in common."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.policies import POLICIES, PolicyOptions, Verdict
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.errors import ConfigError, StageIncomplete

NAN = math.nan
THREE = PolicyOptions(stages=3)


def kept(cohort: dict[str, list[float]], options: PolicyOptions = THREE) -> list[str]:
    return [model for model, v in halving(cohort, None, options).items() if not v.stop]


def decide(name: str, cohort: dict[str, list[float]], stages: int = 3) -> dict[str, Verdict]:
    """Verdicts of a policy without a history, with its default options."""
    spec = POLICIES[name]
    return spec.decide(cohort, None, spec.make_options(stages))


@pytest.mark.parametrize(
    ("models", "stages", "spent"), [(40, 5, 77), (30, 4, 55), (10, 5, 19), (10, 4, 18), (1, 3, 3)]
)
def test_the_papers_epochs_are_spent_and_predicted(models: int, stages: int, spent: int) -> None:
    """Section V: stage by stage 40 + 20 + 10 + 5 + 2, and so on."""
    rng = np.random.default_rng(models)
    curves = {f"m{i}": rng.random(stages).tolist() for i in range(models)}
    active, used = list(curves), 0
    for stage in range(1, stages + 1):
        used += len(active)
        active = kept({m: curves[m][:stage] for m in active}, PolicyOptions(stages))

    assert (
        used
        == POLICIES["halving"].max_epochs(models, stages)
        == POLICIES["fine_selection"].max_epochs(models, stages)
        == spent
    )
    assert POLICIES["brute_force"].max_epochs(models, stages) == models * stages


def test_no_candidates_cost_nothing() -> None:
    assert POLICIES["halving"].max_epochs(0, 5) == POLICIES["brute_force"].max_epochs(0, 5) == 0


@pytest.mark.parametrize("n", range(1, 12))
def test_the_best_floor_of_half_go_on(n: int) -> None:
    scores = np.random.default_rng(n).permutation(n) / n
    best = np.argsort(-scores)[: max(1, n // 2)]

    assert sorted(kept({f"m{i}": [scores[i]] for i in range(n)})) == sorted(f"m{i}" for i in best)


def test_only_the_present_stage_counts() -> None:
    assert kept({"a": [0.9, 0.1], "b": [0.1, 0.9]}) == ["b"]


def test_of_equals_the_earlier_trials_go_on() -> None:
    assert kept({m: [0.5] for m in "dcba"}) == ["d", "c"]


def test_a_diverged_candidate_is_the_worst() -> None:
    """NaN compares with nothing: a plain sort leaves it wherever it stood."""
    assert kept({"a": [NAN], "b": [0.9], "c": [0.5], "d": [0.7]}) == ["b", "d"]
    assert kept({"a": [NAN], "b": [-math.inf]}) == ["b"]
    assert kept({"a": [NAN], "b": [NAN]}) == ["a"]


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("stage", [3, 4])
def test_nobody_is_stopped_after_the_last_stage(name: str, stage: int) -> None:
    verdicts = decide(name, {m: [0.1 * i] * stage for i, m in enumerate("abcd")})

    assert list(verdicts) == list("abcd")
    assert not any(v.stop for v in verdicts.values())


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_a_single_candidate_goes_on_and_an_empty_cohort_has_no_verdicts(name: str) -> None:
    assert not decide(name, {"a": [0.0]})["a"].stop
    assert decide(name, {}) == {}


@pytest.mark.parametrize("name", ["fine_selection", "halving"])
def test_before_the_first_stage_nothing_is_decided(name: str) -> None:
    with pytest.raises(StageIncomplete, match="b: expected a score of the first stage"):
        decide(name, {"a": [0.1], "b": []})


def test_a_verdict_names_the_rank_and_the_rival() -> None:
    verdicts = halving({"a": [0.1], "b": [0.4], "c": [0.3], "d": [0.2]}, None, THREE)

    assert list(verdicts) == list("abcd"), "in trial order"
    assert verdicts["b"].reason == "rank 1 of 4 on validation"
    assert verdicts["d"].reason == "halving keeps 2 of 4; rank 3 on validation"
    assert (verdicts["d"].rival, verdicts["d"].predicted) == ("c", None)


def test_brute_force_stops_nobody() -> None:
    verdicts = decide("brute_force", {"a": [0.1], "b": [0.9]})

    assert not any(v.stop for v in verdicts.values())


def test_an_unknown_policy_names_the_known_ones() -> None:
    assert POLICIES["halving"].decide is halving
    with pytest.raises(
        ConfigError,
        match=r"unknown policy 'luck': expected one of "
        "brute_force, cost_aware, fine_selection, halving",
    ):
        POLICIES["luck"]
