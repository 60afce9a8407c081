"""Plain tables in a folder: found by name, read whole, checked, and quoted by row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.errors import HistoryError

ENDINGS = (".csv", ".csv.gz", ".parquet")
#: columns that name things: never numbers, and ``NA`` is a name like any other
NAMES = ("model", "dataset", "metric", "split", "run", "score_name")
#: what an empty cell may look like in every other column
_EMPTY = ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"]
#: rows that a message names
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one file; the index keeps their place in it through every selection."""

    path: Path
    frame: pd.DataFrame
    #: number of the first row of data, as an editor or a spreadsheet counts
    first: int

    def select_rows(self, keep: AnyArray) -> Table:
        """The rows that a mask (n,) keeps."""
        return replace(self, frame=self.frame[keep])

    def reject_rows(self, wrong: AnyArray, expected: str, remedy: str = "") -> None:
        """Name the rows of a mask (n,), if there are any.

        Raises:
            HistoryError: with the file, what was expected of how many rows, and the first of them.
        """
        if not wrong.any():
            return
        places = np.flatnonzero(wrong)
        named = "; ".join(self._row(place) for place in places[:_NAMED])
        more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
        raise HistoryError(
            f"{self.path}: expected {expected}, got {named}{more}"
            + (f": {remedy}" if remedy else "")
        )

    def numbers(self, column: str) -> FloatArray:
        """(n,) values of a column; NaN where the cell is empty.

        Raises:
            HistoryError: a cell is neither empty nor a finite number.
        """
        told = self.frame[column]
        values = pd.to_numeric(told, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = (np.isnan(values) & told.notna().to_numpy()) | np.isinf(values)
        self.reject_rows(
            wrong, f"finite numbers as {column}", "leave the cell empty if it is unknown"
        )
        return values

    def codes(self, column: str) -> tuple[AnyArray, list[str]]:
        """(n,) place of each row's name in the sorted names of a column, and these names."""
        if column not in self.frame:
            return np.zeros(len(self.frame), dtype=np.int64), [""]
        told = self.frame[column].cat.remove_unused_categories()
        order = np.argsort(told.cat.categories.to_numpy(dtype=object))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        names = [str(told.cat.categories[place]) for place in order]
        return rank[told.cat.codes.to_numpy()], names

    def names(self, column: str) -> list[str]:
        """Of every row; empty where the table has no such column."""
        if column not in self.frame:
            return [""] * len(self.frame)
        return [str(value) for value in self.frame[column]]

    def _row(self, place: int) -> str:
        row = self.frame.iloc[place]
        told = ", ".join(f"{key} {row[key]!s}" for key in row.index[:7] if not _is_empty(row[key]))
        return f"row {self.frame.index[place] + self.first} ({told or 'empty'})"


def has_table(folder: Path, name: str) -> bool:
    """Whether a folder has that table, in any format."""
    return any((folder / f"{name}{ending}").exists() for ending in ENDINGS)


def read_table(folder: Path, name: str, columns: Sequence[str] = ()) -> Table:
    """A table with all of ``columns``, names in them as categories.

    Without ``columns``, the first column of the table holds names too.

    Raises:
        HistoryError: no such file, one that cannot be read, without a column, or with a row that
            lacks a name.
    """
    path = _path(folder, name)
    try:
        kind = _parquet if path.suffix == ".parquet" else _csv
        frame = kind(path, not columns)
    except Exception as error:  # every format has exceptions of its own
        reason = " ".join(str(error).split())
        raise HistoryError(f"{path}: cannot be read as a table: {reason}") from error
    if missing := [column for column in columns if column not in frame]:
        raise HistoryError(
            f"{folder}: {name}: expected the columns {', '.join(columns)}, missing "
            f"{', '.join(missing)}"
        )
    table = Table(path, frame, 1 if path.suffix == ".parquet" else 2)
    for column in columns:
        if column in NAMES:
            nameless = (frame[column].isna() | (frame[column] == "")).to_numpy()
            table.reject_rows(nameless, f"a {column} in every row")
    if columns and "run" in frame and "step" not in frame:
        keys = [column for column in columns if column in NAMES]
        again = frame.duplicated([*keys, "run"], keep=False) & (frame["run"] != "")
        table.reject_rows(
            again.to_numpy(), "every run of a cell once", "give repeats names of their own"
        )
    return table


def _path(folder: Path, name: str) -> Path:
    there = [path for ending in ENDINGS if (path := folder / f"{name}{ending}").exists()]
    if not there:
        raise HistoryError(
            f"{folder}: expected {name}.csv, {name}.csv.gz or {name}.parquet, found none"
        )
    if len(there) > 1:
        raise HistoryError(
            f"{folder}: expected one table {name}, got {', '.join(path.name for path in there)}: "
            "remove all but one"
        )
    return there[0]


def _csv(path: Path, first: bool) -> pd.DataFrame:
    columns = [str(column) for column in pd.read_csv(path, nrows=0).columns]
    names = _of_names(columns, first)
    frame = pd.read_csv(
        path,
        dtype=dict.fromkeys(names, "str"),  # as categories, 007 would be read as a number
        keep_default_na=False,
        na_values={column: _EMPTY for column in columns if column not in names},
        float_precision="round_trip",
    )
    return frame.assign(**{column: frame[column].astype("category") for column in names})


def _parquet(path: Path, first: bool) -> pd.DataFrame:
    frame = pd.read_parquet(path).reset_index(drop=True)
    texts = {name: frame[name].astype("object") for name in _of_names(list(frame.columns), first)}
    named = {name: text.where(text.isna(), text.map(str)) for name, text in texts.items()}
    return frame.assign(**{n: text.fillna("").astype("category") for n, text in named.items()})


def _of_names(columns: Sequence[str], first: bool) -> list[str]:
    """Columns that hold names: the first too, where it names the rows."""
    return [column for i, column in enumerate(columns) if column in NAMES or (first and not i)]


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or bool(pd.isna(value))


def list_names(names: Iterable[str]) -> str:
    """Names for a message; the first twelve of many."""
    known = list(names)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return (", ".join(known[:12]) + more) or "none"
