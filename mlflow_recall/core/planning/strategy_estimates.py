"""Ways to select for a target: what each is expected to cost and to find, and what fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.planning.epoch_times import EpochTimes
from mlflow_recall.core.recommend import PredictedGaps
from mlflow_recall.core.recommend.probe_cost import ProbeCost

#: sets that are considered for a budget
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)


@dataclass(frozen=True)
class StrategyEstimate:
    """One way to select, what it is expected to cost and to find."""

    name: str
    policy: str
    #: candidates that it starts with
    models: int
    #: expected, forward passes included
    epochs: float
    #: the most on any recorded dataset
    max_epochs: float
    #: expected; NaN where no seconds are recorded
    hours: float
    #: mean final test score that the winner is short of the best, and its standard error
    regret: float
    standard_error: float
    #: probability that the candidates hold a model within the tolerance; NaN: nothing to tell by
    p_holds_best: float
    #: expected gap of their best to the best of all, in the unit of the metric
    expected_gap: float
    probe_cost: ProbeCost = field(default_factory=ProbeCost)
    #: whether the policy was replayed on recorded curves
    is_replayed: bool = True


def estimate_strategy(
    name: str,
    policy: str,
    order: Sequence[str],
    simulation: ReplayResult,
    *,
    gaps: PredictedGaps,
    pace: EpochTimes | None = None,
    probing: ProbeCost | None = None,
    workers: int = 1,
) -> StrategyEstimate:
    """What was rehearsed, with the target's own candidates and their pace.

    Args:
        name: for people.
        policy: that stops candidates.
        order: the target's candidates, the first recommended first.
        rehearsal: of that policy with as many candidates.
        gaps: predicted of the target's candidates.
        pace: seconds of an epoch; None: unknown.
        probing: forward passes before; None: none.
        workers: models that are trained at once.
    """
    probing = probing or ProbeCost()
    hours = math.nan
    if pace is not None:
        looks = probing.epochs_per_model * float(pace.for_models(probing.models).sum())
        looks /= max(1, min(workers, len(probing.models)))
        trained = pace.for_models(order[: len(simulation.active_share)])
        hours = (looks + _seconds(simulation.active_share, trained, workers)) / 3600.0
    count = len(simulation.regrets)
    return StrategyEstimate(
        name,
        policy,
        len(order),
        float(simulation.epochs.mean()) + probing.epochs,
        float(simulation.epochs.max()) + probing.epochs,
        hours,
        float(simulation.regrets.mean()),
        float(simulation.regrets.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        1.0 if set(gaps.models) <= set(order) else gaps.p_holds_best(order),
        _gap(gaps, order),
        probing,
        simulation.from_curves,
    )


def _gap(gaps: PredictedGaps, models: Sequence[str]) -> float:
    """Mean gap of the set's best over the joint outcomes; NaN where nothing is known of it."""
    some = gaps.joint_gaps[[i for i, model in enumerate(gaps.models) if model in models]]
    some = some[:, ~np.isnan(some).all(axis=0)]
    return float(np.nanmin(some, axis=0).mean()) if some.size else math.nan


def _seconds(reached: FloatArray, pace: FloatArray, workers: int) -> float:
    """Wall-clock seconds of all stages; nobody helps the last candidate of a stage."""
    at_once = np.clip(reached.sum(axis=0), 1.0, workers)
    return float((pace @ reached / at_once).sum())


def best_within_budget(
    offers: Sequence[StrategyEstimate], epochs: float = math.inf, hours: float = math.inf
) -> StrategyEstimate | None:
    """The strategy of the least expected regret that is expected to stay within both budgets.

    Of equals the one that more likely holds a near-best model, then the cheaper one. None: nothing
    fits, or hours are limited and none are known.
    """
    within = [
        each
        for each in offers
        if each.epochs <= epochs + 1e-9 and (math.isinf(hours) or each.hours <= hours)
    ]

    def merit(each: StrategyEstimate) -> tuple[float, float, float]:
        return round(each.regret, 9), -float(np.nan_to_num(each.p_holds_best)), each.epochs

    return min(within, key=merit, default=None)
