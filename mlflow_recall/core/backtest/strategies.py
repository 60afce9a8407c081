"""Ways to select, and what they cost and find on recorded datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mlflow_recall.core import policies
from mlflow_recall.core.arrays import FloatArray, is_within
from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.backtest.replay import ReplayOutcome, replay
from mlflow_recall.core.policies import STARTERS, PolicyOptions
from mlflow_recall.core.recommend.probe_cost import PAPER_EPOCHS_PER_PROBE


@dataclass(frozen=True)
class PolicySetting:
    """One way to run a policy."""

    #: candidates to start with; 0: the policy itself says how many
    candidates: int
    threshold: float = 0.0
    min_gain_per_epoch: float = 0.0


#: how a way to select ends on one target
Strategy: TypeAlias = Callable[[Target], ReplayOutcome]


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """What one way to select cost and found on every recorded dataset."""

    datasets: tuple[str, ...]
    #: (d,) of training
    epochs: FloatArray
    #: (d,) final test score that the winner is short of the best
    regrets: FloatArray
    #: (d,) candidates that it started with
    candidates: FloatArray
    #: (d,) models that looked at the dataset before
    probes: FloatArray
    #: (K, T) share of the datasets on which the candidate of each place was trained in each stage
    active_share: FloatArray
    #: False: no curves are recorded; epochs are at most so many, and the best candidate wins
    from_curves: bool = True

    def share_within(self, tolerance: float) -> float:
        """Share of datasets on which it ended within ``tolerance`` of the best."""
        return float(is_within(self.regrets, tolerance).mean())

    def total_epochs(self, each: float = PAPER_EPOCHS_PER_PROBE) -> FloatArray:
        """(d,) epochs with the probes', ``each`` so many epochs."""
        return self.epochs + each * self.probes

    def speedup(self, over: ReplayResult) -> float:
        """How many times the epochs of ``over`` are this one's, probes as the paper charges them.

        Mean over the datasets that both were replayed on; NaN without any.
        """
        other = dict(zip(over.datasets, over.total_epochs(), strict=True))
        own = zip(self.datasets, self.total_epochs(), strict=True)
        times = [other[dataset] / epochs for dataset, epochs in own if dataset in other]
        return float(np.mean(times)) if times else float("nan")


def policy_strategy(name: str, setting: PolicySetting) -> Strategy:
    """A policy of ``core.policies`` with one setting.

    Raises:
        SettingError: no such policy.
    """
    decide = policies.get_policy(name)

    def run(target: Target) -> ReplayOutcome:
        settings = PolicyOptions(target.stages, setting.threshold, setting.min_gain_per_epoch)
        chosen = target.candidates[: setting.candidates or None]
        if not setting.candidates and target.past is not None:
            chosen = STARTERS[name](chosen, target.past, settings)
        return replay(decide, target.among(chosen), target.past, settings)

    return run


def replay_strategy(targets: Sequence[Target], run: Strategy) -> ReplayResult:
    """One way to select on targets with curves."""
    return summarize(targets, [run(target) for target in targets])


def summarize(targets: Sequence[Target], outcomes: Sequence[ReplayOutcome]) -> ReplayResult:
    """How one way to select ended on each target."""
    pairs = list(zip(targets, outcomes, strict=True))
    counts = [len(outcome.last_stage) for outcome in outcomes]
    stages = max((target.stages for target in targets), default=0)
    reached = np.zeros((max(counts, default=0), stages))
    for outcome in outcomes:
        for place, last in enumerate(outcome.last_stage.values()):
            reached[place, :last] += 1.0 / len(outcomes)
    return ReplayResult(
        tuple(target.dataset for target in targets),
        np.array([outcome.epochs for outcome in outcomes], dtype=np.float64),
        np.array([target.truth.regret(outcome.winner) for target, outcome in pairs]),
        np.array(counts, dtype=np.float64),
        np.array([len(target.probes) for target in targets], dtype=np.float64),
        reached,
    )


def upper_bound(name: str, models: int, targets: Sequence[Target], stages: int) -> ReplayResult:
    """A policy where no curves are recorded: what it costs at most, if the best candidate wins.

    Args:
        name: of the policy.
        models: candidates that it starts with; all of a target that has fewer.
        targets: whose candidates are in the order recommended.
        stages: of one fine-tuning.

    Raises:
        SettingError: no such policy.
    """
    chosen = [target.candidates[:models] for target in targets]
    alive = np.array([active_counts(name, len(some), stages) for some in chosen], dtype=np.float64)
    reached = np.zeros((max(map(len, chosen), default=0), stages))
    for some, through in zip(chosen, alive, strict=True):
        reached[: len(some)] += through / len(some) / len(targets)
    regrets = [min(map(t.truth.regret, some)) for t, some in zip(targets, chosen, strict=True)]
    return ReplayResult(
        tuple(target.dataset for target in targets),
        alive.sum(axis=1),
        np.array(regrets, dtype=np.float64),
        np.array([len(some) for some in chosen], dtype=np.float64),
        np.array([len(target.probes) for target in targets], dtype=np.float64),
        reached,
        from_curves=False,
    )


def active_counts(name: str, models: int, stages: int) -> FloatArray:
    """(T,) models in each stage; of policies that look at scores, at most so many."""
    through = [policies.scheduled_epochs(name, models, stage) for stage in range(stages + 1)]
    return np.diff(np.array(through, dtype=np.float64))
