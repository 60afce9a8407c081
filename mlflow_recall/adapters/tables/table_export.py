"""The history of a namespace as plain tables; ``FolderHistory`` reads them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from mlflow_recall.adapters.export.export_files import check_destination, make_folder
from mlflow_recall.adapters.export.summaries import ExportSummary
from mlflow_recall.adapters.tables.table_files import ENDINGS
from mlflow_recall.adapters.tables.table_import import FEATURE
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import adopted_experiments, search_runs
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.bounded_json import parse_json, parse_object
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import ConfigError, HistoryError, unknown_name
from mlflow_recall.ports import Reporter

_MATRIX_COLUMNS = ["model", "dataset", "metric", "value", "run"]
_CURVE_COLUMNS = ["model", "dataset", "step", "split", "metric", "value", "run"]
_SCORE_COLUMNS = ["model", "dataset", "score_name", "value"]
_MODEL_COLUMNS = ["model", "modality", "family", "arch", "parameters", "upstream", "license"]
_TABLES = ("matrix", "curves", "proxy", "models", "datasets")
_DATASET_COLUMNS = ["dataset", "modality", "task", "metric", "classes", "samples"]


class TableExport:
    """Writes one namespace as tables.

    Args:
        client: Client of the tracking server.
        namespace: Namespace whose experiment is ``<namespace>/benchmark``.
        registry: Registry of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._history = TrackingHistory(client, namespace)
        self._prefix = registry.name_of("")
        self._registry = registry

    def export(self, folder: Path, ending: str, reporter: Reporter) -> ExportSummary:
        """Write the five tables, with values in each metric's own direction.

        Tables do not distinguish versions and recipes. Therefore only the fine-tunings of a
        model's present version and its most frequent recipe are written, as ``cluster`` uses them.

        Args:
            folder: Folder of the tables, which is created if there is none; tables of that format
                are replaced.
            ending: ``.csv``, ``.csv.gz`` or ``.parquet``.
            reporter: Shows the progress.

        Raises:
            ConfigError: The ending is unknown.
            HistoryError: Nothing is recorded, or the folder has the tables in another format.
        """
        if ending not in ENDINGS:
            raise ConfigError(unknown_name("ending", ending, ENDINGS))
        check_destination(folder, [f"{name}{other}" for name in _TABLES for other in ENDINGS])
        runs = self._runs()
        members = self._registry.members()
        notes: dict[str, None] = {}
        metrics = self._history.metrics()
        rows = _Rows(runs, self._prefix, self._primary_metrics() if metrics else {})
        with reporter.progress("export tables", len(metrics)) as bar:
            for metric in metrics:
                for record in sorted(self._comparable(metric, members, notes), key=rows.sort_key):
                    rows.add(record, metric)
                bar.advance(status=metric)
        if not rows.matrix:
            raise HistoryError(
                f"experiment {self._history.experiment!r}: expected finished fine-tunings, got none"
            )
        tables = {
            "matrix": pd.DataFrame(rows.matrix, columns=_MATRIX_COLUMNS),
            "curves": pd.DataFrame(rows.curves, columns=_CURVE_COLUMNS),
            "proxy": pd.DataFrame([], columns=_SCORE_COLUMNS),
            "models": _model_table(members, rows.models, self._prefix),
            "datasets": pd.DataFrame(rows.datasets()),
        }
        _write_tables(folder, tables, ending)
        return ExportSummary(
            runs=len(rows.labels),
            models=len(rows.models),
            datasets=len(tables["datasets"]),
            metrics=metrics,
            minimize=tuple(metric for metric in metrics if metric in rows.losses),
            notes=tuple(notes),
        )

    def _primary_metrics(self) -> dict[str, str]:
        """Return dataset -> its primary metric, where it is known."""
        with suppress(HistoryError):  # no primary metric is known
            return {record.dataset: record.metric for record in self._history.records(PRIMARY)}
        return {}

    def _runs(self) -> dict[str, Run]:
        """Return every run that a record can come from, by id."""
        experiment = self._client.get_experiment_by_name(self._history.experiment)
        if experiment is None:
            raise HistoryError(
                f"experiment {self._history.experiment!r}: expected finished runs, got none"
            )
        ids = list(dict.fromkeys([str(experiment.experiment_id), *adopted_experiments(experiment)]))
        return {run.info.run_id: run for run in search_runs(self._client, ids, "")}

    def _comparable(
        self, metric: str, members: Sequence[Member], notes: dict[str, None]
    ) -> Iterator[Record]:
        """Yield the comparable records of a metric; what is left out is added to ``notes``."""
        records = self._history.records(metric)
        for modality in sorted({record.modality for record in records if record.is_complete}):
            of_modality = [record for record in records if record.modality == modality]
            comparable = select_comparable(of_modality, members=members)
            notes.update({f"{modality} {metric}: {n}".strip(): None for n in comparable.notes})
            yield from comparable.records


class _Rows:
    """Rows of the tables, built record by record.

    Args:
        runs: Run id -> run.
        prefix: Prefix of the namespace's names in the registry, which the tables leave out.
        primary: Dataset -> its primary metric.
    """

    def __init__(self, runs: Mapping[str, Run], prefix: str, primary: Mapping[str, str]) -> None:
        self._runs = runs
        self._prefix = prefix
        self._primary = primary
        self._labels_of_cell: dict[tuple[str, str], set[str]] = {}
        self._dataset_rows: dict[str, dict[str, Any]] = {}
        self.matrix: list[tuple[Any, ...]] = []
        self.curves: list[tuple[Any, ...]] = []
        #: run id -> name of the fine-tuning among the repeats of its cell
        self.labels: dict[str, str] = {}
        #: names in the registry
        self.models: dict[str, None] = {}
        self.losses: set[str] = set()

    def sort_key(self, record: Record) -> tuple[str, str, int, str]:
        """Return the key that sorts records; repeats are sorted by their start."""
        started = self._runs[record.run_id].info.start_time or 0
        return record.model, record.dataset, started, record.run_id

    def add(self, record: Record, metric: str) -> None:
        """Add a record as one row of the matrix, and one row for each step of its curves."""
        run = self._runs[record.run_id]
        is_loss = _is_loss(run, metric)
        self.losses |= {metric} if is_loss else set()
        sign = -1.0 if is_loss else 1.0
        cell = (record.model.removeprefix(self._prefix), record.dataset)
        label = self._label(record.run_id, cell)
        self.models[record.model] = None
        self._add_dataset(record, run)
        self.matrix.append((*cell, metric, sign * record.final_score, label))
        if not record.validation_scores:
            return
        steps = _steps(run, len(record.validation_scores))
        test_scores = record.test_scores or (record.final_score,)
        for split, split_steps, values in (
            ("val", steps, record.validation_scores),
            ("test", steps[-len(test_scores) :], test_scores),
        ):
            self.curves += [
                (*cell, step, split, metric, sign * value, label)
                for step, value in zip(split_steps, values, strict=True)
            ]

    def datasets(self) -> list[dict[str, Any]]:
        """Return one row for each dataset, sorted by name; unknown values are None."""
        rows = self._dataset_rows
        columns = dict.fromkeys([*_DATASET_COLUMNS, *(key for row in rows.values() for key in row)])
        return [{key: row.get(key) for key in columns} for _, row in sorted(rows.items())]

    def _label(self, run_id: str, cell: tuple[str, str]) -> str:
        """Return a run's name in the tables that it came from, or else its number in the cell."""
        if run_id not in self.labels:
            used = self._labels_of_cell.setdefault(cell, set())
            table_rows = parse_object(self._runs[run_id].data.tags.get(tags.TABLE_ROWS, "{}"))
            label = str(table_rows.get("run", ""))
            if not label or label in used:
                numbers = (str(number) for number in count(1))
                label = next(number for number in numbers if number not in used)
            used.add(label)
            self.labels[run_id] = label
        return self.labels[run_id]

    def _add_dataset(self, record: Record, run: Run) -> None:
        row = self._dataset_rows.setdefault(
            record.dataset,
            {
                "dataset": record.dataset,
                "modality": record.modality,
                "task": record.task,
                "metric": self._primary.get(record.dataset),
            },
        )
        for key, value in {**_logged_sizes(run), **_logged_features(run)}.items():
            row.setdefault(key, value)


def _is_loss(run: Run, metric: str) -> bool:
    source = sources_from_json(run.data.tags.get(tags.SOURCES, "")).get(metric)
    if source is not None:
        return source.minimize
    return metric in METRICS and to_maximize(metric, 1.0) < 0


def _steps(run: Run, stages: int) -> list[float]:
    """Return the steps of the table that a run came from, or else the epochs."""
    with suppress(ValueError):  # anyone can write tags
        steps = parse_json(run.data.tags.get(tags.STEPS, "[]"))
        is_curve = isinstance(steps, list) and all(type(step) in (int, float) for step in steps)
        if is_curve and len(steps) == stages:
            return [*steps]
    return list(range(1, stages + 1))


def _logged_sizes(run: Run) -> dict[str, Any]:
    """Return classes and training samples of the dataset that a run logged as its input."""
    for dataset_input in run.inputs.dataset_inputs if run.inputs else ():
        profile = parse_object(dataset_input.dataset.profile or "{}")
        sizes = {"classes": profile.get("classes"), "samples": profile.get("train")}
        return {key: value for key, value in sizes.items() if value is not None}
    return {}


def _logged_features(run: Run) -> dict[str, str]:
    """Return the features of the dataset in the tables that a run came from."""
    return {
        key.removeprefix(FEATURE): value
        for key, value in run.data.params.items()
        if key.startswith(FEATURE) and value
    }


def _model_table(members: Sequence[Member], names: Mapping[str, None], prefix: str) -> pd.DataFrame:
    member_of = {member.name: member for member in members}
    rows = []
    for name in sorted(names):
        row: dict[str, Any] = {"model": name.removeprefix(prefix)}
        if member := member_of.get(name):
            row |= {
                "modality": member.modality,
                "family": member.family,
                "arch": member.arch,
                "parameters": member.parameters,
                "upstream": member.upstream,
                "license": member.license,
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=_MODEL_COLUMNS).astype({"parameters": "Int64"})


def _write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], ending: str) -> None:
    """Write the tables; a file is replaced only when the new one is complete."""
    make_folder(folder)
    for name in tables:
        for other in ENDINGS:
            if other != ending and (path := folder / f"{name}{other}").exists():
                raise HistoryError(
                    f"{path}: expected no table in another format than {ending}: remove it, or "
                    "export into another folder"
                )
    for name, table in tables.items():
        partial = folder / f"{name}.part{ending}"
        if ending == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False)
        partial.replace(folder / f"{name}{ending}")
