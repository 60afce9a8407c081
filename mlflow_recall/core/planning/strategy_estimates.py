"""What each strategy of selection is expected to cost and to find, and which fits a budget."""

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

#: sizes of the set that are considered for a budget
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)


@dataclass(frozen=True, kw_only=True)
class StrategyEstimate:
    """One strategy of selection, and what it is expected to cost and to find."""

    name: str
    policy: str
    #: candidates that it starts with
    models: int
    #: expected epochs, probes included
    epochs: float
    #: epochs on the most expensive recorded dataset
    max_epochs: float
    #: expected hours; NaN where no seconds are recorded
    hours: float
    #: mean regret of the winner in final test score, and its standard error
    regret: float
    standard_error: float
    #: probability that the candidates hold a model within the tolerance; NaN: unknown
    p_holds_best: float
    #: expected gap of the best candidate to the best of all models, in the unit of the metric
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
    epoch_times: EpochTimes | None = None,
    probe_cost: ProbeCost | None = None,
    workers: int = 1,
) -> StrategyEstimate:
    """Combine a simulation with the target's own candidates and their epoch times.

    Args:
        name: Name of the strategy, for people.
        policy: Policy that stops candidates.
        order: The target's candidates, the first recommended first.
        simulation: Of that policy with as many candidates.
        gaps: Predicted gaps of the target's candidates.
        epoch_times: Seconds of an epoch; None: unknown.
        probe_cost: What is probed before; None: nothing.
        workers: Models that are trained in parallel.
    """
    probe_cost = probe_cost or ProbeCost()
    hours = math.nan
    if epoch_times is not None:
        probes = probe_cost.epochs_per_model * float(
            epoch_times.for_models(probe_cost.models).sum()
        )
        probes /= max(1, min(workers, len(probe_cost.models)))
        seconds = epoch_times.for_models(order[: len(simulation.active_share)])
        hours = (probes + _wall_seconds(simulation.active_share, seconds, workers)) / 3600.0
    count = len(simulation.regrets)
    spread = float(simulation.regrets.std(ddof=1)) if count > 1 else math.nan
    return StrategyEstimate(
        name=name,
        policy=policy,
        models=len(order),
        epochs=float(simulation.epochs.mean()) + probe_cost.epochs,
        max_epochs=float(simulation.epochs.max()) + probe_cost.epochs,
        hours=hours,
        regret=float(simulation.regrets.mean()),
        standard_error=spread / math.sqrt(count),
        p_holds_best=1.0 if set(gaps.models) <= set(order) else gaps.p_holds_best(order),
        expected_gap=_expected_gap(gaps, order),
        probe_cost=probe_cost,
        is_replayed=simulation.from_curves,
    )


def _expected_gap(gaps: PredictedGaps, models: Sequence[str]) -> float:
    """Return the mean gap of the set's best over the joint outcomes; NaN if nothing is known."""
    set_gaps = gaps.joint_gaps[[i for i, model in enumerate(gaps.models) if model in models]]
    set_gaps = set_gaps[:, ~np.isnan(set_gaps).all(axis=0)]
    return float(np.nanmin(set_gaps, axis=0).mean()) if set_gaps.size else math.nan


def _wall_seconds(active_share: FloatArray, seconds: FloatArray, workers: int) -> float:
    """Return the wall-clock seconds of all stages; one candidate uses one worker."""
    parallel = np.clip(active_share.sum(axis=0), 1.0, workers)
    return float((seconds @ active_share / parallel).sum())


def best_within_budget(
    strategies: Sequence[StrategyEstimate], epochs: float = math.inf, hours: float = math.inf
) -> StrategyEstimate | None:
    """Return the strategy of least expected regret that is expected to stay within both budgets.

    Of equal strategies it is the one that more likely holds a near-best model, then the cheaper
    one. None where nothing fits, or where hours are limited and none are known.
    """
    within = [
        strategy
        for strategy in strategies
        if strategy.epochs <= epochs + 1e-9 and (math.isinf(hours) or strategy.hours <= hours)
    ]

    def key(strategy: StrategyEstimate) -> tuple[float, float, float]:
        p_holds_best = float(np.nan_to_num(strategy.p_holds_best))
        return round(strategy.regret, 9), -p_holds_best, strategy.epochs

    return min(within, key=key, default=None)
