"""Facts of replaying a selection on recorded curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.backtest.replay import ReplayOutcome, replay
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies import POLICIES, PolicyHistory, PolicyOptions, Verdict
from mlflow_recall.core.policies.spec import Cohort
from mlflow_recall.errors import HistoryError


def replay_policy(
    name: str,
    curves: dict[str, list[float]],
    history: PolicyHistory | None,
    stages: int,
    **options: float,
) -> ReplayOutcome:
    """Replay a built-in policy."""
    spec = POLICIES[name]
    return replay(spec.decide, curves, history, spec.make_options(stages, options))


def random_curves(models: int, stages: int, seed: int = 0) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    return {f"m{i:02d}": rng.random(stages).tolist() for i in range(models)}


def random_history(models: int, datasets: int, stages: int, seed: int = 0) -> PolicyHistory:
    rng = np.random.default_rng(seed)
    names = tuple(f"m{i:02d}" for i in range(models))
    scores = np.sort(rng.random((models, datasets, stages)), axis=2)
    final_scores = scores[..., -1] + 0.01 * rng.normal(size=(models, datasets))
    ids = tuple(f"d{j}" for j in range(datasets))
    return PolicyHistory(
        Curves(models=names, datasets=ids, scores=scores, final_scores=final_scores)
    )


@pytest.mark.parametrize(
    ("models", "stages", "spent"), [(40, 5, 77), (30, 4, 55), (10, 5, 19), (10, 4, 18)]
)
def test_halving_spends_the_papers_epochs(models: int, stages: int, spent: int) -> None:
    """Section V: 40 text models x 5 epochs, 30 vision models x 4, and the ten recalled of each."""
    got = replay_policy("halving", random_curves(models, stages), None, stages)

    assert got.epochs == spent


def test_brute_force_spends_everything_and_finds_the_best_on_validation() -> None:
    curves = random_curves(7, 3)

    got = replay_policy("brute_force", curves, None, 3)

    assert got.epochs == 21
    assert got.winner == max(curves, key=lambda m: curves[m][-1])
    assert set(got.last_stage.values()) == {3}


@given(
    models=st.integers(1, 16),
    stages=st.integers(1, 5),
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.0, 0.01, 0.1]),
)
@settings(max_examples=40)
def test_fine_selection_never_spends_more_than_halving(
    models: int, stages: int, seed: int, threshold: float
) -> None:
    curves = random_curves(models, stages, seed)
    known = random_history(models, 6, stages, seed)

    fine = replay_policy("fine_selection", curves, known, stages, threshold=threshold)
    half = replay_policy("halving", curves, known, stages)

    assert stages <= fine.epochs <= half.epochs
    assert sum(fine.last_stage.values()) == fine.epochs
    assert fine.last_stage[fine.winner] == stages


def test_fine_selection_without_a_history_is_halving() -> None:
    curves = random_curves(12, 4)

    fine, half = (replay_policy(name, curves, None, 4) for name in ("fine_selection", "halving"))

    assert fine == half


def test_a_policy_sees_what_was_trained_and_no_more() -> None:
    """Neither later scores nor stopped models; the last stage needs no decision."""
    cohorts: list[tuple[list[str], int]] = []

    def drop_first(
        cohort: Cohort, history: PolicyHistory | None, options: PolicyOptions
    ) -> dict[str, Verdict]:
        cohorts.append((list(cohort), {len(scores) for scores in cohort.values()}.pop()))
        return {model: Verdict(stop=i == 0, reason="by order") for i, model in enumerate(cohort)}

    got = replay(drop_first, random_curves(4, 3), None, PolicyOptions(3))

    assert cohorts == [(["m00", "m01", "m02", "m03"], 1), (["m01", "m02", "m03"], 2)]
    assert got.last_stage == {"m00": 1, "m01": 2, "m02": 3, "m03": 3}
    assert got.epochs == 4 + 3 + 2


def test_one_candidate_is_trained_to_the_end_without_a_decision() -> None:
    def never(
        cohort: Cohort, history: PolicyHistory | None, options: PolicyOptions
    ) -> dict[str, Verdict]:
        raise AssertionError(cohort)

    got = replay(never, {"a": [0.1, 0.2]}, None, PolicyOptions(2))

    assert (got.winner, got.epochs) == ("a", 2)


def test_of_equals_the_better_recalled_wins() -> None:
    curves = {"second": [0.1, 0.5], "first": [0.2, 0.5]}

    assert replay_policy("brute_force", curves, None, 2).winner == "second"


@pytest.mark.parametrize("curve", [[0.1], [0.1, 0.2, 0.3], [0.1, math.nan]])
def test_curves_of_another_length_are_refused(curve: list[float]) -> None:
    with pytest.raises(HistoryError, match="replay: expected 2 validation scores of b, got"):
        replay_policy("halving", {"a": [0.1, 0.2], "b": curve}, None, 2)


def test_no_candidates_are_refused() -> None:
    with pytest.raises(HistoryError, match="replay: expected at least one candidate"):
        replay_policy("halving", {}, None, 2)
