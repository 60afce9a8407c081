"""Stopping policies: who goes on after a stage, and why.

A policy is a pure function ``decide(cohort, past, settings) -> {model: Verdict}``, asked once a
stage when everyone of the cohort has reported; one file each, in the table ``POLICIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType

from mlflow_recall.core.policies.brute_force import brute_force
from mlflow_recall.core.policies.cost_aware import cost_aware, initial_candidates
from mlflow_recall.core.policies.cost_aware import data_warning as price_caveat
from mlflow_recall.core.policies.fine_selection import fine_selection
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import Decide, PolicyOptions, Verdict
from mlflow_recall.errors import ConfigError, unknown_name

#: built-in policies by name; the entry-point group ``mlflow_recall.policies`` adds to them
POLICIES: Mapping[str, Decide] = MappingProxyType(
    {
        "brute_force": brute_force,
        "fine_selection": fine_selection,
        "halving": halving,
        "price": cost_aware,
    }
)

#: policies that need a past; without one, halving decides in their place
LEARNED = frozenset({"fine_selection", "price"})
#: policies that say themselves whom to start with: (ranking, past, settings) -> candidates
STARTERS: Mapping[str, Callable[[Sequence[str], PolicyHistory, PolicyOptions], tuple[str, ...]]] = (
    MappingProxyType({"price": initial_candidates})
)
#: what too few recorded datasets cannot tell a policy, by how many have curves
_CAVEATS: Mapping[str, Callable[[int], str]] = MappingProxyType({"price": price_caveat})


def get_policy(name: str) -> Decide:
    """The policy of that name, built in or installed.

    Raises:
        SettingError: there is none; the message lists the known ones.
    """
    if name in POLICIES:
        return POLICIES[name]
    installed = {entry.name: entry for entry in entry_points(group="mlflow_recall.policies")}
    if name not in installed:
        raise ConfigError(unknown_name("policy", name, {*POLICIES, *installed}))
    loaded: Decide = installed[name].load()
    return loaded


def data_warning(name: str, datasets: int) -> str:
    """A line for people about a policy that has the curves of so many datasets beside the target.

    Empty where these are enough, or the policy needs none.
    """
    return _CAVEATS[name](datasets) if name in _CAVEATS else ""


def scheduled_epochs(name: str, models: int, stages: int) -> int:
    """Epochs that a policy spends on ``models`` candidates in ``stages`` stages, without trends.

    Exact for ``halving`` and ``brute_force``; an upper bound for policies that stop earlier. Of
    ``price`` it is what it spends without a past: with one, its price decides.

    Raises:
        SettingError: no such policy.
    """
    get_policy(name)
    if name == "brute_force":
        return models * stages
    return sum(max(1, models >> stage) for stage in range(stages)) if models else 0


__all__ = [
    "LEARNED",
    "POLICIES",
    "STARTERS",
    "Decide",
    "PolicyHistory",
    "PolicyOptions",
    "Verdict",
    "data_warning",
    "get_policy",
    "scheduled_epochs",
]
