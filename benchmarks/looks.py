"""What every model of a zoo sees in every recorded dataset that can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mlflow_recall.adapters.data.restore import restore_dataset
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.probes import probe_task, run_probes
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True)
class Look:
    """One dataset, as all models see it."""

    dataset: str
    classes: tuple[str, ...]
    #: model -> what it sees
    probes: Mapping[str, Probe]
    #: model -> recorded test score; NaN where it was never measured
    reached: Mapping[str, float]


def looks(work: Services, metric: str, modality: str, most: int | None = None) -> Iterator[Look]:
    """Dataset by dataset in alphabetical order, at most so many; no probe is made twice."""
    members = work.registry.members()
    recorded = select_comparable(work.history.records(metric), modality, members=members)
    matrix = PerformanceMatrix.from_records(recorded.records)
    records = {record.dataset: record for record in recorded.records}
    looking = [m for m in members if m.is_available and m.name in matrix.models]
    columns = dict(zip(matrix.datasets, matrix.values.T, strict=True))
    for dataset in sorted(columns)[:most]:
        with suppress(DatasetError):
            there = restore_dataset(records[dataset], work.prepare)
            tasks = [probe_task(member, there, recorded) for member in looking]
            found = run_probes(tasks, work, f"models on {dataset}")
            seen = {m.name: p for m, p in zip(looking, found, strict=True) if isinstance(p, Probe)}
            reached = dict(zip(matrix.models, columns[dataset].tolist(), strict=True))
            yield Look(dataset, there.classes, seen, reached)
