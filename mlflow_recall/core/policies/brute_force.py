"""Train everyone to the end: what the others are measured against."""

from __future__ import annotations

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import Cohort, PolicyOptions, Verdict


def brute_force(
    cohort: Cohort,
    past: PolicyHistory | None,  # noqa: ARG001 - the signature of every policy
    settings: PolicyOptions,  # noqa: ARG001
) -> dict[str, Verdict]:
    """Nobody is stopped."""
    return {model: Verdict(False, "every candidate is trained to the end") for model in cohort}
