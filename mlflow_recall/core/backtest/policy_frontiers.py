"""Policies on recorded curves: what each setting costs and finds on held-out datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.backtest.frontier import Frontier
from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import (
    PolicySetting,
    ReplayResult,
    Strategy,
    policy_strategy,
    replay_strategy,
    summarize,
)
from mlflow_recall.core.policies.cost_aware import MIN_GAINS
from mlflow_recall.errors import HistoryError

#: candidates of the policies that are told how many, from one model to what five in full cost
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
#: thresholds of fine-selection in the paper's table IV
THRESHOLDS = (0.0, 0.01, 0.05, 0.1)
#: policies that are compared by all their settings
COMPARED = ("halving", "fine_selection", "price")
#: the settings of each policy's frontier, fixed beforehand; policies not named here have ``SIZES``
SETTINGS: Mapping[str, tuple[PolicySetting, ...]] = MappingProxyType(
    {
        "price": tuple(
            PolicySetting(0, min_gain_per_epoch=min_gain_per_epoch)
            for min_gain_per_epoch in MIN_GAINS
        )
    }
)
#: how the first one, two, ... of the candidates end: a baseline that takes one after the other
ReplayPrefixes: TypeAlias = Callable[[Mapping[str, Sequence[float]]], list[ReplayOutcome]]


def policy_settings(name: str) -> tuple[PolicySetting, ...]:
    """The settings of a policy's frontier."""
    return SETTINGS.get(name, tuple(PolicySetting(size) for size in SIZES))


@dataclass(frozen=True, eq=False)
class PolicyResults:
    """What policies cost and found on recorded curves."""

    #: stages of one fine-tuning
    stages: int
    #: way to select -> its outcome on every dataset; see ``table``
    table: Mapping[str, ReplayResult]
    #: policy -> all its settings
    frontiers: Mapping[str, Frontier]


def replay_policies(
    targets: Sequence[Target],
    *,
    top_k: int = 10,
    min_gain_per_epoch: float = 0.001,
    baselines: Mapping[str, ReplayPrefixes] = MappingProxyType({}),
    done: Callable[[str], None] = lambda _: None,
) -> PolicyResults:
    """Every policy with every setting, and the ways of the paper's tables.

    Args:
        targets: as ``held_out_targets`` yields them, at least two.
        top_k: candidates of the policies that are told how many.
        price: of an epoch, for the policy that asks.
        baselines: name -> how the first one, two, ... of the candidates end.
        done: told the name of each policy after each setting.

    Raises:
        HistoryError: fewer than two targets.
    """
    if len(targets) < 2:
        raise HistoryError(
            "backtest: expected complete curves of at least 2 models on at least 2 datasets, got "
            f"{len(targets)} such datasets"
        )
    stages = targets[0].stages
    baseline = {
        name: [run(dict(islice(target.curves.items(), max(*SIZES, top_k)))) for target in targets]
        for name, run in baselines.items()
    }
    frontiers = {}
    for name in COMPARED:
        found = []
        for setting in policy_settings(name):
            found.append(replay_strategy(targets, policy_strategy(name, setting)))
            done(name)
        frontiers[name] = frontier(found, stages)
    for name, outcomes in baseline.items():
        found = [_first_of(targets, outcomes, size) for size in SIZES]
        frontiers[name] = frontier(found, stages)
        done(name)
    table = {
        name: replay_strategy(targets, run)
        for name, run in _ways(targets, top_k, min_gain_per_epoch).items()
    }
    table |= {name: _first_of(targets, outcomes, top_k) for name, outcomes in baseline.items()}
    return PolicyResults(stages, table, frontiers)


def _ways(targets: Sequence[Target], top_k: int, min_gain_per_epoch: float) -> dict[str, Strategy]:
    """The paper's tables: the whole zoo, and every policy with the same candidates."""
    everyone = PolicySetting(max(len(target.curves) for target in targets))
    ways = {
        f"{name} of all": policy_strategy(name, everyone) for name in ("brute_force", "halving")
    }
    ways |= {
        name: policy_strategy(name, PolicySetting(top_k)) for name in ("brute_force", "halving")
    }
    for share in THRESHOLDS:
        name = f"fine_selection {share:.0%}" if share else "fine_selection"
        ways[name] = policy_strategy("fine_selection", PolicySetting(top_k, threshold=share))
    return {
        **ways,
        "price": policy_strategy("price", PolicySetting(0, min_gain_per_epoch=min_gain_per_epoch)),
    }


def _first_of(
    targets: Sequence[Target], outcomes: Sequence[Sequence[ReplayOutcome]], size: int
) -> ReplayResult:
    """The outcomes with the first ``size`` candidates, or with all where there are fewer."""
    return summarize(targets, [known[min(size, len(known)) - 1] for known in outcomes])


def frontier(found: Sequence[ReplayResult], stages: int) -> Frontier:
    """The settings of one policy as a frontier; the first trains one model to the end."""
    return Frontier(
        found[0].datasets,
        np.array([each.epochs for each in found]),
        np.array([each.regrets for each in found]),
        stages,
    )
