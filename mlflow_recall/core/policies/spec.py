"""What a policy is given and what it answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.errors import StageIncomplete

#: validation scores so far of everyone who reached the present stage, in trial order
Cohort: TypeAlias = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class PolicyOptions:
    """Knobs of the policies."""

    #: stages in all; nobody is stopped after the last
    stages: int
    #: share by which a rival's predicted end must be higher (the paper's threshold)
    threshold: float = 0.0
    #: score that one more epoch must be expected to bring
    min_gain_per_epoch: float = 0.001


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate stops after a stage, what was expected of it, and why."""

    stop: bool
    reason: str
    #: predicted final test score and its range; None without a trend
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    #: the candidate that it was stopped for
    rival: str | None = None


class Decide(Protocol):
    """A stopping policy: pure, deterministic, and at least one of the cohort survives."""

    def __call__(
        self, cohort: Cohort, past: PolicyHistory | None, settings: PolicyOptions
    ) -> dict[str, Verdict]:
        """One verdict for everyone of the cohort; the stage is the number of its scores.

        Without a ``past`` nothing can be foretold, and present scores alone decide.
        """
        ...


def current_stage(cohort: Cohort) -> int:
    """The stage (from 1) that everyone of the cohort has reported; 0 of nobody.

    Raises:
        Undecided: someone has not reported at all.
    """
    silent = [model for model, scores in cohort.items() if not scores]
    if silent:
        raise StageIncomplete(f"{', '.join(silent)} has not reported yet: ask when everyone has")
    return min(map(len, cohort.values()), default=0)


def rank_by_score(cohort: Cohort) -> list[str]:
    """Names from the best present score to the worst, NaN last, ties in trial order."""
    stage = current_stage(cohort)
    now = {model: cohort[model][stage - 1] for model in cohort}
    return sorted(cohort, key=lambda m: (math.isnan(now[m]), -now[m] if now[m] == now[m] else 0.0))
