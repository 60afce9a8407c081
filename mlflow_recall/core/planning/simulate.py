"""Selections simulated on recorded datasets, each as if it were the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.backtest.strategies import (
    ReplayResult,
    policy_strategy,
    replay_strategy,
    upper_bound,
)
from mlflow_recall.core.policies import POLICIES, PolicySetting
from mlflow_recall.errors import HistoryError

#: datasets on which selections are simulated, evenly spaced where there are more
MAX_TARGETS = 48


def simulate(
    name: str,
    setting: PolicySetting,
    targets: Sequence[HeldOutTarget],
    stages: int,
) -> ReplayResult:
    """Replay a policy with the first ``setting.candidates`` models of every target's order.

    Targets with fewer models that have a complete curve are left out, unless there is no other; a
    policy whose cost does not depend on scores then costs as if no model were missing. Without any
    curve the epochs are an upper bound, and the best of the set wins.

    Args:
        name: Name of the policy.
        setting: Number of candidates, and options of the policy.
        targets: As ``hold_out_recorded`` makes them.
        stages: Stages of one fine-tuning, where no curves are recorded.

    Raises:
        ConfigError: There is no such policy.
        HistoryError: There is no target.
    """
    if not targets:
        raise HistoryError(
            "plan: expected recorded datasets with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    spec, models = POLICIES[name], setting.candidates or len(targets[0].candidates)
    with_curves = [target for target in targets if target.curves]
    large = [target for target in with_curves if len(target.candidates) >= models]
    if with_curves:
        result = replay_strategy(large or with_curves, policy_strategy(name, setting))
        if large or not spec.has_fixed_cost:
            return result
    else:
        result = upper_bound(name, models, targets, stages)
    active = np.array(spec.active_counts(models, stages), dtype=np.float64)
    return replace(
        result,  # the models that are missing cost as much
        epochs=np.full(len(result.epochs), active.sum()),
        active_share=result.active_share * active / result.active_share.sum(axis=0),
    )
