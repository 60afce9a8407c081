"""A folder of plain tables as a history, without a server and without runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_recall.adapters.tables import table_files
from mlflow_recall.adapters.tables.recorded_curves import FineTuning, join_curves
from mlflow_recall.adapters.tables.recorded_curves import RecordedCurve as RecordedCurve
from mlflow_recall.adapters.tables.table_files import Table
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import CLASSIFICATION, PRIMARY, TASKS, primary_metric
from mlflow_recall.errors import HistoryError

_COLUMNS = {
    "matrix": ["model", "dataset", "metric", "value"],
    "curves": ["model", "dataset", "step", "split", "metric", "value"],
    "proxy": ["model", "dataset", "score_name", "value"],
}
_SPLITS = ("test", "val")


class FolderHistory:
    """Plain tables, gzipped or not; see ``ports.Tables`` and ``docs/history.md``.

    ``matrix.csv`` (model, dataset, metric, value[, run]) is required. Optional are ``curves.csv``
    (model, dataset, step, split, metric, value[, run]), ``proxy.csv`` (model, dataset, score_name,
    value), and ``models.csv`` and ``datasets.csv``, which have one row for each name and its
    features as columns.

    Args:
        folder: Folder with the tables.
        minimize: Names of the metrics that are losses, or whether the requested metric is one.
            Their sign is changed, so that higher is better. The losses that this package knows
            are changed in any case.
    """

    def __init__(self, folder: str | Path, *, minimize: bool | Collection[str] = False) -> None:
        self._folder = Path(folder)
        self._minimize = minimize
        self._tables: dict[str, Table] = {}

    @staticmethod
    def is_one(folder: str | Path) -> bool:
        """Return whether a folder holds the tables of a history."""
        return table_files.has_table(Path(folder), "matrix")

    def records(self, metric: str) -> list[Record]:
        """Return the records of a metric; see ``ports.History.records``.

        Where no modality is known, and the models of one primary metric have no dataset of
        another, they are apart as modalities are, under the names of the metrics.

        Raises:
            HistoryError: A table is not as expected, the primary metric of a dataset is unknown,
                or no two models share a dataset.
        """
        by_metric = {
            name: self.fine_tunings(name, datasets)
            for name, datasets in self._datasets_by_metric(metric).items()
        }
        self._check_shared([entry for entries in by_metric.values() for entry in entries])
        parts = {} if self._modalities else _separate_parts(by_metric)
        return [
            self._record(fine_tuning, name, parts.get(name))
            for name, fine_tunings in by_metric.items()
            for fine_tuning in fine_tunings
        ]

    def left_out(self, metric: str) -> tuple[str, ...]:  # noqa: ARG002 - the port's signature
        """See ``ports.History.left_out``; a table whose primary metric is unknown is refused."""
        return ()

    def fine_tunings(
        self, metric: str, datasets: Collection[str] | None = None
    ) -> list[FineTuning]:
        """Return the rows of the matrix with their curves of the same metric.

        Args:
            metric: Name of the metric.
            datasets: Datasets that are read; None: all.

        Raises:
            HistoryError: A table is not as expected, or a row contradicts its curve.
        """
        table = self._select_metric("matrix", metric)
        keys = [table.names(column) for column in ("model", "dataset", "run")]
        values = (self._sign(metric) * table.numbers("value")).tolist()
        rows = [
            FineTuning(model=model, dataset=dataset, final_score=value, run=run)
            for model, dataset, run, value in zip(*keys, values, strict=True)
            if datasets is None or dataset in datasets
        ]
        if metric not in self._metrics_of("curves"):
            return rows
        return join_curves(rows, self.curves(metric), by_run="run" in table.frame)

    def primary_metrics(self) -> dict[str, str]:
        """Return dataset -> its primary metric.

        It is the one in the column ``metric`` of ``datasets``, or that of the task in the column
        ``task``, accuracy without one, or the only metric of the dataset.

        Raises:
            HistoryError: A dataset has several others, or not the one that ``datasets`` names.
        """
        features = self.dataset_features()
        named, tasks = features.get("metric", {}), features.get("task", {})
        primary = {}
        for dataset, recorded in self._recorded_metrics.items():
            name = str(named.get(dataset) or "")
            metric = name or primary_metric(recorded, str(tasks.get(dataset) or ""))
            if metric not in recorded:
                expected = "one of its metrics" if name else "accuracy or one metric"
                raise HistoryError(
                    f"{self._folder}: primary metric of {dataset!r}: expected {expected}, got "
                    f"{name or join_names(recorded)}: name one with --metric, or in a column "
                    "metric of the table datasets"
                )
            primary[dataset] = metric
        return primary

    def modality(self, model: str, dataset: str) -> str:
        """Return the modality of a cell, from the features of its dataset or of its model.

        It is empty where neither says it.
        """
        modalities = self._modalities
        return modalities.get(("dataset", dataset)) or modalities.get(("model", model), "")

    def metrics(self) -> tuple[str, ...]:
        """Return the names of the metrics of ``matrix``, sorted."""
        return self._metrics_of("matrix")

    def is_loss(self, metric: str) -> bool:
        """Return whether lower values of a metric are better in the tables."""
        return self._sign(metric) < 0

    def curves(self, metric: str | None = None) -> list[RecordedCurve]:
        """Return every curve of ``curves`` with its steps in order; none without that table.

        Args:
            metric: Name of the metric, or ``PRIMARY``; None: the only one of the table, whose name
                may differ from that in ``matrix``.

        Raises:
            HistoryError: A split is unknown, a step is measured twice, or a validation curve has
                neither a test score nor a row of the matrix.
        """
        if not self._has("curves"):
            return []
        if metric == PRIMARY:
            primary = self.primary_metrics()
            recorded = set(primary.values()) & set(self._metrics_of("curves"))
            return [
                curve
                for name in sorted(recorded)
                for curve in self.curves(name)
                if primary.get(curve.dataset) == name
            ]
        table = self._select_metric("curves", metric)
        keys = {name: table.codes(name) for name in ("model", "dataset", "split", "run")}
        split_codes, split_names = keys["split"]
        has_unknown_split = ~np.isin(np.array(split_names)[split_codes], _SPLITS)
        table.reject_rows(has_unknown_split, "the split val or test")
        steps, values = table.numbers("step"), table.numbers("value")
        table.reject_rows(np.isnan(steps), "a step in every row")
        shape = tuple(len(names) for _, names in keys.values())
        group = np.ravel_multi_index(tuple(codes for codes, _ in keys.values()), shape)
        order = np.lexsort((steps, group))
        same_as_next = (np.diff(group[order]) == 0) & (np.diff(steps[order]) == 0)
        is_repeated = np.zeros(len(order), dtype=bool)
        is_repeated[order[1:][same_as_next]] = is_repeated[order[:-1][same_as_next]] = True
        table.reject_rows(
            is_repeated, "every step of a curve once", "tell repeats apart in a column run"
        )
        order = order[~np.isnan(values[order])]
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        codes_of_curves = np.unravel_index(group[order][starts], shape)
        bounds = [*starts.tolist(), len(order)]
        name = _metric_of(table, metric)
        values = self._sign(name) * values
        sorted_steps = tuple(steps[order].tolist())
        sorted_values = tuple(values[order].tolist())
        names_of_curves = [
            [names[code] for code in codes]
            for codes, (_, names) in zip(codes_of_curves, keys.values(), strict=True)
        ]
        curves = [
            RecordedCurve(
                model=model,
                dataset=dataset,
                split=split,
                steps=sorted_steps[start:end],
                values=sorted_values[start:end],
                run=run,
                metric=name,
            )
            for model, dataset, split, run, start, end in zip(
                *names_of_curves, bounds[:-1], bounds[1:], strict=True
            )
        ]
        self._check_final_scores(curves, table)
        return curves

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """Return score -> (model, dataset) -> value, from ``proxy``.

        Repeats are averaged; without that table the result is empty.
        """
        if not self._has("proxy"):
            return {}
        table = self._table("proxy")
        cells: dict[str, dict[tuple[str, str], list[float]]] = {}
        columns = [table.names(name) for name in ("score_name", "model", "dataset")]
        values = table.numbers("value").tolist()
        for score, model, dataset, value in zip(*columns, values, strict=True):
            if not math.isnan(value):
                cells.setdefault(score, {}).setdefault((model, dataset), []).append(value)
        return {
            score: {cell: sum(repeats) / len(repeats) for cell, repeats in cells[score].items()}
            for score in sorted(cells)
        }

    def model_features(self) -> dict[str, dict[str, float | str]]:
        """Return feature -> model -> value, from ``models``.

        A column that holds only numbers has numbers as values.
        """
        return self._features("models", "model")

    def dataset_features(self) -> dict[str, dict[str, float | str]]:
        """Return feature -> dataset -> value, from ``datasets``.

        A column that holds only numbers has numbers as values.
        """
        return self._features("datasets", "dataset")

    def _record(self, fine_tuning: FineTuning, metric: str, part: str | None) -> Record:
        task = str(self._tasks.get(fine_tuning.dataset, ""))
        return Record(
            model=fine_tuning.model,
            dataset=fine_tuning.dataset,
            validation_scores=fine_tuning.validation_scores,
            final_score=fine_tuning.final_score,
            test_scores=fine_tuning.test_scores,
            epochs=len(fine_tuning.validation_scores),
            modality=part or self.modality(fine_tuning.model, fine_tuning.dataset),
            task=task if task in TASKS else CLASSIFICATION,
            metric=metric,
            run_id=fine_tuning.run,
        )

    def _datasets_by_metric(self, metric: str) -> dict[str, Collection[str] | None]:
        """Return metric -> datasets that are read by it; None: all."""
        if metric != PRIMARY:
            return {metric: None}
        primary = self.primary_metrics()
        return {
            name: {dataset for dataset, own in primary.items() if own == name}
            for name in sorted(set(primary.values()))
        }

    @cached_property
    def _recorded_metrics(self) -> dict[str, list[str]]:
        """Dataset -> its metrics in ``matrix``, sorted."""
        table = self._table("matrix")
        metrics: dict[str, set[str]] = {}
        for dataset, metric in zip(table.names("dataset"), table.names("metric"), strict=True):
            metrics.setdefault(dataset, set()).add(metric)
        if not metrics:
            raise HistoryError(f"{self._folder}: matrix: expected at least one row, got none")
        return {dataset: sorted(metrics[dataset]) for dataset in sorted(metrics)}

    @cached_property
    def _tasks(self) -> Mapping[str, float | str]:
        """Dataset -> its task, where ``datasets`` says it."""
        return self.dataset_features().get("task", {})

    def _features(self, name: str, key: str) -> dict[str, dict[str, float | str]]:
        if not self._has(name):
            return {}
        table = self._table(name)
        if not len(table.frame.columns):
            return {}
        # without the expected column, the first one names the rows
        key_column = key if key in table.frame else str(table.frame.columns[0])
        names = table.names(key_column)
        keys = table.frame[key_column]
        table.reject_rows((keys == "").to_numpy(), f"a {key} in every row")
        table.reject_rows(keys.duplicated(keep=False).to_numpy(), f"every {key} once")
        return {
            str(column): dict(zip(names, _values(table.frame[column]), strict=True))
            for column in table.frame.columns
            if column != key_column
        }

    @cached_property
    def _modalities(self) -> dict[tuple[str, str], str]:
        """(``dataset`` or ``model``, name) -> modality, where the features say it."""
        features = {"dataset": self.dataset_features(), "model": self.model_features()}
        return {
            (kind, name): str(value)
            for kind, columns in features.items()
            for name, value in columns.get("modality", {}).items()
            if isinstance(value, str)
        }

    def _sign(self, metric: str) -> float:
        """Return the factor that makes higher values of a metric better."""
        if isinstance(self._minimize, bool):
            return -1.0 if self._minimize else to_maximize(metric, 1.0)
        known = {*self._metrics_of("matrix"), *self._metrics_of("curves")}
        if unknown := sorted(set(self._minimize) - known):
            raise HistoryError(
                f"{self._folder}: minimize: expected metrics of the tables, "
                f"{join_names(sorted(known))}, got {unknown[0]!r}"
            )
        if metric in self._minimize and metric in METRICS and to_maximize(metric, 1.0) > 0:
            raise HistoryError(
                f"{self._folder}: minimize: {metric!r} is better when higher, got it as a loss: "
                "leave it out of --minimize, or rename the metric in the tables"
            )
        return -1.0 if metric in self._minimize else to_maximize(metric, 1.0)

    def _metrics_of(self, name: str) -> tuple[str, ...]:
        if not self._has(name):
            if name == "matrix":
                self._table(name)  # raises
            return ()
        return tuple(sorted(map(str, self._table(name).frame["metric"].unique())))

    def _select_metric(self, name: str, metric: str | None) -> Table:
        """Return the rows of one metric of a table."""
        table = self._table(name)
        metrics = self._metrics_of(name)
        if metric is None and len(metrics) == 1:
            metric = metrics[0]
        if not metrics:
            raise HistoryError(f"{self._folder}: {name}: expected at least one row, got none")
        if metric not in metrics:
            where = "" if name == "matrix" else f"{name}: "
            subject = f"metric {metric!r}" if metric else "metric"
            raise HistoryError(
                f"{self._folder}: {where}{subject}: expected one of {', '.join(metrics)}"
                f"{'' if metric else ', got none'}: name it with --metric"
            )
        return table.select_rows((table.frame["metric"] == metric).to_numpy())

    def _check_shared(self, fine_tunings: Sequence[FineTuning]) -> None:
        """Raise an error if no dataset was measured with two models."""
        models_of: dict[str, set[str]] = {}
        for fine_tuning in fine_tunings:
            if not math.isnan(fine_tuning.final_score):
                models_of.setdefault(fine_tuning.dataset, set()).add(fine_tuning.model)
        all_models = set().union(*models_of.values())
        if len(all_models) > 1 and all(len(models) == 1 for models in models_of.values()):
            cells = [
                f"{next(iter(models))} on {name}" for name, models in sorted(models_of.items())
            ]
            raise HistoryError(
                f"{self._table('matrix').path}: expected models that share a dataset, got "
                f"{join_names(cells)}: no two of the {len(all_models)} models can be compared"
            )

    def _check_final_scores(self, curves: Sequence[RecordedCurve], table: Table) -> None:
        """Raise an error if a validation curve has no test curve and its cell no matrix row."""
        tested = {(c.model, c.dataset, c.run) for c in curves if c.split == "test"}
        untested = {(c.model, c.dataset, c.run) for c in curves if c.split == "val"} - tested
        if untested and self._has("matrix"):
            matrix = self._table("matrix")
            is_measured = ~np.isnan(matrix.numbers("value"))
            if (metric := _metric_of(table)) in self._metrics_of("matrix"):
                is_measured &= (matrix.frame["metric"] == metric).to_numpy()
            measured = matrix.select_rows(is_measured)
            cells = set(zip(measured.names("model"), measured.names("dataset"), strict=True))
            untested = {key for key in untested if key[:2] not in cells}
        if untested:
            keys = zip(*(table.names(name) for name in ("model", "dataset", "run")), strict=True)
            table.reject_rows(
                np.array([key in untested for key in keys]),
                "curves that end in a test value or a row of matrix",
                "add it, or leave these rows out",
            )

    def _has(self, name: str) -> bool:
        return name in self._tables or table_files.has_table(self._folder, name)

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = table_files.read_table(self._folder, name, _COLUMNS.get(name, ()))
        return self._tables[name]


def _separate_parts(by_metric: Mapping[str, Sequence[FineTuning]]) -> dict[str, str]:
    """Return metric -> name of its part of the tables; empty where they have one part only.

    Metrics are of one part if a model has both, or if other metrics join them so.
    """
    parts: list[tuple[list[str], set[str]]] = []
    for metric, fine_tunings in by_metric.items():
        metrics, models = [metric], {fine_tuning.model for fine_tuning in fine_tunings}
        for part in [part for part in parts if part[1] & models]:
            parts.remove(part)
            metrics, models = [*part[0], *metrics], part[1] | models
        parts.append((metrics, models))
    if len(parts) < 2:
        return {}
    return {metric: "+".join(sorted(metrics)) for metrics, _ in parts for metric in metrics}


def _metric_of(table: Table, metric: str | None = None) -> str:
    """Return the only metric of a table; ``metric`` where it has no row."""
    return str(table.frame["metric"].iloc[0]) if len(table.frame) else metric or ""


def _values(column: pd.Series[Any]) -> Iterator[float | str]:
    """Yield numbers if all known cells are numbers, else texts.

    Commas may separate the thousands. An unknown number is NaN, an unknown text is empty.
    """
    text = column.astype("string").str.replace(",", "", regex=False)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    if not (numbers.isna() & column.notna()).any():
        yield from map(float, numbers)
    else:
        yield from (
            "" if is_unknown else str(value)
            for value, is_unknown in zip(column, column.isna(), strict=True)
        )
