"""The history of a namespace as plain tables; see ``tables.FolderHistory`` for the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from mlflow_recall.adapters.export.summaries import ExportSummary
from mlflow_recall.adapters.tables.table_files import ENDINGS
from mlflow_recall.adapters.tables.table_import import FEATURE
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import adopted_experiments, search_runs
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.errors import ConfigError, HistoryError, unknown_name
from mlflow_recall.ports import Reporter

_MATRIX = ["model", "dataset", "metric", "value", "run"]
_CURVES = ["model", "dataset", "step", "split", "metric", "value", "run"]
_SCORES = ["model", "dataset", "score_name", "value"]
_MODELS = ["model", "modality", "family", "arch", "parameters", "upstream", "license"]
_DATASETS = ["dataset", "modality", "classes", "samples"]


class TableExport:
    """Writes one namespace as tables.

    Args:
        client: of the tracking server.
        namespace: its experiment is ``<namespace>/benchmark``.
        registry: of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._history = TrackingHistory(client, namespace)
        self._prefix = registry.name_of("")
        self._registry = registry

    def export(self, folder: Path, ending: str, reporter: Reporter) -> ExportSummary:
        """Write the five tables; values as they were measured, losses not turned.

        Tables cannot tell versions and recipes apart, so of each model only the fine-tunings of
        its present version and its most frequent recipe are written, as ``cluster`` uses them.

        Args:
            folder: made if need be; tables of that format that it has are replaced.
            ending: ``.csv``, ``.csv.gz`` or ``.parquet``.
            reporter: Shows the progress.

        Raises:
            HistoryError: nothing was recorded, or the folder has the tables in another format.
        """
        if ending not in ENDINGS:
            raise ConfigError(unknown_name("ending", ending, ENDINGS))
        runs = self._runs()
        members = self._registry.members()
        notes: dict[str, None] = {}
        rows = _Rows(runs, self._prefix)
        metrics = self._history.metrics()
        with reporter.progress("export tables", len(metrics)) as bar:
            for metric in metrics:
                for record in sorted(self._comparable(metric, members, notes), key=rows.place):
                    rows.add(record, metric)
                bar.advance(status=metric)
        if not rows.matrix:
            raise HistoryError(
                f"experiment {self._history.experiment!r}: expected finished fine-tunings, got none"
            )
        tables = {
            "matrix": pd.DataFrame(rows.matrix, columns=_MATRIX),
            "curves": pd.DataFrame(rows.curves, columns=_CURVES),
            "proxy": pd.DataFrame([], columns=_SCORES),
            "models": _models(members, rows.models, self._prefix),
            "datasets": pd.DataFrame(rows.datasets()),
        }
        _write(folder, tables, ending)
        return ExportSummary(
            runs=len(rows.labels),
            models=len(rows.models),
            datasets=len(tables["datasets"]),
            metrics=metrics,
            minimize=tuple(metric for metric in metrics if metric in rows.losses),
            notes=tuple(notes),
        )

    def _runs(self) -> dict[str, Run]:
        """Every run that may stand behind a record."""
        found = self._client.get_experiment_by_name(self._history.experiment)
        if found is None:
            raise HistoryError(
                f"experiment {self._history.experiment!r}: expected finished runs, got none"
            )
        where = list(dict.fromkeys([str(found.experiment_id), *adopted_experiments(found)]))
        return {run.info.run_id: run for run in search_runs(self._client, where, "")}

    def _comparable(
        self, metric: str, members: Sequence[Member], notes: dict[str, None]
    ) -> Iterator[Record]:
        records = self._history.records(metric)
        for modality in sorted({record.modality for record in records if record.is_complete}):
            there = [record for record in records if record.modality == modality]
            kept = select_comparable(there, members=members)
            notes.update({f"{modality} {metric}: {note}".strip(): None for note in kept.notes})
            yield from kept.records


class _Rows:
    """Rows of the tables, as records come."""

    def __init__(self, runs: Mapping[str, Run], prefix: str) -> None:
        self._runs = runs
        self._prefix = prefix
        self._used: dict[tuple[str, str], set[str]] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self.matrix: list[tuple[Any, ...]] = []
        self.curves: list[tuple[Any, ...]] = []
        #: run id -> which fine-tuning of its cell it is
        self.labels: dict[str, str] = {}
        #: names in the registry
        self.models: dict[str, None] = {}
        self.losses: set[str] = set()

    def place(self, record: Record) -> tuple[str, str, int, str]:
        """Where a record stands in the tables: repeats in the order in which they were run."""
        started = self._runs[record.run_id].info.start_time or 0
        return record.model, record.dataset, started, record.run_id

    def add(self, record: Record, metric: str) -> None:
        """One record as one row of the matrix, and one a step of its curves."""
        run = self._runs[record.run_id]
        lower = _is_loss(run, metric)
        self.losses |= {metric} if lower else set()
        sign = -1.0 if lower else 1.0
        cell = (record.model.removeprefix(self._prefix), record.dataset)
        label = self._label(record.run_id, cell)
        self.models[record.model] = None
        self._describe(record, run)
        self.matrix.append((*cell, metric, sign * record.final_score, label))
        if not record.validation_scores:
            return
        steps = _steps(run, len(record.validation_scores))
        tested = record.test_scores or (record.final_score,)
        for split, at, values in (
            ("val", steps, record.validation_scores),
            ("test", steps[-len(tested) :], tested),
        ):
            self.curves += [
                (*cell, step, split, metric, sign * value, label)
                for step, value in zip(at, values, strict=True)
            ]

    def datasets(self) -> list[dict[str, Any]]:
        """One row a dataset, sorted; columns that are known of none are left empty."""
        columns = dict.fromkeys([*_DATASETS, *(key for row in self._told.values() for key in row)])
        return [{key: row.get(key) for key in columns} for _, row in sorted(self._told.items())]

    def _label(self, run_id: str, cell: tuple[str, str]) -> str:
        """As the tables that a run came from called it, else its number in the cell."""
        if run_id not in self.labels:
            used = self._used.setdefault(cell, set())
            told = json.loads(self._runs[run_id].data.tags.get(tags.TABLE_ROWS, "{}")).get(
                "run", ""
            )
            numbers = (str(number) for number in count(1))
            label = told if told and told not in used else next(n for n in numbers if n not in used)
            used.add(label)
            self.labels[run_id] = label
        return self.labels[run_id]

    def _describe(self, record: Record, run: Run) -> None:
        row = self._told.setdefault(
            record.dataset, {"dataset": record.dataset, "modality": record.modality}
        )
        for key, value in {**_input(run), **_features(run)}.items():
            row.setdefault(key, value)


def _is_loss(run: Run, metric: str) -> bool:
    source = sources_from_json(run.data.tags.get(tags.SOURCES, "")).get(metric)
    if source is not None:
        return source.minimize
    return metric in METRICS and to_maximize(metric, 1.0) < 0


def _steps(run: Run, stages: int) -> list[float]:
    """Steps of a curve: those of the table that it came from, else the epochs."""
    told = json.loads(run.data.tags.get(tags.STEPS, "[]"))
    return told if len(told) == stages else list(range(1, stages + 1))


def _input(run: Run) -> dict[str, Any]:
    """Classes and training samples, as the dataset that the run logged tells."""
    for each in run.inputs.dataset_inputs if run.inputs else ():
        told = json.loads(each.dataset.profile or "{}")
        if isinstance(told, dict):
            known = {"classes": told.get("classes"), "samples": told.get("train")}
            return {key: value for key, value in known.items() if value is not None}
    return {}


def _features(run: Run) -> dict[str, str]:
    """What the tables that a run came from said of its dataset."""
    return {
        key.removeprefix(FEATURE): value
        for key, value in run.data.params.items()
        if key.startswith(FEATURE) and value
    }


def _models(members: Sequence[Member], named: Mapping[str, None], prefix: str) -> pd.DataFrame:
    known = {member.name: member for member in members}
    rows = []
    for name in sorted(named):
        row: dict[str, Any] = {"model": name.removeprefix(prefix)}
        if member := known.get(name):
            row |= {
                "modality": member.modality,
                "family": member.family,
                "arch": member.arch,
                "parameters": member.parameters,
                "upstream": member.upstream,
                "license": member.license,
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=_MODELS).astype({"parameters": "Int64"})


def _write(folder: Path, tables: Mapping[str, pd.DataFrame], ending: str) -> None:
    """Each table whole, or as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in tables:
        for other in ENDINGS:
            if other != ending and (path := folder / f"{name}{other}").exists():
                raise HistoryError(
                    f"{path}: expected no table in another format than {ending}: remove it, or "
                    "export into another folder"
                )
    for name, table in tables.items():
        rough = folder / f"{name}.part{ending}"
        if ending == ".parquet":
            table.to_parquet(rough, index=False)
        else:
            table.to_csv(rough, index=False)
        rough.replace(folder / f"{name}{ending}")
