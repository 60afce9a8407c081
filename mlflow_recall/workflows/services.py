"""What every workflow works with, handed in by the command line, the Python API or a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlflow import MlflowClient

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.formatting import count_of, join_names
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


@dataclass(frozen=True, kw_only=True)
class Services:
    """The store, the registry and the functions that one command works with."""

    client: MlflowClient
    namespace: str
    history: History
    registry: Registry
    engine: Engine
    train: Callable[[TrainTask], Iterator[StageResult]]
    probe: Callable[[ProbeTask], Iterator[Probe]]
    prepare: Callable[[DatasetSpec], Dataset]
    reporter: Reporter
    #: run that was opened for the command, as `mlflow run` does; None: it opens its own
    run_id: str | None = None

    def load_dataset(self, spec: DatasetSpec) -> Dataset:
        """Prepare a dataset, and report how many of its rows are used and why others are not.

        Raises:
            DatasetError: It cannot be prepared.
        """
        dataset = self.prepare(spec)
        self.report_account(dataset)
        return dataset

    def report_account(self, dataset: Dataset) -> None:
        """Report in one line how many rows of a dataset are used and why others are not."""
        if dataset.account is not None:
            count = len(dataset.account.warnings)
            hint = f"; {count_of(count, 'warning')}: see `mlflow-recall check`" if count else ""
            self.reporter.info(f"{dataset.name}: {dataset.account.summary}{hint}")


def match_names(members: list[Member], patterns: tuple[str, ...]) -> list[Member]:
    """Return the members whose name matches one of the patterns; all without patterns.

    Raises:
        ConfigError: A pattern matches no member.
    """
    for pattern in patterns:
        if not any(fnmatchcase(member.name, pattern) for member in members):
            known = join_names(member.name for member in members)
            raise ConfigError(f"models: expected names or patterns of {known}, got {pattern!r}")
    if not patterns:
        return members
    return [m for m in members if any(fnmatchcase(m.name, p) for p in patterns)]
