"""Facts of brute force: the policy that the others are measured against."""

from __future__ import annotations

import math

from mlflow_recall.core.policies import PolicyOptions
from mlflow_recall.core.policies.brute_force import BRUTE_FORCE, brute_force


def test_everyone_goes_on_whatever_was_reported() -> None:
    """Diverged candidates too: it measures the final score of every model."""
    cohort = {"a": [0.9], "b": [0.1], "c": [math.nan]}

    verdicts = brute_force(cohort, None, PolicyOptions(3))

    assert list(verdicts) == list("abc")
    assert not any(verdict.stop for verdict in verdicts.values())


def test_it_costs_every_stage_of_every_model() -> None:
    assert BRUTE_FORCE.max_epochs(7, 5) == 35
    assert BRUTE_FORCE.max_epochs(0, 5) == 0
