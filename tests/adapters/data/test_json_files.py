"""JSON keeps the types of its values, in each of the layouts that people write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.adapters.data import json_files
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

ROWS = [{"text": "2024-01-01", "label": "007"}, {"text": "b", "label": 1}, {"text": None}]
COLUMNS = {"text": ["2024-01-01", "b", None], "label": ["007", 1, None]}


def read(path: Path, content: str | bytes) -> dict[str, list[Any]]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = json_files.read_json(path, DatasetSpec(path=str(path)))
    return {name: list(cells) for name, cells in source.tables["train"].columns.items()}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ROWS),
        json.dumps({"data": ROWS}),
        json.dumps({"version": 1, "rows": ROWS, "tags": []}),
        json.dumps(COLUMNS),
        "\n".join(map(json.dumps, ROWS)),
    ],
)
def test_every_layout_gives_the_same_columns(tmp_path: Path, content: str) -> None:
    """A date stays the text that it is, and a number a number."""
    assert read(tmp_path / "a.json", content) == COLUMNS


def test_lines_may_be_empty_and_in_utf_16(tmp_path: Path) -> None:
    content = "\n\n".join(map(json.dumps, ROWS)) + "\n"

    assert read(tmp_path / "a.jsonl", content) == COLUMNS
    assert read(tmp_path / "b.jsonl", content.encode("utf-16")) == COLUMNS


def test_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\x0bc", "label": "x"}]

    assert read(tmp_path / "a.jsonl", json.dumps(rows[0], ensure_ascii=False)) == {
        "text": ["a\u2028b\x0bc"], "label": ["x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": ', "line 2: Expecting value"),
        ("a.jsonl", '{"a": 1}\n[1]', "line 2: got list"),
        ("a.json", "3", "got int"),
        ("a.json", "[1, 2]", "row 1: got int"),
        ("a.json", '{"a": [1], "b": [1, 2]}', "got an object of other values"),
        ("a.json", '{"a": ', "line 1: Expecting value"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.jsonl", "[" * 100_000, "line 1: nested too deeply"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", "line 1: Exceeds the limit"),
    ],
)
def test_what_is_no_such_file_is_one_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message) as error:
        read(tmp_path / name, content)
    assert "\n" not in str(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=4), values),
    max_leaves=12,
)


@given(JSON | st.lists(st.dictionaries(st.sampled_from(["text", "label"]), JSON), max_size=4))
def test_any_json_is_columns_of_one_length_or_one_line(content: Any) -> None:
    try:
        columns = json_files._to_columns(content, Path("a.json"))
    except DatasetError as error:
        message = str(error)
    else:
        message = ""
        assert len({len(values) for values in columns.values()}) <= 1
    assert "\n" not in message
