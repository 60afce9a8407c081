"""A folder of plain tables as history: no server, no runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlflow_recall.core.records import Record
from mlflow_recall.errors import HistoryError

_COLUMNS = ["model", "dataset", "metric", "value"]
_CURVES = ["model", "dataset", "step", "split", "metric", "value"]
_SCORES = ["model", "dataset", "score_name", "value"]
_ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class RecordedCurve:
    """One model's scores on one split of one dataset, in the order of its steps."""

    model: str
    dataset: str
    split: str
    #: whatever the table counts in: epochs, samples
    steps: tuple[float, ...]
    values: tuple[float, ...]


class FolderHistory:
    """Plain tables, gzipped or not; see ``ports.History``.

    ``matrix.csv`` (model, dataset, metric, value) must be there. Optional are ``curves.csv``
    (model, dataset, step, split, metric, value), ``proxy.csv`` (model, dataset, score_name,
    value), and ``models.csv`` and ``datasets.csv``, one row a name with its features as columns.

    Args:
        folder: where the tables are.
        minimize: the metric is a loss; its sign is turned, so that higher is better inside.
    """

    def __init__(self, folder: str | Path, *, minimize: bool = False) -> None:
        self._folder = Path(folder)
        self._sign = -1.0 if minimize else 1.0

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``; without a metric, the only one of the table."""
        chosen = self._of_metric("matrix", self._columns("matrix", _COLUMNS), metric)
        values = self._numbers("matrix", chosen)
        return [
            Record(model=str(model), dataset=str(dataset), test=self._sign * value)
            for model, dataset, value in zip(
                chosen["model"], chosen["dataset"], values, strict=True
            )
        ]

    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics of ``matrix``, sorted."""
        return tuple(sorted(map(str, self._columns("matrix", _COLUMNS)["metric"].unique())))

    def curves(self, metric: str = "") -> list[RecordedCurve]:
        """Every curve of ``curves``, steps in order; none without that table.

        Without a metric, the only one of the table; it may be named otherwise than in ``matrix``.
        """
        if not self._has("curves"):
            return []
        chosen = self._of_metric("curves", self._columns("curves", _CURVES), metric)
        chosen = chosen.assign(value=self._sign * self._numbers("curves", chosen)).dropna(
            subset=["value"]
        )
        found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
        ordered = chosen.sort_values(["model", "dataset", "split", "step"], kind="stable")
        keys = (ordered[name].astype(str) for name in ("model", "dataset", "split"))
        points = zip(ordered["step"].astype(float), ordered["value"].astype(float), strict=True)
        for key, point in zip(zip(*keys, strict=True), points, strict=True):
            found.setdefault(key, []).append(point)
        return [
            RecordedCurve(*key, *(tuple(column) for column in zip(*curve, strict=True)))
            for key, curve in found.items()
        ]

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """Score -> (model, dataset) -> value, of ``proxy``; repeats averaged, empty without it."""
        if not self._has("proxy"):
            return {}
        table = self._columns("proxy", _SCORES)
        table = table.assign(value=self._numbers("proxy", table)).dropna(subset=["value"])
        cells: dict[str, dict[tuple[str, str], list[float]]] = {}
        columns = (table[name].astype(str) for name in ("score_name", "model", "dataset"))
        for (score, *cell), value in zip(zip(*columns, strict=True), table["value"], strict=True):
            cells.setdefault(score, {}).setdefault((cell[0], cell[1]), []).append(float(value))
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
        table = self._read(name)
        if not len(table.columns):
            return {}
        if key not in table:  # the first column names the rows
            table = table.rename(columns={table.columns[0]: key})
        table = table.drop_duplicates(key)
        names = [str(value) for value in table[key]]
        return {
            str(column): dict(zip(names, _values(table[column]), strict=True))
            for column in table.columns
            if column != key
        }

    def _of_metric(self, name: str, table: pd.DataFrame, metric: str) -> pd.DataFrame:
        metrics = sorted(table["metric"].unique())
        if not metric and len(metrics) == 1:
            metric = metrics[0]
        if metric not in metrics:
            where = "" if name == "matrix" else f"{name}: "
            raise HistoryError(
                f"{self._folder}: {where}metric {metric!r}: expected one of "
                f"{', '.join(metrics) or 'none'}: name it with --metric"
            )
        return table[table["metric"] == metric].reset_index(drop=True)

    def _numbers(self, name: str, table: pd.DataFrame) -> pd.Series[float]:
        values = pd.to_numeric(table["value"], errors="coerce")
        wrong = values.isna() & table["value"].notna()
        if wrong.any():
            row = table[wrong].iloc[0]
            raise HistoryError(
                f"{self._folder}: {name}: expected numbers, got {row['value']!r} for "
                f"{row['model']} on {row['dataset']}"
            )
        return values

    def _columns(self, name: str, columns: list[str]) -> pd.DataFrame:
        table = self._read(name)
        if missing := [column for column in columns if column not in table]:
            raise HistoryError(
                f"{self._folder}: {name}: expected the columns {', '.join(columns)}, "
                f"missing {', '.join(missing)}"
            )
        return table

    def _has(self, name: str) -> bool:
        return any((self._folder / f"{name}{ending}").exists() for ending in _ENDINGS)

    def _read(self, name: str) -> pd.DataFrame:
        for ending in _ENDINGS:
            path = self._folder / f"{name}{ending}"
            if path.exists():
                try:
                    return pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
                except Exception as error:  # every format has exceptions of its own
                    reason = " ".join(str(error).split())
                    raise HistoryError(f"{path}: cannot be read as a table: {reason}") from error
        raise HistoryError(
            f"{self._folder}: expected {name}.csv, {name}.csv.gz or {name}.parquet, found none"
        )


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
