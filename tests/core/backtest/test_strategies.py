"""Facts of strategies: what they cost and find, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import (
    policy_strategy,
    replay_strategy,
    summarize,
    upper_bound,
)
from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.policies import POLICIES, PolicyHistory, PolicySetting
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.errors import ConfigError


def bare_target(name: str, **final_scores: float) -> HeldOutTarget:
    """A target without curves."""
    models = tuple(final_scores)
    matrix = PerformanceMatrix(models, ("other",), np.full((len(models), 1), 0.5))
    return HeldOutTarget(
        dataset=name,
        evidence=Evidence(matrix=matrix, clustering=no_clusters()),
        ground_truth=GroundTruth(final_scores),
    )


def target(name: str = "x", models: str = "abcd", probes: str = "") -> HeldOutTarget:
    """Later models are better, in every stage."""
    bare = bare_target(name, **{model: 0.1 * place for place, model in enumerate(models)})
    curves = {model: [score] * 3 for model, score in bare.ground_truth.final_scores.items()}
    return replace(bare, curves=curves, probes=tuple(probes))


def test_halving_by_hand() -> None:
    """Of a, b, c, d the latter two go on, and then d alone: 4 + 2 + 1 epochs."""
    got = replay_strategy([target()], policy_strategy("halving", PolicySetting(4)))

    assert (got.epochs.tolist(), got.candidates.tolist()) == ([7.0], [4.0])
    assert got.regrets.tolist() == [0.0]
    assert got.active_share.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_ranks_that_some_datasets_lack_are_trained_on_the_others() -> None:
    got = replay_strategy(
        [target(), target("y", "ab")], policy_strategy("brute_force", PolicySetting(3))
    )

    assert got.candidates.tolist() == [3, 2]
    assert got.active_share[:, 0].tolist() == [1.0, 1.0, 0.5]


def test_probes_are_half_an_epoch_each_as_the_paper_charges_them() -> None:
    got = replay_strategy([target(probes="ab")], policy_strategy("brute_force", PolicySetting(1)))

    assert got.epochs.tolist() == [3.0]
    assert got.total_epochs().tolist() == [4.0]
    assert got.total_epochs(0.25).tolist() == [3.5]


def test_speedup_is_the_mean_over_datasets_that_both_have() -> None:
    """12 epochs against 3 and half one for a probe on x; y and z are not common."""
    all_of_them = replay_strategy(
        [target(), target("y")], policy_strategy("brute_force", PolicySetting(4))
    )
    one = replay_strategy(
        [target("z"), target(probes="a")], policy_strategy("brute_force", PolicySetting(1))
    )

    assert one.speedup(all_of_them) == pytest.approx(12 / 3.5)
    assert all_of_them.speedup(all_of_them) == 1.0
    assert np.isnan(one.speedup(summarize([], [])))


def test_outcomes_of_baselines_are_summarized_the_same_way() -> None:
    got = summarize([target()], [ReplayOutcome("b", 5, {"a": 3, "b": 2})])

    assert got.active_share.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert got.regrets.tolist() == [pytest.approx(0.2)]


@pytest.mark.parametrize("name", ["brute_force", "halving", "fine_selection"])
def test_without_curves_epochs_are_an_upper_bound_and_the_best_candidate_wins(name: str) -> None:
    targets = [bare_target("x", a=0.1, b=0.3, c=0.2, d=0.9), bare_target("y", a=0.4, b=0.2)]

    got = upper_bound(name, 3, targets, 5)

    assert not got.from_curves
    assert got.epochs.tolist() == [
        POLICIES[name].max_epochs(3, 5),
        POLICIES[name].max_epochs(2, 5),
    ]
    assert got.regrets == pytest.approx([0.6, 0.0])
    assert got.active_share.sum() == pytest.approx(got.epochs.mean())


def test_without_a_number_of_candidates_the_policy_chooses_them() -> None:
    """At an infinite minimum gain cost_aware trains the first alone; other policies take all."""
    scores = np.repeat(np.linspace(0.1, 0.9, 20)[None, :, None], 3, axis=2)
    history = PolicyHistory(
        Curves(
            models=("a",),
            datasets=tuple(map(str, range(20))),
            scores=scores,
            final_scores=scores[..., -1],
        )
    )
    known = replace(target(), history=history)
    alone = PolicySetting(None, {"min_gain_per_epoch": float("inf")})

    assert list(policy_strategy("cost_aware", alone)(known).last_stage) == ["a"]
    assert list(policy_strategy("halving", PolicySetting(None))(known).last_stage) == list("abcd")


def test_an_unknown_policy_or_option_is_refused_before_anything_is_replayed() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'luck': expected one of brute_force"):
        policy_strategy("luck", PolicySetting(1))
    with pytest.raises(ConfigError, match="unknown policy option 'threshold'"):
        policy_strategy("halving", PolicySetting(1, {"threshold": 0.1}))
