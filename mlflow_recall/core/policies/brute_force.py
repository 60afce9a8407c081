"""Train everyone to the end: what the others are measured against."""

from __future__ import annotations

from mlflow_recall.core.policies.past import Past
from mlflow_recall.core.policies.verdict import Cohort, Settings, Verdict


def brute_force(
    cohort: Cohort,
    past: Past | None,  # noqa: ARG001 - the signature of every policy
    settings: Settings,  # noqa: ARG001
) -> dict[str, Verdict]:
    """Nobody is stopped."""
    return {model: Verdict(False, "every candidate is trained to the end") for model in cohort}
