"""Successive halving (Jamieson & Talwalkar 2016): the better half of a stage goes on."""

from __future__ import annotations

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import (
    Cohort,
    PolicyOptions,
    Verdict,
    current_stage,
    rank_by_score,
)


def halving(
    cohort: Cohort,
    past: PolicyHistory | None,  # noqa: ARG001 - the signature of every policy
    settings: PolicyOptions,
) -> dict[str, Verdict]:
    """Keep the floor(n / 2) best of n, at least one; nobody is stopped after the last stage."""
    if current_stage(cohort) >= settings.stages:
        return {model: Verdict(False, "trained to the last stage") for model in cohort}
    return keep_half(cohort, rank_by_score(cohort), {})


def keep_half(cohort: Cohort, ranked: list[str], stopped: dict[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts that leave floor(n / 2) of the cohort at most, beside those already stopped.

    Args:
        cohort: everyone who reported.
        ranked: their names, best first.
        stopped: verdicts that stand already.
    """
    keep = max(1, len(cohort) // 2)
    alive = [model for model in ranked if model not in stopped]
    verdicts = dict(stopped)
    for place, model in enumerate(alive, start=1):
        if place <= keep:
            verdicts[model] = Verdict(
                False, f"rank {ranked.index(model) + 1} of {len(cohort)} on validation"
            )
        else:
            verdicts[model] = Verdict(
                True,
                f"halving keeps {keep} of {len(cohort)}, this one is number "
                f"{ranked.index(model) + 1} on validation",
                rival=alive[keep - 1],
            )
    return {model: verdicts[model] for model in cohort}
