"""The command line: exit codes, JSON for machines, and errors of one line."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytest
import yaml
from fakes import InlineEngine
from mlflow import MlflowClient
from mlflow.pyfunc import load_model
from prepared import TARGET_ROWS, Zoo, find_runs, image_zoo, text_zoo, write_zoo
from tiny import CLASSES, tiny_images, tiny_pairs, tiny_texts

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.ownership import owner_tags
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.cli import main
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.ports import Progress, StageResult

T = TypeVar("T")

COMMANDS: tuple[list[str], ...] = (
    [],
    ["register"],
    ["adopt"],
    ["benchmark"],
    ["cluster"],
    ["recommend"],
    ["explain"],
    ["recall"],
    ["select"],
    ["plan"],
    ["backtest"],
    ["history"],
    ["history", "show"],
    ["history", "export"],
    ["history", "import"],
)
#: commands whose help lists recommenders, scores or policies, which scikit-learn comes with
TABLE_COMMANDS: tuple[list[str], ...] = (
    ["recommend"],
    ["explain"],
    ["recall"],
    ["select"],
    ["plan"],
)


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """Standard output, read as one JSON object."""
        values = json.loads(self.out)
        assert isinstance(values, dict)
        return values


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """``main`` in this process, with tasks in this process too."""
    monkeypatch.setattr("mlflow_recall.engines.get_engine", lambda *_: InlineEngine())

    def run(*argv: object) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main([str(token) for token in argv])
        out, err = capfd.readouterr()
        code = leaving.value.code
        assert isinstance(code, int)
        return Answer(code, out, err)

    return run


@pytest.fixture
def zoo(store: str) -> Zoo:
    return text_zoo(store)


@pytest.fixture
def files(tmp_path: Path, zoo: Zoo) -> Path:
    """Datasets, each with one thing wrong with it."""
    good = pd.read_csv(zoo.target.path)
    (tmp_path / "empty.csv").write_text("")
    good.head(0).to_csv(tmp_path / "header.csv", index=False)
    good.assign(label="warm").to_csv(tmp_path / "one-class.csv", index=False)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 40)
    half = [*["train"] * (TARGET_ROWS - 1), "test"]
    strange = good.assign(split=half)
    strange.loc[TARGET_ROWS - 1, "label"] = "scorching"
    strange.to_csv(tmp_path / "strange.csv", index=False)
    good.assign(label=[i / 7 for i in range(TARGET_ROWS)]).to_csv(
        tmp_path / "fractions.csv", index=False
    )
    good.assign(split="holdout").to_csv(tmp_path / "holdout.csv", index=False)
    (tmp_path / "nothing").mkdir()
    tiny_images(tmp_path / "pictures", 12)
    return tmp_path


def holdings(uri: str) -> dict[str, object]:
    """Return the content of a store: experiments, runs with their status, registered models.

    Read from the file itself: through MLflow it would take most of the time of these tests.
    """
    columns = {
        "experiments": "name, lifecycle_stage",
        "runs": "run_uuid, status, lifecycle_stage",
        "registered_models": "name, last_updated_time",
        "model_versions": "name, version, last_updated_time",
    }
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store:
        return {
            table: set(store.execute(f"SELECT {names} FROM {table}"))  # noqa: S608
            for table, names in columns.items()
        }


#: what is wrong -> arguments, with FILES and TARGET put in, exit code, and words of the answer
BAD: dict[str, tuple[list[str], int, Sequence[str]]] = {
    "unknown dataset": (
        ["--dataset", "FILES/absent.csv"],
        1,
        ["absent.csv", "expected a file, a folder or a hub id"],
    ),
    "unknown hub dataset": (["--dataset", "nobody/nothing"], 1, ["nobody/nothing", "cannot be"]),
    "unknown text column": (
        ["--dataset", "TARGET", "--text", "body"],
        1,
        ["no text column 'body': expected one of text"],
    ),
    "unknown image column": (
        ["--dataset", "TARGET", "--image", "scan"],
        1,
        ["no image column 'scan'", "text, label"],
    ),
    "unknown label column": (
        ["--dataset", "TARGET", "--label", "stars"],
        1,
        ["no label column 'stars': expected one of text, label"],
    ),
    "unknown model": (
        ["--dataset", "TARGET", "--models", "gpt-9"],
        1,
        ["expected names or patterns of", "text--tiny-0", "got 'gpt-9'"],
    ),
    "unknown metric": (
        ["--dataset", "TARGET", "--metric", "beauty"],
        1,
        ["unknown metric 'beauty': expected one of accuracy, average_precision"],
    ),
    "unknown label": (
        ["--dataset", "FILES/strange.csv"],
        1,
        ["label 'scorching' of the test split never occurs in train", "cold, mild, warm"],
    ),
    "empty file": (["--dataset", "FILES/empty.csv"], 1, ["expected rows, got an empty file"]),
    "header alone": (["--dataset", "FILES/header.csv"], 1, ["header"]),
    "one class": (
        ["--dataset", "FILES/one-class.csv"],
        1,
        ["expected two classes or more, got ['warm']"],
    ),
    "numbers as classes": (
        ["--dataset", "FILES/fractions.csv", "--task", "classification"],
        1,
        ["expected at least 3 rows a class", "numbers need --task regression"],
    ),
    "accuracy of a regression": (
        ["--dataset", "FILES/fractions.csv", "--metric", "accuracy"],
        1,
        ["metric: expected one of a regression (mae, pearson, r2, rmse, spearman), got 'accuracy'"],
    ),
    "unreadable dataset": (
        ["--dataset", "FILES/torn.parquet"],
        1,
        ["torn.parquet: cannot be read as a dataset"],
    ),
    "binary rubbish": (["--dataset", "FILES/binary.csv"], 1, ["binary"]),
    "unknown kind of file": (
        ["--dataset", "FILES/notes.txt"],
        1,
        ["expected a file of type .csv", "got '.txt'"],
    ),
    "unknown split": (
        ["--dataset", "FILES/holdout.csv"],
        1,
        ["expected train, validation or test, got 'holdout'"],
    ),
    "empty folder": (["--dataset", "FILES/nothing"], 1, ["expected a folder of images"]),
    "no history": (
        ["--dataset", "TARGET", "--namespace", "nobody"],
        1,
        ["'nobody/benchmark'", "found none", "run `mlflow-recall benchmark` first"],
    ),
    "history without the modality": (
        ["--dataset", "FILES/pictures"],
        1,
        ["of modality 'image', got those of text", "run `mlflow-recall benchmark` on image"],
    ),
    "no models to recall": (["--dataset", "TARGET", "--top-k", "0"], 2, ["top-k", "x>=1"]),
    "top-k that is no number": (
        ["--dataset", "TARGET", "--top-k", "many"],
        2,
        ["top-k", "expected a number of models (x>=1) or auto, got 'many'"],
    ),
    "size that is no number": (
        ["--dataset", "TARGET", "--max-params", "big"],
        1,
        ["max_params: expected a number such as 30M, got 'big'"],
    ),
    "condition that is none": (
        ["--dataset", "TARGET", "--where", "x"],
        1,
        ["where: expected tag=value or tag!=value, got 'x'"],
    ),
    "constraints that nobody fulfils": (
        ["--dataset", "TARGET", "--where", "family=huge"],
        1,
        ["constraints: expected at least one model", "not family=huge"],
    ),
    "confidence out of range": (
        ["--dataset", "TARGET", "--confidence", "2"],
        1,
        ["confidence: expected a share between 0 and 1, got 2"],
    ),
    "unknown policy": (
        ["--dataset", "TARGET", "--policy", "luck"],
        1,
        ["unknown policy 'luck': expected one of brute_force, cost_aware, fine_selection, halving"],
    ),
    "unknown policy option": (
        ["--dataset", "TARGET", "--policy-option", "speed=9"],
        1,
        ["unknown policy option 'speed': expected one of min_gain_per_epoch, threshold"],
    ),
    "policy option of another policy": (
        ["--dataset", "TARGET", "--policy", "cost_aware", "--threshold", "0.1"],
        1,
        ["unknown policy option 'threshold': expected one of min_gain_per_epoch"],
    ),
    "policy option without a value": (
        ["--dataset", "TARGET", "--policy-option", "threshold"],
        2,
        ["policy-option", "expected NAME=VALUE, got 'threshold'"],
    ),
    "unknown recommender": (
        ["--dataset", "TARGET", "--recommender", "friend"],
        1,
        ["unknown recommender 'friend': expected one of blend, ", "portfolio, ", "prior"],
    ),
    "unknown score": (
        ["--dataset", "TARGET", "--score", "taste"],
        1,
        ["unknown score 'taste': expected one of auto, ", "leep, ", "logme"],
    ),
    "unknown final": (
        ["--dataset", "TARGET", "--final", "maybe"],
        1,
        ["'maybe': expected one of auto, full, same"],
    ),
    "unknown freezing": (
        ["--dataset", "TARGET", "--freeze", "solid"],
        1,
        ["freeze: expected one of nothing, embeddings, backbone, got 'solid'"],
    ),
    "unknown mode": (
        ["--dataset", "TARGET", "--mode", "half"],
        1,
        ["mode: expected one of full, frozen, lora, got 'half'"],
    ),
    "threshold out of range": (
        ["--dataset", "TARGET", "--threshold", "1.5"],
        1,
        ["threshold: expected a share in [0, 1), got 1.5"],
    ),
    "tolerance out of range": (
        ["--dataset", "TARGET", "--tolerance", "-1"],
        1,
        ["tolerance: expected 0 or more, got -1"],
    ),
    "metric of another task": (
        ["--dataset", "TARGET", "--metric", "spearman"],
        1,
        ["metric: expected one of a classification of 3 classes (accuracy, ", "got 'spearman'"],
    ),
    "metric of two classes": (
        ["--dataset", "TARGET", "--metric", "f1"],
        1,
        ["metric: expected one of a classification of 3 classes (accuracy, ", "got 'f1'"],
    ),
    "learning rate out of range": (
        ["--dataset", "TARGET", "--learning-rate", "0"],
        2,
        ["learning-rate", "x>0"],
    ),
    "learning rate that is no number": (
        ["--dataset", "TARGET", "--learning-rate", "nan"],
        2,
        ["learning-rate", "expected a finite number, got 'nan'"],
    ),
    "epochs out of range": (["--dataset", "TARGET", "--epochs", "0"], 2, ["epochs", "x>=1"]),
    "seed out of range": (["--dataset", "TARGET", "--seed", "-1"], 1, ["seed: expected at least"]),
    "seed out of 32 bits": (
        ["--dataset", "TARGET", "--seed", "4000001"],
        1,
        ["seed: expected at most 4000000, got 4000001"],
    ),
    "split seed out of range": (
        ["--dataset", "TARGET", "--split-seed", "-1"],
        2,
        ["split-seed", "x>=0"],
    ),
    "alias that MLflow refuses": (
        ["--dataset", "TARGET", "--alias", "v1"],
        1,
        ["alias: expected letters", "got 'v1'"],
    ),
    "name that MLflow refuses": (
        ["--dataset", "TARGET", "--register-as", "a/b"],
        1,
        ["register_as: expected a name without '/' and ':', got 'a/b'"],
    ),
    "unreachable server": (
        ["--dataset", "TARGET", "--tracking-uri", "http://127.0.0.1:1"],
        1,
        ["http://127.0.0.1:1: expected a tracking server, got no answer"],
    ),
    "no store at all": (
        ["--dataset", "TARGET", "--tracking-uri", "floppy://a"],
        1,
        ["floppy://a: cannot be used as a tracking store"],
    ),
    "unknown engine": (["--dataset", "TARGET", "--engine", "steam"], 1, ["steam", "local, ray"]),
    "unknown option": (["--dataset", "TARGET", "--color", "red"], 2, ["--color"]),
    "option without a value": (["--dataset"], 2, ["--dataset", "argument"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_new_in_the_store(
    case: str,
    zoo: Zoo,
    files: Path,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Where, expected, got, remedy; exit 1, or 2 for wrong usage."""
    argv, code, words = BAD[case]
    argv = [a.replace("FILES", str(files)).replace("TARGET", zoo.target.path) for a in argv]
    if "--namespace" not in argv:
        argv = ["--namespace", zoo.namespace, *argv]
    run: Cli = request.getfixturevalue("real_engine" if "--engine" in argv else "cli")
    before = holdings(zoo.uri)

    answer = run("select", *argv)

    assert answer.code == code
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("mlflow-recall")
    for word in words:
        assert word in line
    assert holdings(zoo.uri) == before


@pytest.fixture
def real_engine(capfd: pytest.CaptureFixture[str]) -> Cli:
    """``main`` with the engines that it knows."""

    def run(*argv: object) -> Answer:
        with pytest.raises(SystemExit) as leaving:
            main([str(token) for token in argv])
        out, err = capfd.readouterr()
        return Answer(int(str(leaving.value.code)), out, err)

    return run


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([{"source": "hf:/a/b", "modality": "text", "speed": 9}], ["models[1]", "'speed'"]),
        ([{"source": "hf:/a/b", "modality": "smell"}], ["models[1]", "image, text", "'smell'"]),
        ([{"modality": "text"}], ["models[1]", "expected a source"]),
        (
            [{"source": "hf:/a/b", "modality": "text", "recipe": {"speed": 9}}],
            ["models[1]", "unknown field 'speed' of a recipe", "learning_rate"],
        ),
        (
            [{"source": "hf:/a/b", "modality": "text", "recipe": "fast"}],
            ["models[1]", "recipe", "'fast'"],
        ),
        (
            [{"source": "hf:/a/b", "modality": "text"}] * 2,
            ["expected every model once, got 'a--b' twice"],
        ),
        ([], ["expected a list 'models'"]),
    ],
    ids=["key", "modality", "source", "recipe field", "recipe", "twice", "empty"],
)
def test_a_wrong_zoo_file_is_answered_with_entry_and_key(
    entries: list[dict[str, object]], words: list[str], cli: Cli, store: str, tmp_path: Path
) -> None:
    before = holdings(store)

    answer = cli("register", "--zoo", write_zoo(tmp_path / "zoo.yaml", entries))

    assert (answer.code, answer.out) == (1, "")
    line = answer.err.splitlines()[-1]
    for word in words:
        assert word in answer.err
    assert line.startswith("mlflow-recall: ")
    assert "Traceback" not in answer.err
    assert holdings(store) == before


def test_a_model_that_is_not_registered_is_named_and_the_exit_code_says_so(
    cli: Cli, store: str, tmp_path: Path
) -> None:
    """A script that registers a zoo must notice the one that is missing from it."""
    before = holdings(store)
    entries = [{"source": "absent", "name": "m", "modality": "text"}]

    answer = cli("register", "--zoo", write_zoo(tmp_path / "zoo.yaml", entries), "--json", "-")

    assert answer.code == 1
    printed = json.loads(answer.out)
    assert printed["models"] == []
    assert "expected a folder with safetensors, there is none" in printed["failed"]["m"]
    assert holdings(store) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no such file"]),
        ("datasets: [", ["cannot be read as YAML"]),
        ("datasets: [{path: a.csv, color: red}]", ["datasets[1]", "'color'"]),
        ("datasets: [{name: a}]", ["datasets[1]", "expected a path"]),
        ("datasets: [{path: absent.csv}]", ["absent.csv", "no such file"]),
        ("datasets: [{path: a.csv, seed: soon}]", ["datasets[1]", "seed", "'soon'"]),
    ],
    ids=["absent", "torn", "key", "path", "dataset", "seed"],
)
def test_a_wrong_benchmark_file_is_one_line(
    content: str | None, words: list[str], cli: Cli, zoo: Zoo, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "benchmarks.yaml").write_text(content)
    before = holdings(zoo.uri)

    answer = cli(
        "benchmark", "--namespace", zoo.namespace, "--datasets", tmp_path / "benchmarks.yaml"
    )

    assert (answer.code, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line
    assert holdings(zoo.uri) == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["cluster", "--metric", "beauty"], ["unknown metric 'beauty'"]),
        (["cluster", "--cut", "-1"], ["cut: expected 0 or more", "got -1"]),
        (["cluster", "--clusters", "99"], ["clusters: expected between 1 and", "got 99"]),
        (
            ["cluster", "--method", "astrology"],
            ["unknown value of method 'astrology'", "hierarchical, kmeans"],
        ),
        (["cluster", "--modality", "smell"], ["modality 'smell'", "text"]),
        (["cluster", "--drop-dataset", "set-9"], ["expected one of set-0", "'set-9'"]),
        (["cluster", "--history", "/nowhere"], ["/nowhere: expected matrix.csv"]),
        (["cluster", "--cut", "1", "--clusters", "2"], ["expected one of them, got both"]),
        (["history", "import", "--from", "/nowhere"], ["/nowhere", "no such file"]),
        (["recall", "--dataset", "absent.csv"], ["absent.csv"]),
        (["history", "show", "--metric", "beauty"], ["unknown metric 'beauty'", "accuracy"]),
        (
            ["recommend", "--dataset", "x"],
            ["dataset: expected none without --history, got 'x'", "recall --dataset"],
        ),
        (["recommend", "--drop-dataset", "x"], ["drop_dataset: expected only beside --history"]),
        (
            ["cluster", "--encoder", "x"],
            ["encoder: expected only beside --similarity description or --compare, got 'x'"],
        ),
        (
            ["cluster", "--compare", "--encoder", "x"],
            ["encoder: expected a folder or one of ", "text--tiny-0", "got 'x'"],
        ),
        (
            ["cluster", "--similarity", "description", "--encoder", "x", "--history", "y"],
            ["encoder: expected a folder with config.json", "tables have no registry, got 'x'"],
        ),
        (
            ["cluster", "--probe-new", "2", "--history", "x"],
            ["probe_new: expected none beside --history, got 2"],
        ),
        (
            ["cluster", "--probe-new", "2", "--compare"],
            ["probe_new: expected none beside --compare, got 2"],
        ),
        (["recommend", "--minimize"], ["minimize: expected only beside --history"]),
        (["recommend", "--recommender", "friend"], ["unknown recommender 'friend'", "blend"]),
        (["recommend", "--models", "gpt-9"], ["text--tiny-0", "'gpt-9'"]),
        (["recommend", "--confidence", "2"], ["confidence: expected a share", "got 2"]),
        (["recommend", "--max-params", "big"], ["max_params: expected a number", "'big'"]),
        (["recommend", "--where", "family=huge"], ["that satisfies them, got none of"]),
        (["recommend", "--modality", "smell"], ["modality 'smell'", "text"]),
        (["recommend", "--history", "/nowhere"], ["/nowhere: expected matrix.csv"]),
        (["explain", "unicorn", "--dataset", "absent.csv"], ["absent.csv"]),
        (["explain", "fox", "--history", "/nowhere"], ["/nowhere: expected matrix.csv"]),
        (["cluster", "--compare", "--history", "/nowhere"], ["/nowhere: expected matrix.csv"]),
        (
            ["cluster", "--similarity", "smell"],
            ["unknown value of similarity 'smell'", "description"],
        ),
        (["history", "show", "--history", "/nowhere"], ["/nowhere: expected matrix.csv"]),
        (
            ["benchmark", "--datasets", "BENCHMARKS", "--test", "never"],
            ["unknown value of test 'never': expected one of each, last"],
        ),
    ],
)
def test_other_commands_answer_bad_input_with_one_line_too(
    argv: list[str], words: list[str], cli: Cli, zoo: Zoo
) -> None:
    before = holdings(zoo.uri)
    argv = [token.replace("BENCHMARKS", str(zoo.folder / "benchmarks.yaml")) for token in argv]

    answer = cli(*argv, "--namespace", zoo.namespace)

    assert (answer.code, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line
    assert holdings(zoo.uri) == before


def test_every_command_reports_a_server_that_does_not_answer(
    cli: Cli, zoo: Zoo, tmp_path: Path
) -> None:
    zoo_file, benchmarks = zoo.folder / "zoo.yaml", zoo.folder / "benchmarks.yaml"

    for argv in (
        ["register", "--zoo", zoo_file],
        ["benchmark", "--datasets", benchmarks],
        ["cluster"],
        ["recommend"],
        ["explain", "tiny-0", "--dataset", zoo.target.path],
        ["recall", "--dataset", zoo.target.path],
        ["history", "show"],
        ["history", "export", "--to", tmp_path / "export"],
    ):
        answer = cli(*argv, "--tracking-uri", "http://127.0.0.1:1")
        (line,) = answer.err.splitlines()
        assert (answer.code, answer.out) == (1, "")
        assert "got no answer" in line
    assert not (tmp_path / "export").exists()


# --- what works ----------------------------------------------------------------------------------


def test_a_job_that_a_batch_system_ends_is_marked_as_interrupted(
    cli: Cli, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They send SIGTERM at the time limit; runs that stayed RUNNING would be lost."""

    class Ended(InlineEngine):
        def stream(
            self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
        ) -> Iterator[Progress]:
            yield from islice(super().stream(function, tasks), 1)
            os.kill(os.getpid(), signal.SIGTERM)

    def statuses() -> dict[str, str]:
        named = f"name = '{zoo.namespace}/select'"
        ids = [e.experiment_id for e in zoo.client.search_experiments(filter_string=named)]
        runs = zoo.client.search_runs(ids) if ids else []
        return {run.info.run_id: run.info.status for run in runs}

    monkeypatch.setattr("mlflow_recall.engines.get_engine", lambda *_: Ended())
    before = statuses()

    answer = cli(
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--top-k", 2,
        "--recommender", "prior",
    )  # fmt: skip

    assert answer.code == 130
    assert answer.err.endswith(
        "mlflow-recall: interrupted; runs that were active are marked KILLED\n"
    )
    new = {run_id: status for run_id, status in statuses().items() if run_id not in before}
    assert set(new.values()) == {"KILLED"}


def test_select_prints_one_object_with_the_keys_that_machines_rely_on(cli: Cli, zoo: Zoo) -> None:
    """As `mlflow run` calls it: underscores in options, empty values for what nobody set."""
    argv = ["--models", zoo.everyone, "--register_as", "cli-winner", "--final", "same"]
    unset = ["--name", "", "--score", "", "--tolerance", ""]

    answer = cli(
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--top_k", 3,
        *argv, *unset, "--json", "-",
    )  # fmt: skip

    data = answer.data
    assert answer.code == 0
    keys = "winner registered run_id epochs seconds test candidates cost final"
    assert set(keys.split()) <= data.keys()
    assert data["registered"] == {"name": "cli-winner", "version": "1", "alias": "winner"}
    assert len(data["candidates"]) == 3
    for candidate in data["candidates"]:
        assert {"model", "status", "stage", "reason", "rival"} <= candidate.keys()
    assert {"brute_force", "halving"} <= data["cost"].keys()
    assert {"epochs", "test"} <= data["final"].keys()
    assert 0 <= data["test"]["accuracy"] <= 1
    parent = zoo.client.get_run(data["run_id"])
    assert parent.info.status == "FINISHED"


def test_recall_prints_one_object_with_the_keys_that_machines_rely_on(cli: Cli, zoo: Zoo) -> None:
    answer = cli(
        "recall", "--dataset", zoo.target.path, "--namespace", zoo.namespace,
        "--models", zoo.everyone, "--json", "-",
    )  # fmt: skip

    data = answer.data
    assert {"ranking", "set", "probes", "scores", "left_out", "notes", "cost"} <= data.keys()
    assert (data["recommender"], data["set_selector"]) == ("blend", "portfolio")
    assert {*data["scores"], *data["left_out"]} == {"logme", "hscore"}
    assert len(data["ranking"]) == 5
    for row in data["ranking"]:
        assert {"model", "score", "gap", "predicted", "p_within_tolerance", "parts"} <= row.keys()
        assert 0 <= row["gap"]["low"] <= row["gap"]["mean"]
        assert row["gap"]["high"] is None  # three datasets are too few to promise one
    assert 0 <= data["set"]["p_holds_best_within_tolerance"] <= 1


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of plain tables: four models on six datasets, and a score on the last of them."""
    rows = {"fox": 0.9, "owl": 0.8, "trout": 0.5, "worm": 0.2}
    cells = [
        (model, f"set-{i}", "accuracy", value - 0.03 * ((i + j) % 3))
        for j, (model, value) in enumerate(rows.items())
        for i in range(6)
    ]
    scores = [(model, "set-5", "knn", 1 - value) for model, value in rows.items()]
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, columns, result in (
        ("matrix", ["model", "dataset", "metric", "value"], cells),
        ("proxy", ["model", "dataset", "score_name", "value"], scores),
    ):
        pd.DataFrame(result, columns=columns).to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_recommend_prints_one_object_with_the_keys_that_machines_rely_on(
    cli: Cli, tables: Path
) -> None:
    answer = cli("recommend", "--history", tables, "--top-k", 2, "--json", "-")

    data = answer.data
    assert (answer.code, answer.err) == (0, "")
    assert {"ranking", "set", "left_out", "run_id"} <= data.keys()
    assert [row["model"] for row in data["ranking"]] == ["fox", "owl", "trout", "worm"]
    for row in data["ranking"]:
        assert row.keys() == {"model", "score", "gap", "predicted", "p_within_tolerance", "parts"}
        assert row["gap"].keys() == {"mean", "low", "high"}
        assert 0 <= row["gap"]["low"] <= row["gap"]["mean"] <= row["gap"]["high"]
        assert 0 <= row["p_within_tolerance"] <= 1
        assert row["parts"] == {"prior": row["score"]}
    gaps = [row["gap"]["mean"] for row in data["ranking"]]
    assert gaps == sorted(gaps)
    assert len(data["set"]["models"]) == 2
    assert 0 < data["set"]["p_holds_best_within_tolerance"] < 1
    assert (data["left_out"], data["run_id"]) == ({}, None)


def test_recommend_for_a_dataset_of_the_folder_uses_its_scores(cli: Cli, tables: Path) -> None:
    answer = cli("recommend", "--history", tables, "--dataset", "set-5", "--json", "-")

    assert {tuple(row["parts"]) for row in answer.data["ranking"]} == {("prior", "knn")}


def test_recommend_ends_with_the_set(cli: Cli, tables: Path) -> None:
    answer = cli("recommend", "--history", tables, "--top-k", "auto", "--confidence", 0.8)

    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[-1].startswith("try these ")
    assert "fox" in lines[-1]
    assert "run" not in lines[-1]
    assert "with probability 80%, as counted on 6 datasets" in answer.out + answer.err
    assert [row[0] for row in cells_of(answer.out)] == ["fox", "owl", "trout", "worm"]


def test_recommend_from_the_zoo_logs_a_run(cli: Cli, zoo: Zoo) -> None:
    answer = cli(
        "recommend", "--namespace", zoo.namespace, "--models", zoo.everyone, "--json", "-"
    )  # fmt: skip

    assert answer.code == 0, answer.err
    run = zoo.client.get_run(answer.data["run_id"])
    assert (run.info.status, run.data.tags[tags.KIND]) == ("FINISHED", "recommend")
    assert {row["model"] for row in answer.data["ranking"]} == set(zoo.models)


def test_explain_says_what_each_part_adds_and_what_is_recorded(cli: Cli, tables: Path) -> None:
    argv = ["explain", "owl", "--history", tables, "--dataset", "set-5"]

    data = cli(*argv, "--json", "-").data
    printed = cli(*argv)
    ranked = cli("recommend", "--history", tables, "--dataset", "set-5", "--json", "-").data

    place = [row["model"] for row in ranked["ranking"]].index("owl")
    assert (data["model"], data["rank"], data["out_of"]) == ("owl", place + 1, 4)
    added = {row["part"]: row["adds"] for row in data["parts"]}
    assert added == ranked["ranking"][place]["parts"]
    assert sum(added.values()) == pytest.approx(ranked["ranking"][place]["score"], abs=1e-5)
    assert [row["dataset"] for row in data["recorded"]] == [f"set-{i}" for i in range(5)]
    # of set-0 the fox has 0.9 and the owl 0.8 - 0.03
    assert data["recorded"][0]["gap"] == pytest.approx(0.13)
    assert data["recorded"][0]["rank"] == 2
    assert "owl" in data["cluster"]
    last = printed.out.splitlines()[-1]
    assert last == f"owl ranks {place + 1} of 4 and is in the set to train"


def test_explain_finds_a_model_of_the_zoo_by_its_short_name(cli: Cli, zoo: Zoo) -> None:
    """Explaining a model writes nothing to the store."""
    before = holdings(zoo.uri)

    answer = cli(
        "explain", "tiny-3", "--dataset", zoo.target.path, "--namespace", zoo.namespace,
        "--models", zoo.everyone, "--json", "-",
    )  # fmt: skip

    assert answer.code == 0, answer.err
    data = answer.data
    assert (data["model"], data["out_of"]) == ("text--tiny-3", 5)
    assert [row["dataset"] for row in data["recorded"]] == ["set-0", "set-1", "set-2"]
    assert holdings(zoo.uri) == before


def test_explain_of_a_model_that_is_unknown_names_the_known(cli: Cli, zoo: Zoo) -> None:
    answer = cli(
        "explain", "unicorn", "--dataset", zoo.target.path, "--namespace", zoo.namespace,
        "--recommender", "prior",
    )  # fmt: skip

    assert (answer.code, answer.out) == (1, "")
    last = answer.err.splitlines()[-1]
    assert last.startswith("mlflow-recall: explain: expected one of ")
    assert all(name in last for name in zoo.models)
    assert last.endswith("got 'unicorn'")


def test_cluster_compare_is_a_row_each_and_a_verdict(cli: Cli, tables: Path) -> None:
    data = cli("cluster", "--compare", "--history", tables, "--json", "-").data["comparison"]
    printed = cli("cluster", "--compare", "--history", tables)

    assert len(data) == 2 * 2 * (1 + 2)  # similarities, algorithms; auto, 2 and 3 clusters
    for row in data:
        assert row["modality"] == "any"
        assert {
            "similarity",
            "method",
            "choice",
            "requested",
            "clusters",
            "singletons",
        } <= row.keys()
        assert {"silhouette", "silhouette_paper", "own_silhouette"} <= row.keys()
    best = max(row["silhouette"] for row in data if row["silhouette"] is not None)
    assert len(cells_of(printed.out)) == len(data)
    assert printed.out.splitlines()[-1].startswith("models: separated best by ")
    assert f"silhouette {best:.3f} in the distance of Eq. 1" in printed.out.splitlines()[-1]


def test_history_show_of_tables_has_the_keys_that_machines_rely_on(cli: Cli, tables: Path) -> None:
    """Tables without a modality are listed as ``any``."""
    data = cli("history", "show", "--history", tables, "--json", "-").data

    assert {kind: list(result) for kind, result in data.items()} == {"any": ["accuracy"]}
    result = data["any"]["accuracy"]
    assert {key: result[key] for key in ("models", "datasets", "cells", "coverage", "noise")} == {
        "models": 4,
        "datasets": 6,
        "cells": 24,
        "coverage": 1.0,
        "noise": None,
    }


def test_check_prints_one_object_with_the_keys_that_machines_rely_on(
    cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    rows = [f"text {i % 20},{'NA' if i % 2 else 'null'}" for i in range(30)]
    path.write_text("\n".join(["text,label", *rows, ",NA", "x,"]) + "\n")

    data = cli("check", "--dataset", path, "--json", "-").data

    assert data["task"] == "classification"
    assert data["inputs"] == ["text"]
    assert data["rows"] == {"read": 32, "used": 30, "left_out": {"no text": 1, "no label": 1}}
    assert data["classes"] == {"NA": 15, "null": 15}
    assert sum(data["splits"].values()) == 30
    assert 0 < data["duplicates"] <= 20
    assert [w for w in data["warnings"] if w.startswith("duplicates: 10 rows")] != []
    assert "files" not in data


def test_check_shows_people_what_is_left_out(cli: Cli, tmp_path: Path) -> None:
    folder = tiny_images(tmp_path / "pets", 12)
    (folder / "notes.txt").write_text("x")

    answer = cli("check", "--dataset", folder)

    assert answer.code == 0
    assert answer.out.splitlines()[-1].startswith(
        "pets: 12 of 13 files used (left out: 1 not a picture: notes.txt); 3 classes; 6 train"
    )


def test_a_model_is_selected_for_sentence_pairs(
    cli: Cli, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_pairs(tmp_path / "pairs.csv", 120)
    pair = ("--dataset", path, "--text", "premise,hypothesis")
    where = ("--namespace", zoo.namespace, "--json", "-")

    data = cli(
        "select", *pair, *where, "--top-k", 2, "--register-as", "pairs", "--final", "same"
    ).data

    assert cli("check", *pair, "--json", "-").data["inputs"] == ["premise", "hypothesis"]
    assert data["registered"]["name"] == "pairs"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", zoo.uri)
    model = load_model(f"models:/pairs/{data['registered']['version']}")
    row = {"text": ["w01 w02"], "text_pair": ["w00 w03 w06"]}
    answer = pd.DataFrame(model.predict(pd.DataFrame(row)))
    assert answer["label"].tolist()[0] in CLASSES
    three = cli("check", "--dataset", path, "--text", "a,b,c")
    assert (three.code, three.err.count("\n")) == (2, 1)


def test_check_of_one_input_for_all_says_so(cli: Cli, tmp_path: Path) -> None:
    """Nothing can be cut from it, so that it cannot be prepared; the reason is in the check."""
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "same,a\nsame,b\n" * 6)

    data = cli("check", "--dataset", path, "--json", "-").data
    answer = cli("recall", "--dataset", path)

    assert [w for w in data["warnings"] if w.startswith("constant input")] != []
    assert answer.code == 1
    assert "expected 3 different inputs of a class or more, to cut a" in answer.err


def test_json_goes_to_a_file_beside_what_people_read(cli: Cli, zoo: Zoo, tmp_path: Path) -> None:
    answer = cli(
        "recall", "--dataset", zoo.target.path, "--namespace", zoo.namespace,
        "--models", zoo.everyone, "--top-k", 2, "--json", tmp_path / "recall.json",
    )  # fmt: skip

    data = json.loads((tmp_path / "recall.json").read_text())
    last = answer.out.splitlines()[-1]
    assert last.startswith(f"train these 2: {', '.join(data['set']['models'])} (")
    assert data["run_id"] in last


def test_register_benchmark_and_export_tell_what_they_did(
    cli: Cli, store: str, namespace: str, zoo: Zoo, tmp_path: Path
) -> None:
    listed = yaml.safe_load((zoo.folder / "zoo.yaml").read_text())["models"][:2]
    entries = [{**entry, "source": str(zoo.folder / entry["source"])} for entry in listed]
    zoo_file = write_zoo(tmp_path / "zoo.yaml", entries)
    tiny_texts(tmp_path / "set.csv", 60)
    (tmp_path / "benchmarks.yaml").write_text("datasets: [{path: set.csv}]")
    here = ["--namespace", namespace]
    work = ["benchmark", "--datasets", tmp_path / "benchmarks.yaml", "--epochs", 1, *here]

    registered = cli("register", "--zoo", zoo_file, "--json", "-", *here)
    limited = cli(*work, "--limit", 1)
    done = cli(*work, "--json", "-")
    repeated = cli(*work)
    moved = cli("history", "export", "--to", tmp_path / "export", "--json", "-", *here)
    back = cli("history", "import", "--from", tmp_path / "export", "--namespace", f"{namespace}-b")

    assert [model["action"] for model in registered.data["models"]] == ["created"] * 2
    last = limited.out.splitlines()[-1]
    assert last == "2 cells: 1 completed, 0 skipped, 0 elsewhere, 0 failed, 1 remaining"
    assert (done.data["cells"], len(done.data["completed"]), done.data["failed"]) == (2, 1, {})
    assert (done.data["skipped"], done.data["remaining"]) == (1, 0)
    last = repeated.out.splitlines()[-1]
    assert last == "2 cells: 0 completed, 2 skipped, 0 elsewhere, 0 failed"
    assert (moved.data["runs"], moved.data["models"]) == (2, 2)
    assert back.out.splitlines()[-1] == "2 runs imported, 0 skipped, 2 models"
    assert {answer.code for answer in (registered, limited, done, repeated, moved, back)} == {0}


def test_what_failed_is_exit_code_1_after_all_the_rest(
    cli: Cli, zoo: Zoo, tmp_path: Path, namespace: str
) -> None:
    """A job in a pipeline must not go on as if everything had been done."""
    zoo_file = write_zoo(
        tmp_path / "zoo.yaml",
        [
            {"source": str(zoo.folder / "bert-0"), "modality": "text", "name": "good"},
            {"source": str(tmp_path / "absent"), "modality": "text", "name": "bad"},
        ],
    )
    (tmp_path / "bad.csv").write_text("text,label\n")
    listed = {"datasets": [{"path": zoo.target.path}, {"path": str(tmp_path / "bad.csv")}]}
    (tmp_path / "listed.yaml").write_text(yaml.safe_dump(listed))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{}")
    here = ("--namespace", namespace, "--json", "-")

    registered = cli("register", "--zoo", zoo_file, *here)
    done = cli("benchmark", "--datasets", tmp_path / "listed.yaml", "--epochs", 1, *here)
    compared = cli(
        "cluster", "--compare", "--encoder", tmp_path / "broken",
        "--namespace", zoo.namespace, "--json", "-",
    )  # fmt: skip

    assert [answer.code for answer in (registered, done, compared)] == [1, 1, 1]
    assert list(registered.data["failed"]) == ["bad"]
    assert len(registered.data["models"]) == 1
    assert list(done.data["failed"]) == ["bad"]
    assert len(done.data["completed"]) == 1
    assert list(compared.data["failed"]) == ["similarity by description, text"]
    assert {row["similarity"] for row in compared.data["comparison"]} == {"performance"}


@pytest.fixture
def known(client: MlflowClient, namespace: str) -> str:
    """A namespace with text models on two datasets, one of them repeated, and a picture model."""
    writer = RunWriter(client, f"{namespace}/benchmark")
    for model, dataset, modality, seed, score in (
        ("a", "x", "text", 0, 0.5),
        ("a", "x", "text", 1, 0.75),
        ("a", "y", "text", 0, 0.25),
        ("b", "x", "text", 0, 0.875),
        ("p", "z", "image", 0, 0.125),
    ):
        run_tags = {
            tags.MODEL: f"{namespace}--{model}",
            tags.DATASET: dataset,
            tags.MODALITY: modality,
            tags.EPOCHS: "1",
            tags.RECIPE: Recipe(epochs=1, seed=seed).to_json(),
        }
        run = writer.open_run(f"{model} on {dataset}", "benchmark", run_tags)
        scores = {"accuracy": score, "log_loss": 1 - score}
        run.log_stage(StageResult(stage=1, validation=scores, seconds=1.0, test=scores))
        run.finish()
    writer.close()
    return namespace


def test_history_show_prints_what_there_is_by_modality_and_metric(cli: Cli, known: str) -> None:
    answer = cli("history", "show", "--namespace", known, "--json", "-")

    data = answer.data
    assert answer.code == 0, answer.err
    assert {kind: sorted(result) for kind, result in data.items()} == {
        "image": ["accuracy", "log_loss"],
        "text": ["accuracy", "log_loss"],
    }
    text = data["text"]["accuracy"]
    assert (text["models"], text["datasets"], text["cells"], text["coverage"]) == (2, 2, 3, 0.75)
    assert text["missing"] == [{"model": f"{known}--b", "dataset": "y"}]
    assert text["noise"] == pytest.approx(0.25 / 2**0.5)  # of 0.5 and 0.75
    assert text["repeated"] == {"cells": 1, "runs": 2}
    assert data["text"]["log_loss"]["noise"] == pytest.approx(text["noise"])
    image = data["image"]["accuracy"]
    assert (image["coverage"], image["noise"], image["missing"]) == (1.0, None, [])


def test_history_show_is_a_table_a_modality_and_a_line_each(cli: Cli, known: str) -> None:
    answer = cli("history", "show", "--namespace", known)

    assert answer.code == 0, answer.err
    rows = cells_of(answer.out)
    assert ["text", "accuracy", "2", "2", "3", "75.0%", "0.177", "1"] in rows
    assert ["image", "log_loss", "1", "1", "1", "100.0%", "-", "0"] in rows
    assert ["x", "2", "0", "0.875", "b", "0.625", "0.625"] in rows
    assert ["y", "1", "1", "0.250", "a", "0.250", "0.250"] in rows
    lines = answer.out.splitlines()
    assert (
        "image: 1 model on 1 dataset, 1 cell, coverage 100%; "
        "no repeated cells, so the noise floor is unknown"
    ) in lines
    assert lines[-1] == (
        "text: 2 models on 2 datasets, 3 cells, coverage 75%; "
        "1 repeated cell with a standard deviation of 0.1768 accuracy"
    )


def cells_of(printed: str) -> list[list[str]]:
    """Cells of every row of every table that was printed."""
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_history_show_of_a_metric_shows_its_scores(cli: Cli, known: str, tmp_path: Path) -> None:
    file = tmp_path / "show.json"
    answer = cli(
        "history", "show", "--namespace", known, "--metric", "log_loss", "--json", file
    )  # fmt: skip

    assert answer.code == 0, answer.err
    assert "a standard deviation of 0.1768 log_loss" in answer.out.splitlines()[-1]
    assert "text accuracy" not in answer.out
    assert json.loads(file.read_text()).keys() == {"text", "image"}


def test_history_show_of_a_folder_of_plain_tables(cli: Cli, store: str, tmp_path: Path) -> None:
    """Without a server; the metric is whatever the table calls it."""
    rows = [("a", "x", "auc", 0.5), ("a", "y", "auc", 0.75), ("b", "x", "auc", 0.25)]
    table = pd.DataFrame(rows, columns=["model", "dataset", "metric", "value"])
    table.to_csv(tmp_path / "matrix.csv", index=False)
    before = holdings(store)

    answer = cli("history", "show", "--history", tmp_path, "--json", tmp_path / "show.json")

    assert answer.code == 0, answer.err
    (metrics,) = json.loads((tmp_path / "show.json").read_text()).values()
    assert metrics["auc"]["coverage"] == 0.75
    assert metrics["auc"]["missing"] == [{"model": "b", "dataset": "y"}]
    assert ["x", "2", "0", "0.500", "a", "0.250", "0.250"] in cells_of(answer.out)
    assert answer.out.splitlines()[-1].startswith(
        "history: 2 models on 2 datasets, 3 cells, coverage 75%; no repeated cells"
    )
    assert holdings(store) == before


def test_history_show_of_a_store_changes_nothing_in_it(cli: Cli, zoo: Zoo) -> None:
    before = holdings(zoo.uri)

    answer = cli("history", "show", "--namespace", zoo.namespace, "--json", "-")

    assert answer.code == 0, answer.err
    text = answer.data["text"]["accuracy"]
    assert (text["models"], text["datasets"], text["coverage"]) == (5, 3, 1.0)
    assert holdings(zoo.uri) == before


def test_history_show_without_a_history_says_how_to_get_one(cli: Cli, namespace: str) -> None:
    answer = cli("history", "show", "--namespace", namespace)

    assert (answer.code, answer.out) == (1, "")
    (line,) = answer.err.splitlines()
    assert f"experiment '{namespace}/benchmark': expected benchmark runs" in line


def test_winners_travel_with_their_zoo(cli: Cli, zoo: Zoo, namespace: str, tmp_path: Path) -> None:
    """They come from no zoo file, so their architecture tag alone describes them."""
    winner = f"{namespace}-winner"
    run_tags = {
        tags.ARCH: "transformers/bert",
        tags.MODALITY: "text",
        tags.NAMESPACE: zoo.namespace,
    }
    zoo.client.create_registered_model(winner)
    zoo.client.create_model_version(winner, str(tmp_path), tags=run_tags)

    out = cli("history", "export", "--to", tmp_path, "--namespace", zoo.namespace)
    back = cli("history", "import", "--from", tmp_path, "--namespace", namespace)

    zoo.client.delete_registered_model(winner)
    assert (out.code, back.code) == (0, 0), back.err
    (version,) = zoo.client.search_model_versions(f"name = '{namespace}--{winner}'")
    assert version.tags[tags.WEIGHTS] == "absent"


def test_a_torn_import_is_completed_by_the_next(
    cli: Cli, zoo: Zoo, namespace: str, tmp_path: Path
) -> None:
    """A run that a killed process left incomplete is imported again."""
    take_in = ["history", "import", "--from", tmp_path, "--namespace", namespace]
    cli("history", "export", "--to", tmp_path, "--namespace", zoo.namespace)
    cli(*take_in)
    torn = find_runs(zoo.uri, namespace, "benchmark")[0].info.run_id
    dead = {**json.loads(owner_tags()[tags.OWNER]), "started": 1.0}
    zoo.client.set_tag(torn, tags.OWNER, json.dumps(dead))
    zoo.client.update_run(torn, status="RUNNING")

    answer = cli(*take_in, "--json", "-")

    assert zoo.client.get_run(torn).info.status == "FAILED"
    assert (answer.data["runs"], answer.data["known"]) == (1, 14)


@pytest.mark.slow
def test_an_image_folder_is_recalled_for(cli: Cli, store: str) -> None:
    pictures = image_zoo(store)

    answer = cli(
        "recall", "--dataset", pictures.target.path, "--namespace", "image", "--models",
        pictures.everyone, "--json", "-",
    )  # fmt: skip

    assert {*answer.data["scores"], *answer.data["left_out"]} == {"leep", "logme", "hscore"}
    assert len(answer.data["probes"]) == 2


def test_a_name_with_an_apostrophe_is_a_name(cli: Cli, zoo: Zoo, tmp_path: Path) -> None:
    """Searches of MLflow quote names; the winner of `bob's.csv` must still be registered."""
    tiny_texts(tmp_path / "bob's.csv", 60, CLASSES, seed=3)

    answer = cli(
        "select", "--dataset", tmp_path / "bob's.csv", "--namespace", zoo.namespace, "--top-k", 1,
        "--models", zoo.everyone, "--final", "same", "--recommender", "prior", "--json", "-",
    )  # fmt: skip

    assert answer.code == 0, answer.err
    assert answer.data["registered"]["name"] == "bob's"


def test_a_winner_is_registered_where_tracking_uri_alone_says(
    cli: Cli, zoo: Zoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MLflow's SQL store looks for a logged model in the store of the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)

    answer = cli(
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--top-k", 1,
        "--models", zoo.everyone, "--final", "same", "--recommender", "prior",
        "--register-as", "cli-elsewhere", "--tracking-uri", zoo.uri, "--json", "-",
    )  # fmt: skip

    assert answer.code == 0, answer.err
    version = zoo.client.get_model_version_by_alias("cli-elsewhere", "winner")
    assert version.run_id == answer.data["run_id"]
    assert not (tmp_path / "mlflow.db").exists()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_mlflow_run_s_own_run_is_the_parent(
    cli: Cli, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_run = zoo.client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", own_run)

    answer = cli(
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--top-k", 2,
        "--models", zoo.everyone, "--final", "same", "--recommender", "prior",
        "--register-as", "cli-adopted", "--json", "-",
    )  # fmt: skip

    assert answer.data["run_id"] == own_run
    children = zoo.client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{own_run}'")
    assert len(children) == 2


# --- fresh interpreters --------------------------------------------------------------------------


def test_help_of_every_command_exits_0_and_imports_nothing_heavy() -> None:
    """Help answers at once; only lists of table rows need scikit-learn, and pandas with it."""
    code = f"""
import sys
from mlflow_recall.cli import main
heavy = {{"torch", "mlflow", "optuna", "transformers", "datasets"}}
light_commands = {[c for c in COMMANDS if c not in TABLE_COMMANDS]!r}
light = (light_commands, heavy | {{"pandas", "sklearn"}})
for commands, absent in (light, ({TABLE_COMMANDS!r}, heavy)):
    for command in commands:
        try:
            main([*command, "--help"])
        except SystemExit as leaving:
            assert leaving.code == 0, command
    assert not absent & set(sys.modules), absent & set(sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: mlflow-recall") == len(COMMANDS)


def test_the_module_is_the_command_and_usage_errors_exit_2() -> None:
    argv = [sys.executable, "-m", "mlflow_recall", "select", "--top-k", "0"]

    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "--top-k" in line
    assert line.endswith("See mlflow-recall select --help.")
