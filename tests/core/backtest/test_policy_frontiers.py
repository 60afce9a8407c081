"""Policies on recorded curves: nothing of the held-out dataset is known before it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from mlflow_recall.core.backtest.holdout import hold_out_curves
from mlflow_recall.core.backtest.policy_frontiers import make_frontier, replay_policies
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import policy_strategy, replay_strategy
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies import PolicySetting, stopping_policies
from mlflow_recall.core.policies.spec import CANDIDATE_COUNTS
from mlflow_recall.errors import HistoryError

MODELS, DATASETS, STAGES = 12, 7, 4


def recorded(seed: int = 0, *, missing: float = 0.0) -> Curves:
    """Curves that rise towards a final score of model, dataset and chance."""
    rng = np.random.default_rng(seed)
    shape = (MODELS, DATASETS)
    final_scores = 0.5 + 0.1 * rng.normal(size=(MODELS, 1)) + 0.05 * rng.normal(size=shape)
    rise = np.linspace(0.6, 1.0, STAGES)
    scores = final_scores[..., None] * rise + 0.01 * rng.normal(size=(*shape, STAGES))
    is_missing = rng.random(shape) < missing
    scores[is_missing, -1] = np.nan
    final_scores = np.where(is_missing, np.nan, final_scores)
    names = tuple(f"m{i:02}" for i in range(MODELS))
    return Curves(
        models=names,
        datasets=tuple(f"d{j}" for j in range(DATASETS)),
        scores=scores,
        final_scores=final_scores,
    )


def test_the_held_out_dataset_is_not_in_the_history() -> None:
    for target in hold_out_curves(recorded()):
        assert target.history is not None
        assert target.dataset not in target.history.curves.datasets
        assert len(target.history.curves.datasets) == DATASETS - 1


def test_candidates_are_in_the_order_of_the_other_datasets() -> None:
    """Mean rank over the others, transcribed slowly."""
    curves = recorded()
    (first, *_) = hold_out_curves(curves)
    others = curves.final_scores[:, 1:]
    ranks = np.array([[(column < value).sum() for value in column] for column in others.T])
    order = np.argsort(-ranks.mean(axis=0), kind="stable")

    assert list(first.curves) == [curves.models[i] for i in order]


def test_a_selection_sees_one_fine_tuning_and_is_judged_by_the_mean_of_all() -> None:
    """Averaged validation is less noisy than the scores of one fine-tuning."""
    mean = recorded()
    rng = np.random.default_rng(1)
    once = mean.scores + rng.normal(size=mean.scores.shape)
    curves = Curves(
        models=mean.models,
        datasets=mean.datasets,
        scores=mean.scores,
        final_scores=mean.final_scores,
        first_repeat=once,
    )

    for column, target in enumerate(hold_out_curves(curves)):
        for model, curve in target.curves.items():
            row = curves.models.index(model)
            assert list(curve) == once[row, column].tolist()
            assert target.ground_truth.score(model) == mean.final_scores[row, column]


def test_models_without_a_complete_curve_are_no_candidates() -> None:
    curves = recorded(3, missing=0.3)
    for target in hold_out_curves(curves):
        column = curves.datasets.index(target.dataset)
        measured = ~np.isnan(curves.final_scores[:, column])
        complete = {curves.models[i] for i in np.flatnonzero(measured)}
        assert set(target.curves) == set(target.ground_truth.models) == complete


@pytest.mark.parametrize("stages", [4, 5])
def test_halving_costs_what_it_must(stages: int) -> None:
    """Floor of half at each stage, and at least one: 10 models, as in the paper's Table IV."""
    curves = recorded()
    scores = np.concatenate([curves.scores] * 2, axis=2)[..., :stages]
    targets = list(
        hold_out_curves(
            Curves(
                models=curves.models,
                datasets=curves.datasets,
                scores=scores,
                final_scores=curves.final_scores,
            )
        )
    )

    got = replay_strategy(targets, policy_strategy("halving", PolicySetting(10)))

    assert set(got.epochs) == {{4: 18, 5: 19}[stages]}


def test_brute_force_ends_with_the_best_on_validation() -> None:
    targets = list(hold_out_curves(recorded()))

    got = replay_strategy(targets, policy_strategy("brute_force", PolicySetting(MODELS)))

    assert set(got.epochs) == {MODELS * STAGES}
    for target, regret in zip(targets, got.regrets, strict=True):
        winner = max(target.curves, key=lambda m: target.curves[m][-1])
        assert regret == pytest.approx(
            max(target.ground_truth.final_scores.values())
            - target.ground_truth.final_scores[winner]
        )


def test_fine_selection_never_costs_more_than_halving() -> None:
    targets = list(hold_out_curves(recorded()))
    for size in CANDIDATE_COUNTS:
        halved = replay_strategy(targets, policy_strategy("halving", PolicySetting(size)))
        selected = replay_strategy(targets, policy_strategy("fine_selection", PolicySetting(size)))
        assert (selected.epochs <= halved.epochs).all()


def test_every_policy_starts_with_one_model_to_the_end() -> None:
    """So that every frontier begins at the same point."""
    targets = list(hold_out_curves(recorded()))
    first = {
        name: replay_strategy(targets, policy_strategy(name, spec.settings[0]))
        for name, spec in stopping_policies().items()
    }

    for result in first.values():
        assert set(result.epochs) == {STAGES}
        np.testing.assert_array_equal(result.regrets, first["halving"].regrets)
        assert set(result.candidates) == {1}


def replay_prefixes(curves: Mapping[str, Sequence[float]]) -> list[ReplayOutcome]:
    """A baseline that trains the first one, two, ... candidates to the end."""
    outcomes = []
    for count in range(1, len(curves) + 1):
        first = list(curves)[:count]
        best = max(first, key=lambda model: curves[model][-1])
        outcomes.append(ReplayOutcome(best, count * STAGES, dict.fromkeys(first, STAGES)))
    return outcomes


def test_a_baseline_has_an_outcome_for_every_number_of_candidates() -> None:
    targets = list(hold_out_curves(recorded()))
    names: list[str] = []

    got = replay_policies(
        targets, top_k=6, baselines={"all": replay_prefixes}, on_done=names.append
    )

    brute = replay_strategy(targets, policy_strategy("brute_force", PolicySetting(6)))
    np.testing.assert_array_equal(got.table["all"].epochs, brute.epochs)
    np.testing.assert_array_equal(got.table["all"].regrets, brute.regrets)
    costs = got.frontiers["all"].epochs
    np.testing.assert_array_equal(costs[:, 0], [STAGES * min(k, MODELS) for k in CANDIDATE_COUNTS])
    settings = {name: len(spec.settings) for name, spec in stopping_policies().items()}
    assert {name: names.count(name) for name in names} == settings | {"all": 1}


def test_the_whole_zoo_is_replayed_beside_the_recalled() -> None:
    got = replay_policies(list(hold_out_curves(recorded())), top_k=4)

    assert set(got.table["brute_force of all"].epochs) == {MODELS * STAGES}
    assert set(got.table["brute_force"].epochs) == {4 * STAGES}
    assert got.stages == STAGES


def test_within_counts_a_gap_of_exactly_the_tolerance() -> None:
    targets = list(hold_out_curves(recorded()))
    got = replay_strategy(targets, policy_strategy("halving", PolicySetting(1)))

    assert got.share_within(float(got.regrets.max())) == 1.0
    assert got.share_within(-1.0) == 0.0


def test_one_dataset_leaves_no_history() -> None:
    whole = recorded()
    one = Curves(
        models=whole.models,
        datasets=whole.datasets[:1],
        scores=whole.scores[:, :1],
        final_scores=whole.final_scores[:, :1],
    )

    with pytest.raises(HistoryError, match=r"expected curves on at least 2 datasets, .* got 1"):
        next(hold_out_curves(one))
    with pytest.raises(HistoryError, match="at least 2 models on at least 2 datasets, got 0"):
        replay_policies([])


def test_options_and_variants_are_rows_of_the_table() -> None:
    """Options of one policy change its own row; the paper's thresholds are rows of their own."""
    targets = list(hold_out_curves(recorded()))

    got = replay_policies(targets, top_k=6, options={"threshold": 0.9, "min_gain_per_epoch": 1e9})

    assert [*got.table] == [
        "brute_force of all",
        "halving of all",
        "brute_force",
        "halving",
        "fine_selection",
        "fine_selection 1%",
        "fine_selection 5%",
        "fine_selection 10%",
        "cost_aware",
    ]
    # a rival that leads by more than nine tenths: nobody is stopped by trends, so halving decides
    assert got.table["fine_selection"].epochs.tolist() == got.table["halving"].epochs.tolist()
    assert got.table["fine_selection 1%"].epochs.sum() < got.table["halving"].epochs.sum()
    assert set(got.table["cost_aware"].epochs) == {STAGES}


def test_a_frontier_holds_epochs_and_regrets_of_every_setting() -> None:
    targets = list(hold_out_curves(recorded()))
    results = [
        replay_strategy(targets, policy_strategy("halving", PolicySetting(n))) for n in (1, 3)
    ]

    got = make_frontier(results, STAGES)

    assert got.datasets == tuple(target.dataset for target in targets)
    np.testing.assert_array_equal(got.epochs, [result.epochs for result in results])
    np.testing.assert_array_equal(got.regrets, [result.regrets for result in results])
