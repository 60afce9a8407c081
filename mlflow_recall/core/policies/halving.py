"""Successive halving (Jamieson & Talwalkar 2016): the better half of a stage goes on."""

from __future__ import annotations

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import (
    Cohort,
    PolicyOptions,
    PolicySpec,
    Verdict,
    current_stage,
    rank_by_score,
)

#: reason of everyone after the last stage
FINISHED = "trained to the last stage"


def halving(
    cohort: Cohort,
    history: PolicyHistory | None,  # noqa: ARG001 - the signature of every policy
    options: PolicyOptions,
) -> dict[str, Verdict]:
    """Keep the floor(n / 2) best of n models, at least one; stop nobody after the last stage.

    Example:
        >>> verdicts = halving({"a": [0.5], "b": [0.7]}, None, PolicyOptions(stages=3))
        >>> [model for model, verdict in verdicts.items() if verdict.stop]
        ['a']
    """
    if current_stage(cohort) >= options.stages:
        return {model: Verdict(stop=False, reason=FINISHED) for model in cohort}
    return keep_half(cohort, rank_by_score(cohort), {})


def keep_half(cohort: Cohort, ranked: list[str], stopped: dict[str, Verdict]) -> dict[str, Verdict]:
    """Return verdicts that leave at most floor(n / 2) of the n models of a cohort.

    Args:
        cohort: Everyone who reported.
        ranked: Their names, best first.
        stopped: Verdicts of the models that are stopped already.
    """
    keep = max(1, len(cohort) // 2)
    active = [model for model in ranked if model not in stopped]
    verdicts = dict(stopped)
    for place, model in enumerate(active, start=1):
        rank = ranked.index(model) + 1
        if place <= keep:
            verdicts[model] = Verdict(
                stop=False, reason=f"rank {rank} of {len(cohort)} on validation"
            )
        else:
            verdicts[model] = Verdict(
                stop=True,
                reason=f"halving keeps {keep} of {len(cohort)}; rank {rank} on validation",
                rival=active[keep - 1],
            )
    return {model: verdicts[model] for model in cohort}


HALVING = PolicySpec(
    decide=halving, summary="stops the worse half of every stage", has_fixed_cost=True
)
