"""Brute force: every candidate is trained to the end. The other policies are compared with it."""

from __future__ import annotations

from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.schedule import full_counts
from mlflow_recall.core.policies.spec import Cohort, PolicyOptions, PolicySpec, Verdict


def brute_force(
    cohort: Cohort,
    history: PolicyHistory | None,  # noqa: ARG001 - the signature of every policy
    options: PolicyOptions,  # noqa: ARG001
) -> dict[str, Verdict]:
    """Stop nobody.

    Example:
        >>> verdicts = brute_force({"a": [0.5], "b": [0.7]}, None, PolicyOptions(stages=3))
        >>> [verdict.stop for verdict in verdicts.values()]
        [False, False]
    """
    reason = "every candidate is trained to the end"
    return {model: Verdict(stop=False, reason=reason) for model in cohort}


BRUTE_FORCE = PolicySpec(
    decide=brute_force,
    summary="stops nobody",
    active_counts=full_counts,
    has_fixed_cost=True,
    settings=(),
)
