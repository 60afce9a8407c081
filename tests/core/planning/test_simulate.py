"""Selections on recorded datasets, each as if it were the target."""

from __future__ import annotations

import numpy as np
import pytest
from histories import NAN, converging, recorded

from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.planning.simulate import simulate
from mlflow_recall.core.policies import POLICIES, PolicySetting
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.errors import ConfigError, HistoryError


def test_targets_are_evenly_spaced_over_many_datasets() -> None:
    targets = recorded(converging(models=3, datasets=100))

    assert len(targets) == 48
    assert (targets[0].dataset, targets[-1].dataset) == ("d0", "d99")


@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize("models", [1, 3, 8])
def test_every_epoch_is_some_models_stage(name: str, models: int) -> None:
    simulation = simulate(name, PolicySetting(models), recorded(converging()), 4)

    assert simulation.from_curves
    assert simulation.active_share.shape == (models, 4)
    assert simulation.active_share.sum() == pytest.approx(simulation.epochs.mean())
    assert simulation.active_share[:, 0] == pytest.approx(
        1.0
    )  # every candidate is trained at first
    assert (np.diff(simulation.active_share, axis=1) <= 1e-12).all()  # and none comes back
    assert (simulation.regrets >= 0).all()


@pytest.mark.parametrize("name", ["brute_force", "halving"])
def test_a_fixed_cost_is_that_of_the_formula(name: str) -> None:
    simulation = simulate(name, PolicySetting(5), recorded(converging()), 4)

    assert simulation.epochs.tolist() == [POLICIES[name].max_epochs(5, 4)] * 6


def test_fine_selection_never_costs_more_than_halving() -> None:
    targets = recorded(converging())

    fine, half = (
        simulate(name, PolicySetting(8), targets, 4) for name in ("fine_selection", "halving")
    )

    assert (fine.epochs <= half.epochs).all()


def test_brute_force_over_noiseless_curves_has_no_regret() -> None:
    """The best on validation is the best."""
    curves = converging()
    exact = Curves(
        models=curves.models,
        datasets=curves.datasets,
        scores=np.repeat(curves.final_scores[:, :, None], 3, axis=2),
        final_scores=curves.final_scores,
    )

    simulation = simulate("brute_force", PolicySetting(8), recorded(exact), 3)

    assert simulation.regrets == pytest.approx(0.0)


def test_regret_counts_from_the_best_of_all_not_of_the_candidates() -> None:
    """By hand: one candidate at 0.7 where another model reaches 0.9."""
    matrix = PerformanceMatrix(("a", "b"), ("y",), np.array([[0.5], [0.4]]))
    target = HeldOutTarget(
        dataset="x",
        evidence=Evidence(matrix=matrix, clustering=no_clusters()),
        ground_truth=GroundTruth({"a": 0.7, "b": 0.9}),
        curves={"a": [0.5, 0.6], "b": [0.8, 0.9]},
    )

    simulation = simulate("halving", PolicySetting(1), [target], 2)

    assert simulation.regrets == pytest.approx([0.2])
    assert simulation.epochs.tolist() == [2.0]


def test_a_zoo_with_missing_cells_costs_as_much_as_one_without() -> None:
    """On no dataset were all eight measured; training all of them takes all of their epochs."""
    curves = converging()
    scores, final_scores = np.array(curves.scores), np.array(curves.final_scores)
    for j in range(6):
        scores[j, j], final_scores[j, j] = NAN, NAN
    holes = Curves(
        models=curves.models, datasets=curves.datasets, scores=scores, final_scores=final_scores
    )

    simulation = simulate("halving", PolicySetting(8), recorded(holes), 4)

    assert simulation.epochs.tolist() == [POLICIES["halving"].max_epochs(8, 4)] * 6
    assert simulation.active_share.sum() == pytest.approx(POLICIES["halving"].max_epochs(8, 4))


def test_without_curves_the_best_of_the_set_wins() -> None:
    curves = converging()
    targets = recorded(curves, has_curves=False)

    simulation = simulate("fine_selection", PolicySetting(3), targets, 5)

    assert not simulation.from_curves
    assert simulation.epochs.tolist() == [3 + 1 + 1 + 1 + 1] * 6
    assert simulation.regrets.tolist() == [
        min(map(target.ground_truth.regret, target.ground_truth.models[:3])) for target in targets
    ]


def test_without_targets_nothing_can_be_simulated() -> None:
    with pytest.raises(HistoryError, match="plan: expected recorded datasets"):
        simulate("halving", PolicySetting(2), [], 4)


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'friend': expected one of brute_force"):
        simulate("friend", PolicySetting(2), recorded(converging()), 4)


def test_a_policy_that_chooses_its_candidates_is_simulated_without_their_number() -> None:
    """At an infinite minimum gain it trains the first model of every order to the end."""
    setting = PolicySetting(None, {"min_gain_per_epoch": float("inf")})

    simulation = simulate("cost_aware", setting, recorded(converging()), 4)

    assert simulation.candidates.tolist() == [1] * 6
    assert simulation.epochs.tolist() == [4] * 6
