"""Strategies of selection, and what they cost and find on recorded datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within
from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.backtest.replay import ReplayOutcome, replay
from mlflow_recall.core.policies import POLICIES, PolicySetting
from mlflow_recall.core.recommend.probe_cost import PAPER_EPOCHS_PER_PROBE

#: how a strategy of selection ends on one target
Strategy: TypeAlias = Callable[[HeldOutTarget], ReplayOutcome]


@dataclass(frozen=True, eq=False, kw_only=True)
class ReplayResult:
    """What one strategy cost and found on every recorded dataset."""

    datasets: tuple[str, ...]
    #: (d,) epochs of training
    epochs: FloatArray
    #: (d,) final test score of the best model minus that of the winner
    regrets: FloatArray
    #: (d,) candidates that it started with
    candidates: FloatArray
    #: (d,) models that were probed before
    probes: FloatArray
    #: (K, T) share of the datasets on which the candidate of each rank was trained in each stage
    active_share: FloatArray
    #: False: no curves are recorded; epochs are an upper bound, and the best candidate wins
    from_curves: bool = True

    def share_within(self, tolerance: float) -> float:
        """Return the share of datasets on which it ended within ``tolerance`` of the best."""
        return float(is_within(self.regrets, tolerance).mean())

    def total_epochs(self, epochs_per_probe: float = PAPER_EPOCHS_PER_PROBE) -> FloatArray:
        """Return (d,) epochs of training and probes together."""
        return self.epochs + epochs_per_probe * self.probes

    def speedup(self, over: ReplayResult) -> float:
        """Return how many times its epochs ``over`` costs, with probes as the paper charges them.

        The mean over the datasets that both were replayed on; NaN without any.
        """
        other = dict(zip(over.datasets, over.total_epochs(), strict=True))
        own = zip(self.datasets, self.total_epochs(), strict=True)
        ratios = [other[dataset] / epochs for dataset, epochs in own if dataset in other]
        return float(np.mean(ratios)) if ratios else float("nan")


def policy_strategy(name: str, setting: PolicySetting) -> Strategy:
    """Return the strategy of running a policy with one setting.

    Raises:
        ConfigError: There is no such policy, or it has no such option.
    """
    spec = POLICIES[name]
    spec.make_options(1, setting.options)

    def run(target: HeldOutTarget) -> ReplayOutcome:
        options = spec.make_options(target.stages, setting.options)
        chosen = target.candidates[: setting.candidates]
        if setting.candidates is None and spec.initial_candidates and target.history is not None:
            chosen = spec.initial_candidates(chosen, target.history, options)
        return replay(spec.decide, target.curves_of(chosen), target.history, options)

    return run


def replay_strategy(targets: Sequence[HeldOutTarget], strategy: Strategy) -> ReplayResult:
    """Replay one strategy on targets with curves."""
    return summarize(targets, [strategy(target) for target in targets])


def summarize(targets: Sequence[HeldOutTarget], outcomes: Sequence[ReplayOutcome]) -> ReplayResult:
    """Summarize how one strategy ended on each target."""
    pairs = list(zip(targets, outcomes, strict=True))
    counts = [len(outcome.last_stage) for outcome in outcomes]
    stages = max((target.stages for target in targets), default=0)
    active_share = np.zeros((max(counts, default=0), stages))
    for outcome in outcomes:
        for rank, last in enumerate(outcome.last_stage.values()):
            active_share[rank, :last] += 1.0 / len(outcomes)
    return ReplayResult(
        datasets=tuple(target.dataset for target in targets),
        epochs=np.array([outcome.epochs for outcome in outcomes], dtype=np.float64),
        regrets=np.array([t.ground_truth.regret(outcome.winner) for t, outcome in pairs]),
        candidates=np.array(counts, dtype=np.float64),
        probes=np.array([len(target.probes) for target in targets], dtype=np.float64),
        active_share=active_share,
    )


def upper_bound(
    name: str, models: int, targets: Sequence[HeldOutTarget], stages: int
) -> ReplayResult:
    """Bound what a policy costs where no curves are recorded, if the best candidate wins.

    Args:
        name: Name of the policy.
        models: Candidates to start with; all of a target that has fewer.
        targets: Targets whose candidates are in the order of a recommender.
        stages: Stages of one fine-tuning.

    Raises:
        ConfigError: There is no such policy.
    """
    chosen = [target.candidates[:models] for target in targets]
    counts = np.array(
        [POLICIES[name].active_counts(len(candidates), stages) for candidates in chosen],
        dtype=np.float64,
    )
    active_share = np.zeros((max(map(len, chosen), default=0), stages))
    for candidates, active in zip(chosen, counts, strict=True):
        active_share[: len(candidates)] += active / len(candidates) / len(targets)
    regrets = [
        min(map(target.ground_truth.regret, candidates))
        for target, candidates in zip(targets, chosen, strict=True)
    ]
    return ReplayResult(
        datasets=tuple(target.dataset for target in targets),
        epochs=counts.sum(axis=1),
        regrets=np.array(regrets, dtype=np.float64),
        candidates=np.array([len(candidates) for candidates in chosen], dtype=np.float64),
        probes=np.array([len(target.probes) for target in targets], dtype=np.float64),
        active_share=active_share,
        from_curves=False,
    )
