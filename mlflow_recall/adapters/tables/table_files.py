"""Plain tables in a folder: located by name, read whole, checked, and quoted by row."""

from __future__ import annotations

import gzip
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mlflow_recall import limits
from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.errors import HistoryError

ENDINGS = (".csv", ".csv.gz", ".parquet")
#: columns that hold names: they are never numbers, and ``NA`` is a name like any other
NAMES = ("model", "dataset", "metric", "split", "run", "score_name")
#: what an empty cell may look like in every other column
_EMPTY_CELLS = ["", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "NULL", "null", "None"]
#: number of rows that an error message quotes at most
_MAX_QUOTED_ROWS = 3
#: number of columns of a quoted row at most
_MAX_QUOTED_COLUMNS = 7


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of one file; the index keeps their place in it through every selection."""

    path: Path
    frame: pd.DataFrame
    #: number of the first row of data, as an editor or a spreadsheet counts
    first: int

    def select_rows(self, keep: AnyArray) -> Table:
        """Return the rows that a mask (n,) keeps."""
        return replace(self, frame=self.frame[keep])

    def reject_rows(self, wrong: AnyArray, expected: str, remedy: str = "") -> None:
        """Raise an error that quotes the rows of a mask, if there are any.

        Args:
            wrong: (n,) mask of the rows that are not as expected.
            expected: What was expected of each row.
            remedy: What the user can do.

        Raises:
            HistoryError: A row is wrong; the first of them are quoted and the others counted.
        """
        if not wrong.any():
            return
        positions = np.flatnonzero(wrong)
        quoted = "; ".join(self._quote_row(position) for position in positions[:_MAX_QUOTED_ROWS])
        unquoted = len(positions) - _MAX_QUOTED_ROWS
        more = f" and {unquoted} more" if unquoted > 0 else ""
        raise HistoryError(
            f"{self.path}: expected {expected}, got {quoted}{more}"
            + (f": {remedy}" if remedy else "")
        )

    def numbers(self, column: str) -> FloatArray:
        """Return the (n,) values of a column; NaN where the cell is empty.

        Raises:
            HistoryError: A cell is neither empty nor a finite number.
        """
        cells = self.frame[column]
        if not pd.api.types.is_numeric_dtype(cells):  # times would become numbers, and lists errors
            is_plain = cells.map(lambda cell: isinstance(cell, (str, int, float)))
            cells = cells.where(cells.isna() | is_plain, "no number")
        values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = (np.isnan(values) & cells.notna().to_numpy()) | np.isinf(values)
        self.reject_rows(
            wrong, f"finite numbers as {column}", "leave the cell empty if it is unknown"
        )
        return values

    def codes(self, column: str) -> tuple[AnyArray, list[str]]:
        """Return the (n,) indices of each row's name in the sorted names, and these names."""
        if column not in self.frame:
            return np.zeros(len(self.frame), dtype=np.int64), [""]
        categorical = self.frame[column].cat.remove_unused_categories()
        order = np.argsort(categorical.cat.categories.to_numpy(dtype=object))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        names = [str(categorical.cat.categories[position]) for position in order]
        return rank[categorical.cat.codes.to_numpy()], names

    def names(self, column: str) -> list[str]:
        """Return the name in every row; empty names where the table has no such column."""
        if column not in self.frame:
            return [""] * len(self.frame)
        return [str(value) for value in self.frame[column]]

    def _quote_row(self, position: int) -> str:
        row = self.frame.iloc[position]
        cells = ", ".join(
            f"{column} {row[column]!s}"
            for column in row.index[:_MAX_QUOTED_COLUMNS]
            if not _is_empty(row[column])
        )
        return f"row {self.frame.index[position] + self.first} ({cells or 'empty'})"


def has_table(folder: Path, name: str) -> bool:
    """Return whether a folder has that table, in any format."""
    return any((folder / f"{name}{ending}").exists() for ending in ENDINGS)


def read_table(folder: Path, name: str, columns: Sequence[str] = ()) -> Table:
    """Read a table, with its names as categories.

    Args:
        folder: Folder with the table.
        name: Name of the table, without an ending.
        columns: Columns that it must have; without any, its first column holds names too.

    Raises:
        HistoryError: There is no such file, it cannot be read, a column is missing, or a row has no
            name.
    """
    path = _find_table(folder, name)
    try:
        read = _read_parquet if path.suffix == ".parquet" else _read_csv
        with warnings.catch_warnings():
            # a row that is longer than the header loses cells
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = read(path, has_keys=not columns)
    except Exception as error:  # every format has exceptions of its own
        reason = " ".join(str(error).split())[:300]
        raise HistoryError(f"{path}: cannot be read as a table: {reason}") from error
    if missing := [column for column in columns if column not in frame]:
        raise HistoryError(
            f"{folder}: {name}: expected the columns {', '.join(columns)}, missing "
            f"{', '.join(missing)}"
        )
    table = Table(path, frame, 1 if path.suffix == ".parquet" else 2)
    for column in columns:
        if column in NAMES:
            is_nameless = (frame[column].isna() | (frame[column] == "")).to_numpy()
            table.reject_rows(is_nameless, f"a {column} in every row")
    if columns and "run" in frame and "step" not in frame:
        keys = [column for column in columns if column in NAMES]
        is_repeated = frame.duplicated([*keys, "run"], keep=False) & (frame["run"] != "")
        table.reject_rows(
            is_repeated.to_numpy(), "every run of a cell once", "give repeats names of their own"
        )
    return table


def _find_table(folder: Path, name: str) -> Path:
    paths = [path for ending in ENDINGS if (path := folder / f"{name}{ending}").exists()]
    if not paths:
        raise HistoryError(
            f"{folder}: expected {name}.csv, {name}.csv.gz or {name}.parquet, got none"
        )
    if len(paths) > 1:
        raise HistoryError(
            f"{folder}: expected one table {name}, got {', '.join(path.name for path in paths)}: "
            "remove all but one"
        )
    return paths[0]


def _read_csv(path: Path, *, has_keys: bool) -> pd.DataFrame:
    columns = _header(path)
    name_columns = _name_columns(columns, has_keys=has_keys)
    frame = pd.read_csv(
        path,
        dtype=dict.fromkeys(name_columns, "str"),  # as categories, 007 would be read as a number
        keep_default_na=False,
        na_values={column: _EMPTY_CELLS for column in columns if column not in name_columns},
        float_precision="round_trip",
        index_col=False,  # a row with more cells than the header would name the others
    )
    return frame.assign(**{column: frame[column].astype("category") for column in name_columns})


def _header(path: Path) -> list[str]:
    """Return the columns of a CSV file.

    Raises:
        ValueError: It is beyond a limit, or two columns have one name.
    """
    _check_size(path)
    first = pd.read_csv(path, header=None, nrows=1, dtype="str", keep_default_na=False)
    columns = [str(column) for column in first.iloc[0]]
    _check_columns(columns)
    return columns


def _check_size(path: Path) -> None:
    """Raise a ``ValueError`` if a file, unpacked, is beyond the limit."""
    size = path.stat().st_size
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            size = 0
            while size <= limits.MAX_TABLE_BYTES and (block := file.read(1 << 20)):
                size += len(block)
    if size > limits.MAX_TABLE_BYTES:
        raise ValueError(f"more than {limits.MAX_TABLE_BYTES} bytes")


def _check_columns(columns: Sequence[str]) -> None:
    """Raise a ``ValueError`` if there are too many columns, or two of one name."""
    if len(columns) > limits.MAX_COLUMNS:
        raise ValueError(f"{len(columns)} columns, more than {limits.MAX_COLUMNS}")
    if repeated := [column for column, count in Counter(columns).items() if count > 1]:
        raise ValueError(f"two columns are called {repeated[0]!r:.60}")


def _read_parquet(path: Path, *, has_keys: bool) -> pd.DataFrame:
    metadata = pq.read_metadata(path)
    _check_columns(metadata.schema.to_arrow_schema().names)
    if metadata.num_rows > limits.MAX_ROWS:
        raise ValueError(f"{metadata.num_rows} rows, more than {limits.MAX_ROWS}")
    frame = pd.read_parquet(path).reset_index(drop=True)
    name_columns = _name_columns(list(frame.columns), has_keys=has_keys)
    cells = {column: frame[column].astype("object") for column in name_columns}
    names = {column: cell.where(cell.isna(), cell.map(str)) for column, cell in cells.items()}
    return frame.assign(
        **{column: name.fillna("").astype("category") for column, name in names.items()}
    )


def _name_columns(columns: Sequence[str], *, has_keys: bool) -> list[str]:
    """Return the columns that hold names; with ``has_keys`` the first one too."""
    return [column for i, column in enumerate(columns) if column in NAMES or (has_keys and i == 0)]


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or bool(pd.isna(value))
