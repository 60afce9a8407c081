"""What every workflow works with, handed in by the command line or by a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlflow import MlflowClient

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ConfigError
from mlflow_recall.ports import (
    Engine,
    History,
    Probe,
    ProbeTask,
    Registry,
    Reporter,
    StageResult,
    TrainTask,
)


@dataclass(frozen=True)
class Services:
    """Ports and functions of one command."""

    client: MlflowClient
    namespace: str
    history: History
    registry: Registry
    engine: Engine
    train: Callable[[TrainTask], Iterator[StageResult]]
    probe: Callable[[ProbeTask], Iterator[Probe]]
    prepare: Callable[[DatasetSpec], Dataset]
    reporter: Reporter
    #: run that somebody opened for us, as `mlflow run` does; empty: we open our own
    run_id: str = ""


def match_names(members: list[Member], patterns: tuple[str, ...]) -> list[Member]:
    """Members whose name matches one of the patterns; all without patterns.

    Raises:
        SettingError: a pattern matches nobody.
    """
    for pattern in patterns:
        if not any(fnmatchcase(member.name, pattern) for member in members):
            known = ", ".join(member.name for member in members[:12]) or "none"
            raise ConfigError(f"models: expected names or patterns of {known}, got {pattern!r}")
    if not patterns:
        return members
    return [m for m in members if any(fnmatchcase(m.name, p) for p in patterns)]
