"""What a stopping policy is: the function that decides, its options, and all that others need.

A policy is one row of ``POLICIES``. The pruner, the back-test, the plan and the help texts read the
row; nothing else lists policies by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.schedule import halving_counts
from mlflow_recall.errors import ConfigError, StageIncomplete, unknown_name

#: model -> its validation scores so far, for everyone who reached the present stage, in trial order
Cohort: TypeAlias = Mapping[str, Sequence[float]]

#: numbers of candidates that a policy is compared by: from one model to what five in full cost
CANDIDATE_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)


@dataclass(frozen=True)
class PolicyOptions:
    """The options that every policy has; a policy with more of them extends this class."""

    #: stages in all; nobody is stopped after the last one
    stages: int


Options = TypeVar("Options", bound=PolicyOptions)
OptionsIn = TypeVar("OptionsIn", bound=PolicyOptions, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a candidate stops after a stage, its predicted final score, and the reason."""

    stop: bool
    reason: str
    #: predicted final test score and its range; None without a prediction
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    #: the candidate that it was stopped for
    rival: str | None = None


class Decide(Protocol[OptionsIn]):
    """A decision: pure and deterministic, and at least one model of the cohort goes on."""

    def __call__(
        self, cohort: Cohort, history: PolicyHistory | None, options: OptionsIn
    ) -> dict[str, Verdict]:
        """Return one verdict for every model of the cohort.

        Args:
            cohort: Validation scores so far; the present stage is their number.
            history: Recorded curves of the same models. Without any, nothing is predicted, and
                the present scores alone decide.
            options: Options of the policy.
        """
        ...


@dataclass(frozen=True)
class PolicySetting:
    """One way to run a policy on recorded curves."""

    #: models to start with; None: the policy chooses its initial candidates itself
    candidates: int | None
    #: options that differ from their defaults
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PolicySpec(Generic[Options]):
    """A row of ``POLICIES``.

    Example:
        A policy that keeps the best model alone::

            def greedy(cohort, history, options):
                best, *_ = rank_by_score(cohort)
                return {
                    model: Verdict(stop=model != best, reason=f"{best} is ahead", rival=best)
                    for model in cohort
                }

            GREEDY = PolicySpec(decide=greedy, summary="keeps the best of every stage")
    """

    decide: Decide[Options]
    #: one line for help texts; empty: the name alone is listed
    summary: str = ""
    #: class of the options
    options: type[Options] = PolicyOptions  # type: ignore[assignment]
    #: whether it decides by recorded curves; where there are none, halving decides in its place
    needs_history: bool = False
    #: (ranking, history, options) -> the models to start with; None: the user says how many
    initial_candidates: (
        Callable[[Sequence[str], PolicyHistory, Options], tuple[str, ...]] | None
    ) = None
    #: number of recorded datasets -> what so few of them cannot tell; empty where they suffice
    data_warning: Callable[[int], str] | None = None
    #: (models, stages) -> models in each stage, at most, where nothing is recorded
    active_counts: Callable[[int, int], list[int]] = halving_counts
    #: whether ``active_counts`` is exact, whatever the scores are
    has_fixed_cost: bool = False
    #: settings by which it is compared, at most twelve, fixed beforehand; empty: it stops nobody
    settings: Sequence[PolicySetting] = tuple(PolicySetting(n) for n in CANDIDATE_COUNTS)
    #: label -> options of further rows in the back-test's table, with the usual candidates
    variants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the options that a user can set."""
        return tuple(f.name for f in fields(self.options) if f.name != "stages")

    def make_options(self, stages: int, values: Mapping[str, Any] | None = None) -> Options:
        """Build the options for a number of stages.

        Args:
            stages: Stages in all.
            values: Option -> value; numbers may be given as text.

        Raises:
            ConfigError: The policy has no such option, or a value does not suit it.
        """
        known = {f.name: f for f in fields(self.options) if f.name != "stages"}
        converted: dict[str, Any] = {}
        for name, value in (values or {}).items():
            if name not in known:
                raise ConfigError(unknown_name("policy option", name, known))
            kind = type(known[name].default)
            try:
                converted[name] = kind(value) if kind in (int, float, str) else value
            except (TypeError, ValueError):
                raise ConfigError(
                    f"{name}: expected a value of type {kind.__name__}, got {value!r}"
                ) from None
        return self.options(stages, **converted)

    def select_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the values of the options that this policy has."""
        return {name: value for name, value in values.items() if name in self.option_names}

    def max_epochs(self, models: int, stages: int) -> int:
        """Return the epochs that ``models`` candidates train, at most, where nothing is recorded.

        Exact where the policy ``has_fixed_cost``.
        """
        return sum(self.active_counts(models, stages))

    def warn_about(self, datasets: int) -> str:
        """Say what ``datasets`` recorded datasets cannot tell the policy; empty if they suffice."""
        return self.data_warning(datasets) if self.data_warning else ""


def current_stage(cohort: Cohort) -> int:
    """Return the stage, from 1, that every model of the cohort has reported; 0 of no model.

    Raises:
        StageIncomplete: A model has not reported at all.
    """
    silent = [model for model, scores in cohort.items() if not scores]
    if silent:
        raise StageIncomplete(
            f"{', '.join(silent)}: expected a score of the first stage, got none: ask when every "
            "model has reported"
        )
    return min(map(len, cohort.values()), default=0)


def rank_by_score(cohort: Cohort) -> list[str]:
    """Return the models from the best present score to the worst; NaN last, ties in trial order."""
    stage = current_stage(cohort)
    scores = {model: cohort[model][stage - 1] for model in cohort}

    def key(model: str) -> tuple[bool, float]:
        score = scores[model]
        return math.isnan(score), 0.0 if math.isnan(score) else -score

    return sorted(cohort, key=key)
