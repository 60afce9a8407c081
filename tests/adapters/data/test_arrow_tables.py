"""Parquet files keep their types, and damaged ones are one line."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from mlflow_recall.adapters.data import arrow_tables
from mlflow_recall.adapters.data.labeled_rows import read_content
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

TEXTS = [f"text {i}" for i in range(12)]
LABELS = ["no", "yes"] * 6


def parquet_bytes(**columns: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream)
    return stream.getvalue()


WHOLE = parquet_bytes(text=TEXTS, label=LABELS)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array(["007", "7", "NA"] * 4), ("007", "7", "NA")),
        (pa.array([1, None, 2] * 4, pa.uint8()), ("1", "2")),
        (pa.array(["b", "a", None] * 4).dictionary_encode(), ("a", "b")),
        (pa.array(["b", "a", "a"] * 4, pa.large_string()), ("a", "b")),
        (pa.array([2, 1, 1] * 4, pa.decimal128(5, 1)), ("1.0", "2.0")),
        (
            pa.array([date(2024, 1, 2), date(2024, 1, 1)] * 6),
            ("2024-01-01", "2024-01-02"),
        ),
    ],
)
def test_labels_of_every_type_are_understood(
    tmp_path: Path, labels: Any, classes: tuple[str, ...]
) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet_bytes(text=TEXTS, label=labels))

    assert read_content(DatasetSpec(path=str(path))).classes == classes


def test_limits_are_checked_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(WHOLE)
    spec = DatasetSpec(path=str(tmp_path / "a.parquet"))
    monkeypatch.setattr(arrow_tables, "MAX_ROWS", 11)
    with pytest.raises(DatasetError, match="at most 1000 columns and 11 rows, got 2 and 12"):
        read_content(spec)
    monkeypatch.setattr(arrow_tables, "MAX_COLUMNS", 1)
    with pytest.raises(DatasetError, match="at most 1 columns and 11 rows, got 2"):
        read_content(spec)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6),
    st.integers(0, len(WHOLE)),
)
@example([(39, 128)], 0)  # a text that is not Unicode
def test_a_damaged_file_is_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    path = tmp_path_factory.mktemp("damaged") / "a.parquet"
    path.write_bytes(data[:length] if not changes else data)
    try:
        read_content(DatasetSpec(path=str(path)))
    except DatasetError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
