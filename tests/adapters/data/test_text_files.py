"""A text file is read letter by letter, by the one dialect that fits, or refused in one line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlflow_recall.adapters.data import text_files
from mlflow_recall.adapters.data.tables import Source
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

ROWS = [("text", "label"), ("one, or more", "NA"), ('says "hi"', "007"), ("über 5€", "null")]
LONE = "text\tlabel\n" + "".join(
    f"{chr(34) if i in (7, 31) else ''}words {i}\t{'abc'[i % 3]}\n" for i in range(60)
)


def read(path: Path, content: str | bytes, **fields: Any) -> Source:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return text_files.read_delimited(path, DatasetSpec(path=str(path), **fields))


def columns(source: Source) -> dict[str, list[str]]:
    return {name: list(cells) for name, cells in source.tables["train"].columns.items()}


def as_csv(rows: Sequence[tuple[str, ...]], delimiter: str = ",") -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return stream.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_any_delimiter_and_encoding_gives_the_same_cells(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    source = read(tmp_path / "a.csv", as_csv(ROWS, delimiter).encode(encoding))

    assert columns(source) == {
        "text": [row[0] for row in ROWS[1:]],
        "label": ["NA", "007", "null"],
    }
    is_usual = (delimiter == ",", encoding.startswith("utf-8"))
    assert len(source.reading) == is_usual.count(False)


def test_gzip_is_unpacked_and_a_torn_one_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress(as_csv(ROWS).encode())

    assert columns(read(tmp_path / "a.csv.gz", packed))["label"] == ["NA", "007", "null"]
    with pytest.raises(DatasetError, match=r"b\.csv\.gz: cannot be read as a dataset"):
        read(tmp_path / "b.csv.gz", packed[:-9])


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines_of_every_system_end_a_row(tmp_path: Path, newline: str) -> None:
    content = newline.join(["text,label", "a,x", '"b', 'c",y', ""])

    assert columns(read(tmp_path / "a.csv", content)) == {
        "text": ["a", f"b{newline}c"], "label": ["x", "y"],
    }  # fmt: skip


def test_lone_quotation_marks_are_text(tmp_path: Path) -> None:
    """Two texts that begin with one would swallow what is between them."""
    source = read(tmp_path / "a.tsv", LONE)

    assert len(source.tables["train"]) == 60
    assert columns(source)["text"][7] == '"words 7'
    assert source.reading == ("quotation marks are text",)


def test_marks_that_pair_up_over_rows_are_asked_about(tmp_path: Path) -> None:
    """One text begins with a mark and a later one ends with one: both readings are possible."""
    content = LONE.replace('"words 31', 'words 31"')

    with pytest.raises(DatasetError, match=r"row 8 \(line 9\): .* closes in line 33, .*--quoting"):
        read(tmp_path / "a.tsv", content)
    assert len(read(tmp_path / "b.tsv", content, quoting="none").tables["train"]) == 60
    assert len(read(tmp_path / "c.tsv", content, quoting="double").tables["train"]) == 36


def test_cells_over_several_lines_are_cells(tmp_path: Path) -> None:
    rows = [("text", "label"), *((f"a {i}\nb, c\nd", "xy"[i % 2]) for i in range(20))]

    assert len(read(tmp_path / "a.csv", as_csv(rows)).tables["train"]) == 20


def test_backslashes_may_escape_quotation_marks(tmp_path: Path) -> None:
    content = 'text,label\n"he said \\"hi\\", twice",x\n"no, never",y\n'

    source = read(tmp_path / "a.csv", content)

    assert columns(source)["text"] == ['he said "hi", twice', "no, never"]
    assert source.reading == ("quoted with backslashes",)


def test_a_row_with_too_many_cells_is_named_with_the_options_that_help(tmp_path: Path) -> None:
    content = "text,label\na,x\nb, and more,y\n"

    with pytest.raises(DatasetError, match=r"row 2 \(line 3\): expected 2 cells .* got 3: .*--del"):
        read(tmp_path / "a.csv", content)


def test_rows_with_too_few_cells_are_counted(tmp_path: Path) -> None:
    source = read(tmp_path / "a.csv", "text,label\na,x\nb\n\nc,y\n")

    assert columns(source)["text"] == ["a", "c"]
    assert source.left_out.counts == {"too few cells": 1}
    assert source.left_out.places == {"too few cells": ("row 2 (line 3)",)}
    assert source.tables["train"].place(1) == "row 3 (line 5)"


def test_the_line_that_tells_excel_the_delimiter_is_no_header(tmp_path: Path) -> None:
    source = read(tmp_path / "a.csv", "sep=;\ntext;label\na, b;x\nc;y\n")

    assert columns(source) == {"text": ["a, b", "c"], "label": ["x", "y"]}
    assert source.tables["train"].place(0) == "row 1 (line 3)"


def test_empty_cells_after_the_last_column_are_nothing(tmp_path: Path) -> None:
    assert columns(read(tmp_path / "a.csv", "text,label,,\na,x,,\nb,y,,\n")) == {
        "text": ["a", "b"], "label": ["x", "y"],
    }  # fmt: skip


def test_of_two_delimiters_the_named_columns_decide(tmp_path: Path) -> None:
    content = "a;b,c\n1;2,3\n4;5,6\n"

    with pytest.raises(DatasetError, match="which character delimits the columns"):
        read(tmp_path / "a.csv", content)
    assert columns(read(tmp_path / "b.csv", content, label="c"))["c"] == ["3", "6"]
    assert columns(read(tmp_path / "c.csv", content, delimiter="semicolon"))["b,c"] == [
        "2,3",
        "5,6",
    ]


def test_a_delimiter_in_the_texts_alone_is_text(tmp_path: Path) -> None:
    source = read(tmp_path / "a.csv", "text;label\na, b;x\nc;y\n")

    assert columns(source) == {"text": ["a, b", "c"], "label": ["x", "y"]}
    assert source.reading == ("delimited by semicolons",)


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (b"text,label\na,x\xff\xfe\x81\n", {}, "expected text, got"),
        (
            b"text,label\na\x00b,x\n",
            {},
            "line 2: save it as UTF-8, or name its enc",
        ),
        (b"text,label\na,x\n", {"encoding": "utf-99"}, "encoding: expected one that Python knows"),
        ("text,label\nü,x\n".encode("cp1252"), {"encoding": "utf-8"}, "expected utf-8 text, got"),
        (b"text,text\na,x\n", {}, "header: expected every column once, got 'text' twice"),
        (b",,\n1,2,3\n", {}, "header: expected names of columns, got none"),
        (b"text,label\n", {}, "expected labeled rows under its header, got none"),
        (b"\n\n", {}, "expected labeled rows under its header, got none"),
        (
            b"text,label\na,x\n",
            {"delimiter": "words"},
            "delimiter: expected one character or one",
        ),
        (
            b"text,label\na,x\n",
            {"quoting": "odd"},
            "quoting: expected one of double, backs",
        ),
    ],
)
def test_what_is_no_text_file_is_one_line(
    tmp_path: Path, content: bytes, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path / "a.csv", content, **fields)
    assert "\n" not in str(error.value)


def test_utf_8_with_a_foreign_byte_is_named_by_its_line(tmp_path: Path) -> None:
    """As cp1252, all its other letters would be garbled without a word."""
    content = b"text,label\n" + "schön,größer\n".encode() * 9 + "für,x\n".encode("cp1252")

    with pytest.raises(DatasetError, match="got a byte that is no UTF-8 in line 11"):
        read(tmp_path / "a.csv", content)


def test_limits_are_refused_before_they_cost_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "MAX_CELL", 20)
    monkeypatch.setattr(text_files, "MAX_COLUMNS", 3)
    monkeypatch.setattr(text_files, "MAX_BYTES", 200)
    monkeypatch.setattr(text_files, "MAX_ROWS", 4)
    for content, message in (
        ("text,label\n" + "a" * 21 + ",x\n", r"row 1 \(line 2\): expected cells of at most 20 ch"),
        ("a,b,c,d\n1,2,3,4\n", "expected at most 3 columns, got 4"),
        ("text,label\n" + "a,x\n" * 5, "expected at most 4 rows"),
        ("text,label\n" + "a,x\n" * 50, "expected at most 0 GiB"),
    ):
        with pytest.raises(DatasetError, match=message):
            read(tmp_path / "a.csv", content)
    packed = gzip.compress(b"text,label\n" + b"a,x\n" * 1000)
    with pytest.raises(DatasetError, match="expected at most 0 GiB, unpacked"):
        read(tmp_path / "a.csv.gz", packed)
    assert csv.field_size_limit() > 20


def test_numbers_are_no_likely_texts(tmp_path: Path) -> None:
    table = read(tmp_path / "a.csv", ",id,text,x\n0,7,a,1.5\n1,8,b,-1e3\n").tables["train"]

    assert table.texts == ("text",)
    assert list(table.columns["id"]) == ["7", "8"]


CELLS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12
)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.sampled_from(",;\t|"))
@example([("\ufeff", "a")], ",")
def test_what_a_writer_of_csv_wrote_is_read_or_asked_about(
    rows: list[tuple[str, str]], delimiter: str
) -> None:
    """No cell is ever changed: a file that could be read in two ways is refused."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([("text", "label"), *rows])
    lines = list(io.StringIO(stream.getvalue(), newline=""))
    reading, message = choose(lines, DatasetSpec(path="a.csv"))

    if reading is None:
        assert "--quoting" in message or "--delimiter" in message
    else:
        assert [tuple(row) for row in reading] == rows


@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_one_line(data: bytes) -> None:
    try:
        text, _ = text_files.decode_text(data, Path("a.csv"), None)
    except DatasetError as error:
        message = str(error)
    else:
        _, message = choose(list(io.StringIO(text, newline="")), DatasetSpec(path="a.csv"))
    assert "\n" not in message


def choose(lines: list[str], spec: DatasetSpec) -> tuple[Sequence[Sequence[str]] | None, str]:
    """Return the rows of lines, or the message that refuses them."""
    try:
        return text_files._choose_reading(lines, Path("a.csv"), spec).rows, ""
    except DatasetError as error:
        return None, str(error)
