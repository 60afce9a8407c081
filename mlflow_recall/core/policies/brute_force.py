"""Train everyone to the end: what the others are measured against."""

from __future__ import annotations

from mlflow_recall.core.policies.verdict import Cohort, Settings, Verdict
from mlflow_recall.core.trends import Trends


def brute_force(
    cohort: Cohort,
    trends: Trends | None,  # noqa: ARG001 - the signature of every policy
    settings: Settings,  # noqa: ARG001
) -> dict[str, Verdict]:
    """Nobody is stopped."""
    return {model: Verdict(False, "every candidate is trained to the end") for model in cohort}
