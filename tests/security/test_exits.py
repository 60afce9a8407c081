"""Text leaves the process through few functions, and all of them hide secrets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mlflow_recall import errors
from mlflow_recall.cli import main
from mlflow_recall.errors import RecallError

SOURCE = Path(__file__).parents[2] / "mlflow_recall"
#: modules that write to standard output or standard error
EXITS = {"adapters/terminal.py", "cli/__init__.py", "cli/output.py"}
#: modules that write tags, parameters, notes and artifacts of runs
WRITERS = {
    "adapters/tracking/runs.py",
    "adapters/tracking/registry.py",
    "adapters/tracking/adopted_runs.py",
    "adapters/tracking/ownership.py",
    "adapters/tracking/stored_defaults.py",
    "adapters/export/transfer.py",
    "adapters/tables/table_import.py",
    "cli/session.py",
}
_PRINTS = {"print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"}
_LOGS = {
    *("set_tag", "set_experiment_tag", "log_batch", "log_param", "log_text", "log_table"),
    *("set_model_version_tag", "set_registered_model_tag", "create_run", "create_model_version"),
    *("create_registered_model", "update_run", "log_dict", "log_inputs"),
}
ADDRESS = "http://me:hush@host/x?token=hush"


def calls(file: Path) -> set[str]:
    """Return the functions that a module calls."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: file.name)
def test_nothing_else_prints_or_logs(file: Path) -> None:
    """A new place that prints would have to remember what secrets are."""
    name = file.relative_to(SOURCE).as_posix()
    called = calls(file)

    assert name in EXITS or called & _PRINTS == set()
    logged = {call for call in called if "client." in call and call.rpartition(".")[2] in _LOGS}
    assert name in WRITERS or logged == set()


@pytest.mark.parametrize("name", errors.__dict__)
def test_the_message_of_every_expected_error_is_redacted(name: str) -> None:
    """Errors are shown by notebooks and logs too, which are no exits of this package."""
    kind = getattr(errors, name)
    if isinstance(kind, type) and issubclass(kind, RecallError):
        assert str(kind(f"{ADDRESS} is away")) == "http://***@host/x?token=*** is away"


def test_a_bug_keeps_its_traceback_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected error may quote the address of the tracking server."""

    def fail(*_: object) -> None:
        raise RuntimeError(f"{ADDRESS} \x1b[2J is unexpected")

    monkeypatch.setattr("mlflow_recall.adapters.terminal.Terminal.__init__", fail)

    with pytest.raises(SystemExit) as end:
        main(["recommend", "--history", "x"])

    printed = capsys.readouterr().err
    assert end.value.code == 1
    assert "Traceback" in printed
    assert "RuntimeError: http://***@host/x?token=***" in printed
    assert "hush" not in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("argument", ["http://me:hush@[::", "http://me:hush@host:port", "\udcff"])
def test_an_address_on_the_command_line_is_not_repeated(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line of a failed job is what is sent to a colleague."""
    with pytest.raises(SystemExit) as end:
        main(["history", "show", "--tracking-uri", argument])

    printed = capsys.readouterr()
    assert end.value.code in (1, 2)
    assert len(printed.err.splitlines()) == 1
    assert "hush" not in printed.err + printed.out
