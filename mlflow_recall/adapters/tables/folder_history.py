"""A folder of plain tables as history: no server, no runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_recall.adapters.tables import table_files
from mlflow_recall.adapters.tables.recorded_curves import FineTuning, join_curves
from mlflow_recall.adapters.tables.recorded_curves import RecordedCurve as RecordedCurve
from mlflow_recall.adapters.tables.table_files import Table, list_names
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError

_COLUMNS = {
    "matrix": ["model", "dataset", "metric", "value"],
    "curves": ["model", "dataset", "step", "split", "metric", "value"],
    "proxy": ["model", "dataset", "score_name", "value"],
}
_SPLITS = ("test", "val")


class FolderHistory:
    """Plain tables, gzipped or not; see ``ports.Tables`` and ``docs/history.md``.

    ``matrix.csv`` (model, dataset, metric, value[, run]) must be there. Optional are ``curves.csv``
    (model, dataset, step, split, metric, value[, run]), ``proxy.csv`` (model, dataset, score_name,
    value), and ``models.csv`` and ``datasets.csv``, one row a name with its features as columns.

    Args:
        folder: where the tables are.
        minimize: names of the metrics that are losses, or whether the metric asked for is one;
            their sign is turned, so that higher is better inside. Losses that this package knows
            are turned in any case.
    """

    def __init__(self, folder: str | Path, *, minimize: bool | Collection[str] = False) -> None:
        self._folder = Path(folder)
        self._minimize = minimize
        self._read: dict[str, Table] = {}

    @staticmethod
    def is_one(folder: str | Path) -> bool:
        """Whether a folder holds the tables of a history."""
        return table_files.has_table(Path(folder), "matrix")

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``; without a metric, the only one of the table.

        Raises:
            HistoryError: a table is not as expected, or no two models share a dataset.
        """
        found = self.fine_tunings(metric)
        self._check_shared(found)
        return [
            Record(
                model=each.model,
                dataset=each.dataset,
                validation_scores=each.validation_scores,
                final_score=each.final_score,
                test_scores=each.test_scores,
                epochs=len(each.validation_scores),
                modality=self.modality(each.model, each.dataset),
                run_id=each.run,
            )
            for each in found
        ]

    def fine_tunings(self, metric: str) -> list[FineTuning]:
        """Rows of the matrix with their curves of the same metric; see ``table_curves.joined``."""
        table = self._of_metric("matrix", metric)
        named = _only(table, metric)
        keys = [table.names(name) for name in ("model", "dataset", "run")]
        values = (self._sign(named) * table.numbers("value")).tolist()
        rows = [
            FineTuning(model, dataset, value, run)
            for model, dataset, run, value in zip(*keys, values, strict=True)
        ]
        if named not in self._metrics_of("curves"):
            return rows
        return join_curves(rows, self.curves(named), by_run="run" in table.frame)

    def modality(self, model: str, dataset: str) -> str:
        """Of a cell, where the features of its dataset or of its model tell it; else empty."""
        told = self._modalities
        return told.get(("dataset", dataset)) or told.get(("model", model), "")

    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of ``matrix``, sorted."""
        return self._metrics_of("matrix")

    def is_loss(self, metric: str) -> bool:
        """Whether lower values of a metric are better in the tables."""
        return self._sign(metric) < 0

    def curves(self, metric: str | None = None) -> list[RecordedCurve]:
        """Every curve of ``curves``, steps in order; none without that table.

        Without a metric, the only one of the table; it may be named otherwise than in ``matrix``.

        Raises:
            HistoryError: an unknown split, a step measured twice, or a validation curve that ends
                in neither a test score nor a row of the matrix.
        """
        if not self._has("curves"):
            return []
        table = self._of_metric("curves", metric)
        keys = {name: table.codes(name) for name in ("model", "dataset", "split", "run")}
        strange = ~np.isin(np.array(keys["split"][1])[keys["split"][0]], _SPLITS)
        table.reject_rows(strange, "the split val or test")
        steps, values = table.numbers("step"), table.numbers("value")
        table.reject_rows(np.isnan(steps), "a step in every row")
        shape = tuple(len(names) for _, names in keys.values())
        group = np.ravel_multi_index(tuple(codes for codes, _ in keys.values()), shape)
        order = np.lexsort((steps, group))
        again = (np.diff(group[order]) == 0) & (np.diff(steps[order]) == 0)
        twice = np.zeros(len(order), dtype=bool)
        twice[order[1:][again]] = twice[order[:-1][again]] = True
        table.reject_rows(twice, "every step of a curve once", "tell repeats apart in a column run")
        order = order[~np.isnan(values[order])]
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        where = np.unravel_index(group[order][starts], shape)
        bounds = [*starts.tolist(), len(order)]
        values = self._sign(_only(table, metric)) * values
        at, what = tuple(steps[order].tolist()), tuple(values[order].tolist())
        named = [
            [names[code] for code in codes]
            for codes, (_, names) in zip(where, keys.values(), strict=True)
        ]
        found = [
            RecordedCurve(model, dataset, split, at[start:end], what[start:end], run)
            for model, dataset, split, run, start, end in zip(
                *named, bounds[:-1], bounds[1:], strict=True
            )
        ]
        self._check_ends(found, table)
        return found

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """Score -> (model, dataset) -> value, of ``proxy``; repeats averaged, empty without it."""
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
            score: {cell: sum(values) / len(values) for cell, values in cells[score].items()}
            for score in sorted(cells)
        }

    def model_features(self) -> dict[str, dict[str, float | str]]:
        """Feature -> model -> value, of ``models``: numbers where a column has only such."""
        return self._features("models", "model")

    def dataset_features(self) -> dict[str, dict[str, float | str]]:
        """Feature -> dataset -> value, of ``datasets``: numbers where a column has only such."""
        return self._features("datasets", "dataset")

    def _features(self, name: str, key: str) -> dict[str, dict[str, float | str]]:
        if not self._has(name):
            return {}
        table = self._table(name)
        if not len(table.frame.columns):
            return {}
        first = key if key in table.frame else str(table.frame.columns[0])
        names = table.names(first)  # the first column names the rows, whatever it is called
        named = table.frame[first]
        table.reject_rows((named == "").to_numpy(), f"a {key} in every row")
        table.reject_rows(named.duplicated(keep=False).to_numpy(), f"every {key} once")
        return {
            str(column): dict(zip(names, _values(table.frame[column]), strict=True))
            for column in table.frame.columns
            if column != first
        }

    @cached_property
    def _modalities(self) -> dict[tuple[str, str], str]:
        """(``dataset`` or ``model``, name) -> modality, where the features tell it."""
        features = {"dataset": self.dataset_features(), "model": self.model_features()}
        return {
            (kind, name): str(value)
            for kind, columns in features.items()
            for name, value in columns.get("modality", {}).items()
            if isinstance(value, str)
        }

    def _sign(self, metric: str) -> float:
        if isinstance(self._minimize, bool):
            return -1.0 if self._minimize else to_maximize(metric, 1.0)
        known = {*self._metrics_of("matrix"), *self._metrics_of("curves")}
        if strange := sorted(set(self._minimize) - known):
            raise HistoryError(
                f"{self._folder}: minimize: expected metrics of the tables, "
                f"{list_names(sorted(known))}"
                f", got {strange[0]!r}"
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

    def _of_metric(self, name: str, metric: str | None) -> Table:
        table = self._table(name)
        metrics = self._metrics_of(name)
        if not metric and len(metrics) == 1:
            metric = metrics[0]
        if not metrics:
            raise HistoryError(f"{self._folder}: {name}: expected at least one row, got none")
        if metric not in metrics:
            where = "" if name == "matrix" else f"{name}: "
            raise HistoryError(
                f"{self._folder}: {where}metric {metric!r}: expected one of "
                f"{', '.join(metrics)}: name it with --metric"
            )
        return table.select_rows((table.frame["metric"] == metric).to_numpy())

    def _check_shared(self, found: Sequence[FineTuning]) -> None:
        models: dict[str, set[str]] = {}
        for each in found:
            if not math.isnan(each.final_score):
                models.setdefault(each.dataset, set()).add(each.model)
        alone = sorted(set().union(*models.values()))
        if len(alone) > 1 and all(len(there) == 1 for there in models.values()):
            told = [f"{next(iter(there))} on {name}" for name, there in sorted(models.items())]
            raise HistoryError(
                f"{self._table('matrix').path}: expected models that share a dataset, got "
                f"{list_names(told)}: no two of the {len(alone)} models can be compared"
            )

    def _check_ends(self, found: Sequence[RecordedCurve], table: Table) -> None:
        """Every validation curve has a test score of its run, or its cell a row in the matrix."""
        tested = {(c.model, c.dataset, c.run) for c in found if c.split == "test"}
        open_ended = {(c.model, c.dataset, c.run) for c in found if c.split == "val"} - tested
        if open_ended and self._has("matrix"):
            matrix = self._table("matrix")
            told = ~np.isnan(matrix.numbers("value"))
            if (same := _only(table)) in self._metrics_of("matrix"):
                told &= (matrix.frame["metric"] == same).to_numpy()
            kept = matrix.select_rows(told)
            cells = set(zip(kept.names("model"), kept.names("dataset"), strict=True))
            open_ended = {key for key in open_ended if key[:2] not in cells}
        if open_ended:
            keys = zip(*(table.names(name) for name in ("model", "dataset", "run")), strict=True)
            table.reject_rows(
                np.array([key in open_ended for key in keys]),
                "curves that end in a test value or a row of matrix",
                "add it, or leave these rows out",
            )

    def _has(self, name: str) -> bool:
        return name in self._read or table_files.has_table(self._folder, name)

    def _table(self, name: str) -> Table:
        if name not in self._read:
            self._read[name] = table_files.read_table(self._folder, name, _COLUMNS.get(name, ()))
        return self._read[name]


def _only(table: Table, metric: str | None = None) -> str:
    """Return the metric of a table that has one; ``metric`` where it has no row."""
    return str(table.frame["metric"].iloc[0]) if len(table.frame) else metric or ""


def _values(column: pd.Series[Any]) -> Iterator[float | str]:
    """Numbers where all known ones are (thousands may be set off by commas), else text."""
    text = column.astype("string").str.replace(",", "", regex=False)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    if not (numbers.isna() & column.notna()).any():
        yield from map(float, numbers)
    else:
        yield from (
            "" if unknown else str(v) for v, unknown in zip(column, column.isna(), strict=True)
        )
