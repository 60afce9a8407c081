"""Facts of brute force: the policy that the others are measured against."""

from __future__ import annotations

import math

from mlflow_recall.core.policies import PolicyOptions, scheduled_epochs
from mlflow_recall.core.policies.brute_force import brute_force


def test_everyone_goes_on_whatever_was_reported() -> None:
    """Even the diverged: it answers what everybody ends in."""
    cohort = {"a": [0.9], "b": [0.1], "c": [math.nan]}

    got = brute_force(cohort, None, PolicyOptions(3))

    assert list(got) == list("abc")
    assert not any(verdict.stop for verdict in got.values())


def test_it_costs_every_stage_of_every_model() -> None:
    assert scheduled_epochs("brute_force", 7, 5) == 35
    assert scheduled_epochs("brute_force", 0, 5) == 0
