"""Selections on recorded datasets, each as if it were the target."""

from __future__ import annotations

import numpy as np
import pytest
from histories import NAN, converging, evidence, recorded

from mlflow_recall.core import policies
from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.planning.simulate import recorded_targets, simulate
from mlflow_recall.core.policies import PolicyOptions
from mlflow_recall.core.recommend import get_recommender
from mlflow_recall.errors import ConfigError, HistoryError


def test_a_target_is_ranked_for_without_its_own_scores() -> None:
    """Turned upside down on one dataset, the models keep their order there."""
    curves = converging()
    ends = np.array(curves.final_scores)
    ends[:, 2] = -ends[:, 2]

    before, after = (
        recorded(curves)[2],
        recorded(Curves(curves.models, curves.datasets, curves.scores, ends))[2],
    )

    assert before.truth.models == after.truth.models
    assert before.dataset == after.dataset == "d2"
    assert before.past is not None
    assert "d2" not in before.past.curves.datasets


def test_targets_are_spread_over_many_datasets() -> None:
    found = recorded(converging(models=3, datasets=100))

    assert len(found) == 48
    assert (found[0].dataset, found[-1].dataset) == ("d0", "d99")


@pytest.mark.parametrize("name", sorted(policies.POLICIES))
@pytest.mark.parametrize("models", [1, 3, 8])
def test_every_epoch_is_some_models_stage(name: str, models: int) -> None:
    found = simulate(name, models, recorded(converging()), PolicyOptions(4))

    assert found.from_curves
    assert found.active_share.shape == (models, 4)
    assert found.active_share.sum() == pytest.approx(found.epochs.mean())
    assert found.active_share[:, 0] == pytest.approx(1.0)  # everyone is trained at first
    assert (np.diff(found.active_share, axis=1) <= 1e-12).all()  # and nobody comes back
    assert (found.regrets >= 0).all()


@pytest.mark.parametrize("name", ["brute_force", "halving"])
def test_what_needs_no_scores_costs_what_the_formula_says(name: str) -> None:
    found = simulate(name, 5, recorded(converging()), PolicyOptions(4))

    assert found.epochs.tolist() == [policies.scheduled_epochs(name, 5, 4)] * 6


def test_fine_selection_never_costs_more_than_halving() -> None:
    some = recorded(converging())

    fine, half = (
        simulate(name, 8, some, PolicyOptions(4)) for name in ("fine_selection", "halving")
    )

    assert (fine.epochs <= half.epochs).all()


def test_brute_force_over_noiseless_curves_has_no_regret() -> None:
    """The best on validation is the best."""
    curves = converging()
    exact = Curves(
        curves.models,
        curves.datasets,
        np.repeat(curves.final_scores[:, :, None], 3, axis=2),
        curves.final_scores,
    )

    assert simulate("brute_force", 8, recorded(exact), PolicyOptions(3)).regrets == pytest.approx(
        0.0
    )


def test_regret_counts_from_the_best_of_all_not_of_the_candidates() -> None:
    """By hand: one candidate at 0.7 where somebody reaches 0.9."""
    target = Target("x", GroundTruth({"a": 0.7, "b": 0.9}), {"a": [0.5, 0.6], "b": [0.8, 0.9]})

    found = simulate("halving", 1, [target], PolicyOptions(2))

    assert found.regrets == pytest.approx([0.2])
    assert found.epochs.tolist() == [2.0]


def test_a_zoo_with_missing_cells_costs_as_much_as_one_without() -> None:
    """On no dataset were all eight measured; training all of them takes all of their epochs."""
    curves = converging()
    scores, ends = np.array(curves.scores), np.array(curves.final_scores)
    for j in range(6):
        scores[j, j], ends[j, j] = NAN, NAN
    holes = Curves(curves.models, curves.datasets, scores, ends)

    found = simulate("halving", 8, recorded(holes), PolicyOptions(4))

    assert found.epochs.tolist() == [policies.scheduled_epochs("halving", 8, 4)] * 6
    assert found.active_share.sum() == pytest.approx(policies.scheduled_epochs("halving", 8, 4))


def test_without_curves_the_best_of_the_set_wins() -> None:
    curves = converging()
    some = recorded_targets(evidence(curves), RECOMMENDERS["prior"].rank)

    found = simulate("fine_selection", 3, some, PolicyOptions(5))

    assert not found.from_curves
    assert found.epochs.tolist() == [3 + 1 + 1 + 1 + 1] * 6
    assert found.regrets.tolist() == [
        min(map(target.truth.regret, target.truth.models[:3])) for target in some
    ]


def test_a_history_without_two_models_on_a_dataset_cannot_be_rehearsed() -> None:
    with pytest.raises(HistoryError, match="plan: expected recorded datasets"):
        simulate("halving", 2, [], PolicyOptions(4))


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'friend': expected one of brute_force"):
        simulate("friend", 2, recorded(converging()), PolicyOptions(4))
