"""Policies on recorded curves: what each setting costs and finds on held-out datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.backtest.frontier import Frontier
from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.backtest.replay import ReplayOutcome
from mlflow_recall.core.backtest.strategies import (
    ReplayResult,
    Strategy,
    policy_strategy,
    replay_strategy,
    summarize,
)
from mlflow_recall.core.policies import POLICIES, PolicySetting, stopping_policies
from mlflow_recall.core.policies.spec import CANDIDATE_COUNTS
from mlflow_recall.errors import HistoryError

#: policies that are also replayed with the whole zoo
WHOLE_ZOO_POLICIES = ("brute_force", "halving")
#: outcomes with the first one, two, ... candidates, of a baseline that takes one after the other
ReplayPrefixes: TypeAlias = Callable[[Mapping[str, Sequence[float]]], list[ReplayOutcome]]


@dataclass(frozen=True, eq=False)
class PolicyResults:
    """What policies cost and found on recorded curves."""

    #: stages of one fine-tuning
    stages: int
    #: strategy -> its result, beside those of the paper's tables
    table: Mapping[str, ReplayResult]
    #: policy -> the frontier of all its settings
    frontiers: Mapping[str, Frontier]


def replay_policies(
    targets: Sequence[HeldOutTarget],
    *,
    top_k: int = 10,
    options: Mapping[str, float] = MappingProxyType({}),
    baselines: Mapping[str, ReplayPrefixes] = MappingProxyType({}),
    on_done: Callable[[str], None] = lambda _: None,
) -> PolicyResults:
    """Replay every policy with every setting, and the strategies of the paper's tables.

    Args:
        targets: As ``hold_out_curves`` yields them, at least two.
        top_k: Candidates of the policies that do not choose them themselves.
        options: Options of the policies in the table; each policy takes those that it has.
        baselines: Name -> outcomes with the first one, two, ... candidates.
        on_done: Called with the name of a policy after each of its settings.

    Raises:
        HistoryError: There are fewer than two targets.
    """
    if len(targets) < 2:
        raise HistoryError(
            "backtest: expected complete curves of at least 2 models on at least 2 datasets, got "
            f"{len(targets)} such datasets"
        )
    stages = targets[0].stages
    most = max(*CANDIDATE_COUNTS, top_k)
    baseline_outcomes = {
        name: [replay_prefixes(dict(islice(t.curves.items(), most))) for t in targets]
        for name, replay_prefixes in baselines.items()
    }
    frontiers = {}
    for name, spec in stopping_policies().items():
        results = []
        for setting in spec.settings:
            results.append(replay_strategy(targets, policy_strategy(name, setting)))
            on_done(name)
        frontiers[name] = make_frontier(results, stages)
    for name, outcomes in baseline_outcomes.items():
        results = [_first_candidates(targets, outcomes, size) for size in CANDIDATE_COUNTS]
        frontiers[name] = make_frontier(results, stages)
        on_done(name)
    table = {
        name: replay_strategy(targets, strategy)
        for name, strategy in _table_strategies(targets, top_k, options).items()
    }
    table |= {
        name: _first_candidates(targets, outcomes, top_k)
        for name, outcomes in baseline_outcomes.items()
    }
    return PolicyResults(stages, table, frontiers)


def _table_strategies(
    targets: Sequence[HeldOutTarget], top_k: int, options: Mapping[str, float]
) -> dict[str, Strategy]:
    """Return the rows of the table: the whole zoo, and every policy with the same candidates."""
    whole_zoo = PolicySetting(max(len(target.curves) for target in targets))
    strategies = {f"{name} of all": policy_strategy(name, whole_zoo) for name in WHOLE_ZOO_POLICIES}
    for name in POLICIES:
        spec = POLICIES[name]
        candidates = None if spec.initial_candidates else top_k
        own = spec.select_options(options)
        strategies[name] = policy_strategy(name, PolicySetting(candidates, own))
        for label, values in spec.variants.items():
            strategies[label] = policy_strategy(name, PolicySetting(candidates, values))
    return strategies


def _first_candidates(
    targets: Sequence[HeldOutTarget], outcomes: Sequence[Sequence[ReplayOutcome]], size: int
) -> ReplayResult:
    """Summarize the outcomes with the first ``size`` candidates, or all where there are fewer."""
    return summarize(targets, [known[min(size, len(known)) - 1] for known in outcomes])


def make_frontier(results: Sequence[ReplayResult], stages: int) -> Frontier:
    """Make a frontier of the settings of one policy; the first trains one model to the end."""
    return Frontier(
        results[0].datasets,
        np.array([result.epochs for result in results]),
        np.array([result.regrets for result in results]),
        stages,
    )
