"""Stopping policies: which candidates go on after a stage, and why.

A policy is a pure function ``decide(cohort, history, options) -> {model: Verdict}``, asked once a
stage when every model of the cohort has reported. Each has a file, and a row in ``POLICIES``.
"""

from __future__ import annotations

from typing import Any

from mlflow_recall.core.plugins import PluginTable
from mlflow_recall.core.policies.brute_force import BRUTE_FORCE
from mlflow_recall.core.policies.cost_aware import COST_AWARE
from mlflow_recall.core.policies.fine_selection import FINE_SELECTION
from mlflow_recall.core.policies.halving import HALVING
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import (
    Cohort,
    Decide,
    PolicyOptions,
    PolicySetting,
    PolicySpec,
    Verdict,
)

#: policies by name; the entry-point group ``mlflow_recall.policies`` adds to them
POLICIES: PluginTable[PolicySpec[Any]] = PluginTable(
    "policy",
    "mlflow_recall.policies",
    {
        "brute_force": BRUTE_FORCE,
        "halving": HALVING,
        "fine_selection": FINE_SELECTION,
        "cost_aware": COST_AWARE,
    },
    PolicySpec,
)


def stopping_policies() -> dict[str, PolicySpec[Any]]:
    """Return the policies that stop somebody, by name: those that are worth comparing."""
    return {name: POLICIES[name] for name in POLICIES if POLICIES[name].settings}


__all__ = [
    "POLICIES",
    "Cohort",
    "Decide",
    "PolicyHistory",
    "PolicyOptions",
    "PolicySetting",
    "PolicySpec",
    "Verdict",
    "stopping_policies",
]
