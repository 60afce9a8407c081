"""Policies on recorded curves: nothing of the held-out dataset is known before it happens."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_recall.core.backtest.held_out_target import held_out_targets
from mlflow_recall.core.backtest.policy_frontiers import (
    COMPARED,
    SIZES,
    policy_settings,
    replay_policies,
)
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import PolicySetting, policy_strategy, replay_strategy
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.errors import HistoryError

MODELS, DATASETS, STAGES = 12, 7, 4


def recorded(seed: int = 0, *, missing: float = 0.0) -> Curves:
    """Curves that rise towards an end that model, dataset and luck decide."""
    rng = np.random.default_rng(seed)
    shape = (MODELS, DATASETS)
    ends = 0.5 + 0.1 * rng.normal(size=(MODELS, 1)) + 0.05 * rng.normal(size=shape)
    rise = np.linspace(0.6, 1.0, STAGES)
    scores = ends[..., None] * rise + 0.01 * rng.normal(size=(*shape, STAGES))
    lost = rng.random(shape) < missing
    scores[lost, -1] = np.nan
    ends = np.where(lost, np.nan, ends)
    names = tuple(f"m{i:02}" for i in range(MODELS))
    return Curves(names, tuple(f"d{j}" for j in range(DATASETS)), scores, ends)


def test_the_held_out_dataset_is_not_in_the_past() -> None:
    for target in held_out_targets(recorded()):
        assert target.past is not None
        assert target.dataset not in target.past.curves.datasets
        assert len(target.past.curves.datasets) == DATASETS - 1


def test_candidates_are_in_the_order_of_the_other_datasets() -> None:
    """Mean rank over the others, as slowly as it is said."""
    curves = recorded()
    (first, *_) = held_out_targets(curves)
    others = curves.final_scores[:, 1:]
    ranks = np.array([[(column < value).sum() for value in column] for column in others.T])
    order = np.argsort(-ranks.mean(axis=0), kind="stable")

    assert list(first.curves) == [curves.models[i] for i in order]


def test_a_selection_sees_one_fine_tuning_and_is_judged_by_the_mean_of_all() -> None:
    """Averaged validation is less noisy than what anybody sees who trains a candidate once."""
    mean = recorded()
    rng = np.random.default_rng(1)
    once = mean.scores + rng.normal(size=mean.scores.shape)
    curves = Curves(mean.models, mean.datasets, mean.scores, mean.final_scores, once)

    for column, target in enumerate(held_out_targets(curves)):
        for model, seen in target.curves.items():
            row = curves.models.index(model)
            assert list(seen) == once[row, column].tolist()
            assert target.truth.score(model) == mean.final_scores[row, column]


def test_models_without_a_complete_curve_are_no_candidates() -> None:
    curves = recorded(3, missing=0.3)
    for target in held_out_targets(curves):
        column = curves.datasets.index(target.dataset)
        whole = {m for m, end in zip(curves.models, curves.final_scores[:, column], strict=True)
                 if not np.isnan(end)}  # fmt: skip
        assert set(target.curves) == set(target.truth.models) == whole


@pytest.mark.parametrize("stages", [4, 5])
def test_halving_costs_what_it_must(stages: int) -> None:
    """Floor of half at each stage, and at least one: 10 models, as in the paper's Table IV."""
    curves = recorded()
    scores = np.concatenate([curves.scores] * 2, axis=2)[..., :stages]
    targets = list(
        held_out_targets(Curves(curves.models, curves.datasets, scores, curves.final_scores))
    )

    got = replay_strategy(targets, policy_strategy("halving", PolicySetting(10)))

    assert set(got.epochs) == {{4: 18, 5: 19}[stages]}


def test_brute_force_ends_with_the_best_on_validation() -> None:
    targets = list(held_out_targets(recorded()))

    got = replay_strategy(targets, policy_strategy("brute_force", PolicySetting(MODELS)))

    assert set(got.epochs) == {MODELS * STAGES}
    for target, regret in zip(targets, got.regrets, strict=True):
        winner = max(target.curves, key=lambda m: target.curves[m][-1])
        assert regret == pytest.approx(
            max(target.truth.final_scores.values()) - target.truth.final_scores[winner]
        )


def test_fine_selection_never_costs_more_than_halving() -> None:
    targets = list(held_out_targets(recorded()))
    for size in SIZES:
        halved = replay_strategy(targets, policy_strategy("halving", PolicySetting(size)))
        selected = replay_strategy(targets, policy_strategy("fine_selection", PolicySetting(size)))
        assert (selected.epochs <= halved.epochs).all()


def test_every_policy_starts_with_one_model_to_the_end() -> None:
    """So that every frontier begins at the same point."""
    targets = list(held_out_targets(recorded()))
    first = {
        name: replay_strategy(targets, policy_strategy(name, policy_settings(name)[0]))
        for name in COMPARED
    }

    for each in first.values():
        assert set(each.epochs) == {STAGES}
        np.testing.assert_array_equal(each.regrets, first["halving"].regrets)
        assert set(each.candidates) == {1}


def one_after_the_other(curves: dict[str, list[float]]) -> list[ReplayOutcome]:
    """A baseline that trains everyone to the end."""
    done = []
    for count in range(1, len(curves) + 1):
        some = dict(list(curves.items())[:count])
        best = max(some, key=lambda m: some[m][-1])
        done.append(ReplayOutcome(best, count * STAGES, dict.fromkeys(some, STAGES)))
    return done


def test_a_baseline_answers_for_every_number_of_candidates() -> None:
    targets = list(held_out_targets(recorded()))
    told: list[str] = []

    got = replay_policies(
        targets, top_k=6, baselines={"all": one_after_the_other}, done=told.append
    )  # type: ignore[dict-item]

    brute = replay_strategy(targets, policy_strategy("brute_force", PolicySetting(6)))
    np.testing.assert_array_equal(got.table["all"].epochs, brute.epochs)
    np.testing.assert_array_equal(got.table["all"].regrets, brute.regrets)
    costs = got.frontiers["all"].epochs
    np.testing.assert_array_equal(costs[:, 0], [STAGES * min(k, MODELS) for k in SIZES])
    assert len(told) == 1 + sum(len(policy_settings(name)) for name in COMPARED)


def test_the_whole_zoo_stands_beside_the_recalled() -> None:
    got = replay_policies(list(held_out_targets(recorded())), top_k=4)

    assert set(got.table["brute_force of all"].epochs) == {MODELS * STAGES}
    assert set(got.table["brute_force"].epochs) == {4 * STAGES}
    assert got.stages == STAGES


def test_within_counts_a_gap_of_exactly_the_tolerance() -> None:
    targets = list(held_out_targets(recorded()))
    got = replay_strategy(targets, policy_strategy("halving", PolicySetting(1)))

    assert got.share_within(float(got.regrets.max())) == 1.0
    assert got.share_within(-1.0) == 0.0


def test_one_dataset_leaves_no_history() -> None:
    whole = recorded()
    one = Curves(whole.models, whole.datasets[:1], whole.scores[:, :1], whole.final_scores[:, :1])

    with pytest.raises(HistoryError, match=r"expected curves on at least 2 datasets, .* got 1"):
        next(held_out_targets(one))
    with pytest.raises(HistoryError, match="at least 2 models on at least 2 datasets, got 0"):
        replay_policies([])
