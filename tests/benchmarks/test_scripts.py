"""Every script of benchmarks/ runs to its end on something tiny, as `python benchmarks/NAME.py`."""

from __future__ import annotations

import importlib
import json
import runpy
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fakes import InlineEngine
from prepared import Zoo, text_zoo

from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.cli.groups import StoreOptions
from mlflow_recall.cli.session import Session, open_session
from mlflow_recall.core.history.records import Member

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "benchmarks"
MODELS = [f"{family}-{size}" for family in ("bert", "gpt", "t5") for size in range(4)]
DATASETS = ["cola", "mrpc", "rte", "sst2", "wnli"]
STAGES = 4

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """What a script prints; modules that it imports from its own folder are forgotten again."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr("mlflow_recall.engines.get_engine", lambda *_: InlineEngine())

    def run(name: str, *argv: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, argv)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of very few values
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    yield run
    for name in sys.modules.keys() - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).parent == SCRIPTS:
            del sys.modules[name]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Twelve models on five datasets, with curves, and scores that follow the results."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "tables"
    folder.mkdir()
    matrix, curves, scores = [], [], []
    for i, model in enumerate(MODELS):
        for j, dataset in enumerate(DATASETS):
            final = 0.5 + 0.02 * i + 0.05 * j + rng.normal(0, 0.02)
            cell = {"model": model, "dataset": dataset}
            matrix.append({**cell, "metric": "accuracy", "value": final})
            scores.append({**cell, "score_name": "LogME", "value": final + rng.normal(0, 0.05)})
            for step in range(STAGES):
                value = final - 0.3 * 0.5**step * (step + 1 < STAGES)
                point = {**cell, "step": step + 1, "metric": "accuracy", "value": value}
                curves += [{**point, "split": split} for split in ("val", "test")]
    pd.DataFrame(matrix).to_csv(folder / "matrix.csv", index=False)
    pd.DataFrame(curves).to_csv(folder / "curves.csv", index=False)
    pd.DataFrame(scores).to_csv(folder / "proxy.csv", index=False)
    return folder


@pytest.fixture
def zoo(store: str) -> Zoo:
    return text_zoo(store)


def table_of(text: str, head: str) -> list[list[str]]:
    """Cells of the Markdown table whose first line has this head, without that line."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|") and head in line)
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_every_script_has_a_test() -> None:
    """A script is what can be started; the others are parts of one."""
    scripts = {path.stem for path in SCRIPTS.glob("*.py") if "__main__" in path.read_text()}

    assert {f"test_{name}" for name in scripts} <= globals().keys()


def test_backtest(run: Run, tables: Path, tmp_path: Path) -> None:
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"

    printed = run("backtest", tables, "--to", page, "--json", numbers)

    assert "12 models x 5 datasets" in printed
    assert "### tables, accuracy" in page.read_text()
    assert list(json.loads(numbers.read_text())) == ["tables//accuracy"]


def test_recall(run: Run, tables: Path, tmp_path: Path) -> None:
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"

    printed = run("recall", tables, "--to", page, "--json", numbers)

    names = [row[0] for row in table_of(printed, "| recommender |")]
    assert {"prior", "blend", "portfolio", "random"} <= set(names)
    assert "12 models x 5 datasets" in page.read_text()
    assert {"tables/accuracy", "tables/accuracy/probes", "tables/accuracy/poster"} <= (
        json.loads(numbers.read_text()).keys()
    )


def test_cold_start(run: Run, tables: Path) -> None:
    """Every model is new once, by features that are parts of its name."""
    printed = run("cold_start", tables.parent, "--references", 4)

    ((record, models, scores, *_),) = table_of(printed, "| record |")
    assert (record, models, scores) == ("tables, accuracy", "12", "LogME")


def test_sub_zoos(run: Run, tables: Path) -> None:
    printed = run("sub_zoos", tables, "--models", 6, "--draws", 2)

    policies = [row[0] for row in table_of(printed, "policy")]
    assert {"halving", "fine_selection", "cost_aware"} <= set(policies)


def test_scores(run: Run, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"

    run("scores", "--size", "80,8,3", "--json", numbers)

    rows = json.loads(numbers.read_text())
    assert {"leep", "logme", "all features"} <= {row["what"] for row in rows}
    assert all(row["seconds"] >= 0 for row in rows)


def test_normalize(run: Run, zoo: Zoo) -> None:
    printed = run("normalize", "--namespace", zoo.namespace, "--most", 2)

    rows = {row[0]: row[1] for row in table_of(printed, "| score |")}
    assert rows["`logme`"] == "2"


@pytest.mark.slow
def test_optional_features(run: Run, zoo: Zoo) -> None:
    printed = run("optional_features", "--namespace", zoo.namespace, "--encoder", "tiny-0")

    rows = table_of(printed, "| recommender |")
    assert [row[0] for row in rows] == ["linear"] * 4 + ["factorization"] * 4


def test_example(run: Run, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A benchmark dataset as the target: its own runs are the brute force on record."""

    class FirstModels(MlflowRegistry):
        """The registry without winners of other tests, which have no record on the target."""

        def members(self, on_left_out: Callable[[str], None] | None = None) -> list[Member]:
            return [m for m in super().members(on_left_out) if m.name in zoo.models]

    @contextmanager
    def open_tiny(*_: object, **__: object) -> Iterator[Session]:
        with open_session(StoreOptions(tracking_uri=zoo.uri, namespace=zoo.namespace)) as session:
            registry = FirstModels(zoo.client, zoo.namespace)
            yield replace(
                session, services=replace(session.services, registry=registry), registry=registry
            )

    monkeypatch.setattr("mlflow_recall.cli.session.open_session", open_tiny)
    monkeypatch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path))  # the script sets one of its own
    listed = {"datasets": [{"path": str(zoo.folder / "set-0.csv"), "name": "one"}]}
    (tmp_path / "targets-tiny.yaml").write_text(yaml.safe_dump(listed))
    page = Path(shutil.copy(ROOT / "docs" / "results" / "example.md", tmp_path / "page.md"))

    printed = run("example", "--datasets", tmp_path, "--only", "one", "--to", page)

    strategies = {row[0]: row[1] for row in table_of(printed, "| strategy |")}
    assert strategies["brute force, whole zoo"] == strategies["recall, five, fine-selection"] == "1"
    assert all(row[0] in ("one", "all") for row in table_of(page.read_text(), "| target |"))


def test_tasks(run: Run, tmp_path: Path) -> None:
    """On the example's own history, which is read in a second."""
    page = tmp_path / "page.md"
    page.write_text("<!-- transfer -->\n<!-- end -->\n<!-- lora -->\n<!-- end -->\n")

    printed = run("tasks", "--to", page)

    rows = table_of(printed, "| asks for |")
    kinds = Counter(row[0] for row in rows if not row[1].startswith("mean of"))
    assert kinds == {"classes": 16, "pairs": 3, "numbers": 3, "labels": 1}
    assert all(-1 <= float(value) <= 1 for row in rows for value in row[2::2])
    assert len(table_of(page.read_text(), "| dataset | model |")) == 16


def test_fuzz_refuses_and_counts_what_would_be_written_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a damaged option would overwrite any file of the machine, unseen."""
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module("fuzz")
    root, victim = tmp_path / "root", tmp_path / "victim"
    for name in ("home", "cache", "input"):
        (root / name).mkdir(parents=True)
    victim.write_text("whole")
    (root / "cache" / "link").symlink_to(tmp_path)

    def write(folder: Path) -> None:
        (folder / "inside").write_text("x")
        for path in (victim, root / "cache" / "link" / "victim", folder / ".." / ".." / "victim"):
            with pytest.raises(PermissionError, match="outside of the folder"):
                path.write_text("lost")
            with pytest.raises(PermissionError, match="outside of the folder"):
                path.unlink()

    outcome = module.fuzz(module.Target({"a": b"x"}, write), 1, 0, root)

    assert (outcome.escaped, outcome.read) == (6, 1)
    assert victim.read_text() == "whole"
    victim.write_text("free again")


def test_fuzz_gives_no_command_an_option_that_names_a_file_to_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module("fuzz")

    for target in module._options().values():
        words = target.files["arguments"].decode().split("\n")
        assert not {"--json", "--to", "--figure", "--zoo-to"} & set(words)


def test_fuzz(run: Run) -> None:
    """A table with one row for each parser, and nothing that counts against it."""
    printed = run("fuzz", "--inputs", 3, "--only", "zoo", "export runs", "dataset CSV")

    rows = table_of(printed, "parser")
    assert [row[0] for row in rows] == ["zoo YAML", "export runs", "dataset CSV"]
    assert all(row[1] == "3" and row[4:7] == ["0", "0", "0"] for row in rows)
