"""Selections rehearsed on recorded datasets, each as if it were the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.backtest.holdout import evenly_spaced
from mlflow_recall.core.backtest.strategies import (
    PolicySetting,
    ReplayResult,
    active_counts,
    policy_strategy,
    replay_strategy,
    upper_bound,
)
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies import PolicyOptions
from mlflow_recall.core.recommend import Evidence, Recommender
from mlflow_recall.errors import ConfigError, HistoryError

#: datasets on which selections are rehearsed, evenly spread where there are more
_MOST = 48
#: what these policies cost depends on nothing but the number of candidates
_EXACT = ("brute_force", "halving")


def recorded_targets(
    evidence: Evidence, recommend: Recommender, curves: Curves | None = None
) -> list[Target]:
    """Recorded datasets, each ranked for without it; at most 48, evenly spread.

    Args:
        evidence: history of the candidates.
        recommend: picks the candidates.
        curves: of the same models and datasets; None: none were recorded.
    """
    matrix = evidence.matrix
    measured = np.flatnonzero((~np.isnan(matrix.values)).sum(axis=0) >= 2)
    found = []
    for number in evenly_spaced(measured.tolist(), _MOST):
        try:
            order = recommend(evidence.hold_out(number)).models
        except ConfigError:  # a recommender that needs scores, which this dataset has not
            continue
        ends = dict(zip(matrix.models, matrix.values[:, number].tolist(), strict=True))
        found.append(Target.of(matrix.datasets[number], order, ends, curves))
    return found


def simulate(
    name: str, models: int, targets: Sequence[Target], settings: PolicyOptions
) -> ReplayResult:
    """Replay a policy on the first ``models`` of every target's order.

    Targets with fewer models of a whole curve are left out, unless there is no other; what costs
    the same whatever the scores are then costs as if nobody were missing. Without any curve the
    epochs are at most so many, and the best of the set wins.

    Raises:
        SettingError: no such policy.
        HistoryError: no target.
    """
    if not targets:
        raise HistoryError(
            "plan: expected recorded datasets with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    staged = [target for target in targets if target.curves]
    large = [target for target in staged if len(target.candidates) >= models]
    if staged:
        setting = PolicySetting(models, settings.threshold, settings.min_gain_per_epoch)
        found = replay_strategy(large or staged, policy_strategy(name, setting))
        if large or name not in _EXACT:
            return found
    else:
        found = upper_bound(name, models, targets, settings.stages)
    alive = active_counts(name, models, settings.stages)  # those that are missing cost as much
    return replace(
        found,
        epochs=np.full(len(found.epochs), alive.sum()),
        active_share=found.active_share * alive / found.active_share.sum(axis=0),
    )
