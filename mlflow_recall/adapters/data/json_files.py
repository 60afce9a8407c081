"""JSON and JSON Lines: values keep their types, and texts are read letter by letter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.data.tables import Source, Table
from mlflow_recall.adapters.data.text_files import decode_text, file_ending, read_bytes
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_COLUMNS, MAX_ROWS

_EXPECTED = "expected one object a line, a list of objects, or an object of lists"


def read_json(path: Path, spec: DatasetSpec) -> Source:
    """Read a file of JSON Lines, of a list of objects, or of an object of lists (the columns).

    An object with a single list of objects is that list.

    Raises:
        DatasetError: It is no such file; the message names the line.
    """
    text, encoding = decode_text(read_bytes(path), path, spec.encoding or None)
    reading = [f"read as {encoding}"] if not (spec.encoding or encoding.startswith("utf-8")) else []
    if file_ending(path) == ".json":
        try:
            return _source(_to_columns(json.loads(text), path), reading)
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):  # several values: lines
                raise _unreadable(path, f"line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, _reason(error)) from None
    return _source(_read_lines(text, path), reading)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _unreadable(path: Path, reason: str) -> DatasetError:
    return DatasetError(f"{path}: cannot be read as a dataset: {reason}: {_EXPECTED}")


def _read_lines(text: str, path: Path) -> Mapping[str, list[Any]]:
    """Return the columns of JSON Lines."""
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else _reason(error)
            raise _unreadable(path, f"line {number}: {message}") from None
        if not isinstance(row, dict):
            raise _unreadable(path, f"line {number}: got {type(row).__name__}")
        rows.append(row)
    return _columns_of(rows, path)


def _to_columns(content: Any, path: Path) -> Mapping[str, list[Any]]:
    """Return the columns of one JSON value."""
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        rows = [value for value in lists if value and all(isinstance(row, dict) for row in value)]
        if len(rows) == 1:
            return _columns_of(rows[0], path)
        if len(lists) == len(content) and len({len(value) for value in lists}) == 1:
            return content
        if not lists:  # the only line of a file of JSON Lines
            return _columns_of([content], path)
        raise _unreadable(path, "got an object of other values")
    if not isinstance(content, list):
        raise _unreadable(path, f"got {type(content).__name__}")
    for i, row in enumerate(content, start=1):
        if not isinstance(row, dict):
            raise _unreadable(path, f"row {i}: got {type(row).__name__}")
    return _columns_of(content, path)


def _columns_of(rows: Sequence[Mapping[str, Any]], path: Path) -> Mapping[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    if len(names) > MAX_COLUMNS or len(rows) > MAX_ROWS:
        raise DatasetError(
            f"{path}: expected at most {MAX_COLUMNS} columns and {MAX_ROWS} rows, got "
            f"{len(names)} and {len(rows)}"
        )
    return {name: [row.get(name) for row in rows] for name in names}


def _source(columns: Mapping[str, list[Any]], reading: Sequence[str]) -> Source:
    texts = tuple(
        name
        for name, values in columns.items()
        if any(isinstance(value, str) for value in values)
        and all(value is None or isinstance(value, str) for value in values)
    )
    table = Table(columns=columns, texts=texts)
    return Source(tables={"train": table}, reading=tuple(reading))
