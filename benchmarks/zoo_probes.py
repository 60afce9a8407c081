"""Probes of every model of a zoo on every recorded dataset that can be prepared again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mlflow_recall.adapters.data.restore import restore_dataset
from mlflow_recall.cli.groups import EngineOptions, StoreOptions
from mlflow_recall.cli.session import open_session
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.probes import probe_task, run_probes
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True)
class DatasetProbes:
    """The probes of all models on one dataset, and what the models reached there."""

    dataset: str
    classes: tuple[str, ...]
    #: model -> its probe
    probes: Mapping[str, Probe]
    #: model -> recorded test score; NaN where it was never measured
    final_scores: Mapping[str, float]


@contextmanager
def open_zoo(namespace: str, workers: int = 1) -> Iterator[Services]:
    """Open a zoo in the store that MLflow uses."""
    store = StoreOptions(tracking_uri=None, namespace=namespace)
    engine = EngineOptions(engine="local", workers=workers, threads=1)
    with open_session(store, engine) as session:
        yield session.services


def probe_datasets(
    services: Services, metric: str, modality: str, limit: int | None = None
) -> Iterator[DatasetProbes]:
    """Yield the probes dataset by dataset in alphabetical order; none is computed twice.

    Args:
        services: Store, registry and engine.
        metric: Metric of the recorded test scores.
        modality: ``text`` or ``image``.
        limit: At most that many datasets; None: all.
    """
    members = services.registry.members()
    comparable = select_comparable(services.history.records(metric), modality, members=members)
    matrix = PerformanceMatrix.from_records(comparable.records)
    records = {record.dataset: record for record in comparable.records}
    available = [m for m in members if m.is_available and m.name in matrix.models]
    columns = dict(zip(matrix.datasets, matrix.values.T, strict=True))
    for name in sorted(columns)[:limit]:
        with suppress(DatasetError):
            dataset = restore_dataset(records[name], services.prepare)
            tasks = [probe_task(member, dataset, comparable) for member in available]
            results = run_probes(tasks, services, (f"model on {name}", f"models on {name}"))
            pairs = zip(available, results, strict=True)
            probes = {member.name: probe for member, probe in pairs if isinstance(probe, Probe)}
            final_scores = dict(zip(matrix.models, columns[name].tolist(), strict=True))
            yield DatasetProbes(name, dataset.classes, probes, final_scores)
