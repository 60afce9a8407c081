"""Lines of an export: each is checked whole, and what no store would accept is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prepared import RecordingReporter

from mlflow_recall.adapters.export.export_files import (
    check_destination,
    make_folder,
    read_models,
    read_runs,
)
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.errors import HistoryError

RUN: Mapping[str, Any] = {
    "run": "r1",
    "name": "a on d",
    "start": 1,
    "end": 2,
    "tags": {"recall.model": "a", "recall.dataset": "d", "recall.epochs": "2"},
    "params": {"model": "a"},
    "metrics": {"val/accuracy": [[1, 0.5], [2, float("nan")]], "test/accuracy": [[2, 0.5]]},
}
MODEL: Mapping[str, Any] = {"title": "a", "tags": {"recall.arch": "transformers/bert"}}


def export(folder: Path, runs: list[Any], models: list[Any]) -> Path:
    for name, entries in (("runs.jsonl", runs), ("models.jsonl", models)):
        lines = (entry if isinstance(entry, str) else json.dumps(entry) for entry in entries)
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_a_sound_export_is_read(tmp_path: Path) -> None:
    """A score that diverged is not a number, and stays one."""
    export(tmp_path, [RUN], [MODEL])

    assert [run["run"] for run in read_runs(tmp_path)] == ["r1"]
    assert [model["title"] for model in read_models(tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("run", 5, "run: expected text, got 5"),
        ("run", "", "run: expected text, got ''"),
        ("name", "\ud800", "surrogates not allowed"),
        ("name", "x" * 1000, "name: expected at most 750 characters, got 1000"),
        ("start", "now", "start: expected an integer, got 'now'"),
        ("start", 1.5, "start: expected an integer, got 1.5"),
        ("start", True, "start: expected an integer, got True"),
        ("end", 2**70, "end: expected an integer"),
        ("end", 0, "end: expected a time after the start"),
        ("params", [], r"params: expected a mapping, got \[\]"),
        ("params", {"model": 5}, "params: model: expected text, got 5"),
        ("params", {"x" * 300: "a"}, "maximum length of 250"),
        ("params", {"a;b": "c"}, "Names may only contain"),
        ("params", {"../x": "c"}, "must not resolve to other names"),
        ("tags", {"recall.model": 5}, "tags: recall.model: expected text, got 5"),
        ("tags", {"recall.model": ""}, "tag recall.model: expected text"),
        ("tags", {"recall.model": "a", "recall.epochs": "many"}, "expected a number of epochs"),
        (
            "tags",
            {"recall.model": "a", "recall.adopted_metrics": '{"m": {"test": 5}}'},
            "tag recall.adopted_metrics: expected JSON",
        ),
        ("metrics", [], r"metrics: expected a mapping, got \[\]"),
        ("metrics", {"val/accuracy": 5}, "expected a list of points, got 5"),
        ("metrics", {"val/accuracy": [5]}, r"expected \[step, value\], got 5"),
        ("metrics", {"val/accuracy": [[1, 2, 3]]}, r"expected \[step, value\]"),
        ("metrics", {"val/accuracy": [["1", 0.5]]}, "step: expected an integer, got '1'"),
        ("metrics", {"val/accuracy": [[1e300, 0.5]]}, "step: expected an integer"),
        ("metrics", {"val/accuracy": [[1, "high"]]}, "expected a finite number, got 'high'"),
        ("metrics", {"val/accuracy": [[1, None]]}, "expected a finite number, got None"),
        ("metrics", {"val/accuracy": [[1, float("inf")]]}, "expected a finite number, got inf"),
        ("metrics", {"val/accuracy": [[1, 10**400]]}, "expected a finite number"),
        ("metrics", {"a\nb": [[1, 0.5]]}, "Names may only contain"),
    ],
)
def test_a_run_that_no_store_accepts_is_named(
    key: str, value: object, message: str, tmp_path: Path
) -> None:
    """A server refuses each of these in the middle of an import, and keeps what came before."""
    export(tmp_path, [RUN, {**RUN, "run": "r2", key: value}], [MODEL])

    with pytest.raises(HistoryError, match=message) as error:
        list(read_runs(tmp_path))

    assert str(error.value).startswith(f"{tmp_path / 'runs.jsonl'}, line 2: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": 5}, "title: expected text, got 5"),
        ({"title": "a/b"}, "cannot contain '/' or ':'"),
        ({"title": ".."}, "must not resolve"),
        ({"title": "x" * 300}, "title: expected at most 250 characters, got 300"),
        ({"tags": {"recall.arch": None}}, "tags: recall.arch: expected text, got None"),
        ({"tags": {"recall.arch": "x", "a;b": "c"}}, "Names may only contain"),
        ({"title": "a"}, "expected every title once, got 'a' in line 1 too"),
    ],
)
def test_a_model_that_no_registry_accepts_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A bad name after a good one would leave one model and no runs."""
    export(tmp_path, [RUN], [MODEL, {**MODEL, "title": "b", **changes}])

    with pytest.raises(HistoryError, match=message) as error:
        list(read_models(tmp_path))

    assert str(error.value).startswith(f"{tmp_path / 'models.jsonl'}, line 2: ")


@pytest.mark.parametrize("file", ["runs.jsonl", "models.jsonl"])
def test_nothing_is_written_where_the_last_line_is_wrong(
    file: str, tmp_path: Path, client: MlflowClient, namespace: str
) -> None:
    """Without a check of all lines, those before it would be there already."""
    wrong_run, wrong_model = {**RUN, "run": "r2", "params": []}, {**MODEL, "title": "a/b"}
    if file == "runs.jsonl":
        export(tmp_path, [RUN, wrong_run], [MODEL])
    else:
        export(tmp_path, [RUN], [MODEL, wrong_model])
    registry = MlflowRegistry(client, namespace)

    with pytest.raises(HistoryError, match=f"{file}, line 2: "):
        HistoryTransfer(client, namespace, registry).import_history(tmp_path, RecordingReporter())

    assert registry.members() == []
    assert client.get_experiment_by_name(f"{namespace}/benchmark") is None


@pytest.mark.parametrize(
    "line",
    [
        '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
        "[" * 100000,
        "9" * 5000,
        "",
        "\u2028",
        '{"a": nul}',
    ],
)
def test_a_line_that_is_no_json_is_named(line: str, tmp_path: Path) -> None:
    """Deep nesting is an error of the parser, and huge integers are none for it."""
    export(tmp_path, [RUN, line], [MODEL])

    with pytest.raises(HistoryError, match=r"runs\.jsonl, line 2: expected"):
        list(read_runs(tmp_path))


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """A file may be damaged in the middle."""
    export(tmp_path, [RUN], [MODEL])
    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(b'{"run": "\xff"}\n')

    with pytest.raises(HistoryError, match=r"line 2: expected JSON, cannot be read"):
        list(read_runs(tmp_path))


def test_a_foreign_source_of_a_model_is_absent(
    tmp_path: Path, client: MlflowClient, namespace: str
) -> None:
    """An import must not register a version that asks a stranger for its weights."""
    source = {"recall.arch": "transformers/bert", "recall.modality": "text"}
    sources = ["http://evil/x", "file:///etc", "models:/other/1", "hf:/org/name"]
    models = [
        {"title": f"m{i}", "tags": {**source, "recall.source": text}}
        for i, text in enumerate(sources)
    ]
    export(tmp_path, [RUN], models)
    registry = MlflowRegistry(client, namespace)

    HistoryTransfer(client, namespace, registry).import_history(tmp_path, RecordingReporter())

    versions = [client.get_model_version(registry.name_of(f"m{i}"), "1") for i in range(4)]
    assert [version.source for version in versions] == [
        *(f"absent:/m{i}" for i in range(3)),
        "hf:/org/name",
    ]


# --- where an export is written ------------------------------------------------------------------


def test_a_folder_of_other_content_is_not_written_into(tmp_path: Path) -> None:
    """A typo in --to must not mix an export with somebody's files."""
    check_destination(tmp_path, ["runs.jsonl"])
    check_destination(tmp_path / "new", ["runs.jsonl"])
    (tmp_path / "runs.jsonl").touch()
    check_destination(tmp_path, ["runs.jsonl"])
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(HistoryError, match=r"expected a new or empty folder, .* with thesis\.tex"):
        check_destination(tmp_path, ["runs.jsonl"])
    with pytest.raises(HistoryError, match="expected a folder to write, got a file"):
        check_destination(tmp_path / "thesis.tex", ["runs.jsonl"])


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "nul\0"])
def test_a_folder_that_cannot_be_made_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(HistoryError, match="cannot be created: "):
        make_folder(tmp_path / name)
