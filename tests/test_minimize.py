"""``--minimize`` and ``--minimize NAME`` mean the same in every command that reads tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlflow_recall.adapters.terminal import Terminal
from mlflow_recall.cli import main
from mlflow_recall.cli.groups import METRIC_IN_USE, TableOptions
from mlflow_recall.cli.tables import losses, open_tables
from mlflow_recall.errors import ConfigError

#: every command that takes ``--history``, with what else it needs
COMMANDS = ("cluster", "recommend", "explain b", "backtest", "plan")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Six models on six datasets: ``score``, and ``wer``, which is 1 - score."""
    cells = [
        (model, dataset, metric, value)
        for i, model in enumerate("abcdef")
        for j, dataset in enumerate("uvwxyz")
        for score in [0.875 - 0.0625 * i + 0.015625 * (i * j % 3)]  # exact in binary
        for metric, value in (("score", score), ("wer", 1 - score))
    ]
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(tmp_path / "matrix.csv", index=False)
    return tmp_path


def run(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([str(token) for token in argv])
    return (int(leaving.value.code or 0), *capfd.readouterr())


def read_json(capfd: pytest.CaptureFixture[str], folder: Path, *argv: str) -> Any:
    code, out, err = run(capfd, *argv, "--history", folder, "--json", "-")
    assert code == 0, err
    return json.loads(out)


def models(data: Any) -> list[str]:
    """Return the names of models in a JSON object, in their order."""
    return [token for token in json.dumps(data).split('"') if token in {*"abcdef"}]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "minimize",
    [
        ["--minimize"],
        ["--minimize", "wer"],
        ["--minimize=wer"],
        ["--minimize", METRIC_IN_USE],
        ["--minimize", "score", "--minimize", "wer"],
        ["--minimize", "score,wer"],
    ],
)
def test_a_loss_turned_around_is_the_score(
    capfd: pytest.CaptureFixture[str], tables: Path, command: str, minimize: list[str]
) -> None:
    argv = command.split()

    score = read_json(capfd, tables, *argv, "--metric", "score")
    loss = read_json(capfd, tables, *argv, "--metric", "wer", *minimize)

    assert models(loss) == models(score)


def test_another_metrics_loss_changes_nothing(
    capfd: pytest.CaptureFixture[str], tables: Path
) -> None:
    alone = read_json(capfd, tables, "recommend", "--metric", "score")

    assert read_json(capfd, tables, "recommend", "--metric", "score", "--minimize", "wer") == alone


def test_a_model_right_behind_it_is_still_the_model(
    capfd: pytest.CaptureFixture[str], tables: Path
) -> None:
    argv = ["--metric", "wer", "--history", str(tables)]

    before = run(capfd, "explain", "b", *argv, "--minimize")
    behind = run(capfd, "explain", *argv, "--minimize", "b")
    both = run(capfd, "explain", *argv, "--minimize", "wer", "b")

    assert before[0] == 0
    assert before[1] == behind[1] == both[1]


def test_without_a_model_there_is_nothing_to_explain(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capfd, "explain", "--history", "x", "--minimize")

    assert code == 2
    assert "Missing argument MODEL" in err


@pytest.mark.parametrize("command", ["backtest", "history show"])
def test_without_a_name_it_needs_a_metric_in_use(
    capfd: pytest.CaptureFixture[str], tables: Path, command: str
) -> None:
    code, out, err = run(capfd, *command.split(), "--history", tables, "--minimize")

    assert (code, out) == (1, "")
    assert "minimize: expected the name of a loss among score, wer" in err


@pytest.mark.parametrize("command", [*COMMANDS[:2], "backtest", "plan", "history show"])
def test_without_tables_it_is_refused(
    capfd: pytest.CaptureFixture[str], store: str, command: str
) -> None:
    argv = [*command.split(), "--tracking-uri", store, "--namespace", "nowhere"]

    code, _, err = run(capfd, *argv, "--minimize", "wer")

    assert code == 1
    assert "minimize: expected only beside --history, got wer" in err


def test_a_metric_that_says_error_is_used_as_it_stands_with_a_note(
    capfd: pytest.CaptureFixture[str], tables: Path
) -> None:
    _, _, unsaid = run(capfd, "recommend", "--history", tables, "--metric", "wer")
    _, _, named = run(capfd, "recommend", "--history", tables, "--metric", "wer", "--minimize")

    note = "warning: wer is taken as better when higher; --minimize if it is a loss"
    assert note in unsaid
    assert note not in named


@pytest.mark.parametrize(
    ("minimize", "used", "names"),
    [
        ([], ["a", "b"], ()),
        ([METRIC_IN_USE], ["a"], ("a",)),
        (["b, c", METRIC_IN_USE], ["a"], ("b", "c", "a")),
        ([METRIC_IN_USE], ["log_loss"], ("log_loss",)),
    ],
)
def test_names_of_losses(minimize: Sequence[str], used: list[str], names: tuple[str, ...]) -> None:
    assert losses(minimize, used) == names


def test_a_metric_that_is_known_to_be_better_when_higher_is_refused() -> None:
    with pytest.raises(ConfigError, match="minimize: 'accuracy' is better when higher"):
        losses([METRIC_IN_USE], ["accuracy"])


def test_curves_that_are_named_otherwise_turn_with_the_metric_in_use(tables: Path) -> None:
    """As where the matrix holds ``test_wer`` and the curves ``wer``."""
    points = [("a", "u", 1, split, "mse", 0.25) for split in ("val", "test")]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(points, columns=columns).to_csv(tables / "curves.csv", index=False)

    options = TableOptions(
        history=str(tables), minimize=(METRIC_IN_USE,), drop_dataset=(), modality=None
    )

    turned = open_tables(options, Terminal(), "wer")

    assert {curve.values for curve in turned.curves()} == {(-0.25,)}


def test_an_import_without_a_name_takes_the_metric_that_it_takes_in(
    capfd: pytest.CaptureFixture[str], store: str, namespace: str, tables: Path
) -> None:
    where = ["--tracking-uri", store, "--namespace", namespace]
    argv = ["history", "import", "--from", tables, *where, "--modality", "text"]

    code, _, err = run(capfd, *argv, "--minimize")
    assert (code, "expected the name of a loss among score, wer" in err) == (1, True)

    code, out, err = run(capfd, *argv, "--metric", "wer", "--minimize")
    assert code == 0, err
    assert out.startswith("36 runs imported, 0 skipped")
