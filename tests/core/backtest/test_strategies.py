"""What ways to select cost and find, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mlflow_recall.core import policies
from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import (
    PolicySetting,
    active_counts,
    policy_strategy,
    replay_strategy,
    summarize,
    upper_bound,
)
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.errors import ConfigError


def target(name: str = "x", models: str = "abcd", probes: str = "") -> Target:
    """Later models end higher, and are known to from the first stage on."""
    ends = {model: 0.1 * place for place, model in enumerate(models)}
    curves = {model: [end, end, end] for model, end in ends.items()}
    return Target(name, GroundTruth(ends), curves, probes=tuple(probes))


def test_halving_by_hand() -> None:
    """Of a, b, c, d the latter two go on, and d alone ends: 4 + 2 + 1 epochs."""
    got = replay_strategy([target()], policy_strategy("halving", PolicySetting(4)))

    assert (got.epochs.tolist(), got.candidates.tolist()) == ([7.0], [4.0])
    assert got.regrets.tolist() == [0.0]
    assert got.active_share.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_places_that_some_datasets_lack_are_trained_on_the_others() -> None:
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


def test_outcomes_of_others_are_read_the_same_way() -> None:
    some = target()

    got = summarize([some], [ReplayOutcome("b", 5, {"a": 3, "b": 2})])

    assert got.active_share.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert got.regrets.tolist() == [pytest.approx(0.2)]


@pytest.mark.parametrize("name", ["brute_force", "halving", "fine_selection"])
def test_on_paper_everyone_costs_the_most_and_the_best_wins(name: str) -> None:
    bare = Target.of("x", "abcd", {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.9})

    got = upper_bound(name, 3, [bare, Target.of("y", "ab", {"a": 0.4, "b": 0.2})], 5)

    assert not got.from_curves
    assert got.epochs.tolist() == [
        policies.scheduled_epochs(name, 3, 5),
        policies.scheduled_epochs(name, 2, 5),
    ]
    assert got.regrets == pytest.approx([0.6, 0.0])
    assert got.active_share.sum() == pytest.approx(got.epochs.mean())


def test_who_is_alive_adds_up_to_the_epochs() -> None:
    assert active_counts("halving", 10, 5).tolist() == [10, 5, 2, 1, 1]
    assert active_counts("brute_force", 3, 2).tolist() == [3, 3]


def test_an_unknown_policy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'luck': expected one of brute_force"):
        policy_strategy("luck", PolicySetting(1))
