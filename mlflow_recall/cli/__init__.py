"""The command line: arguments, settings, a workflow, an exit code.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from mlflow_recall import __version__, limits
from mlflow_recall.cli.adopt import adopt
from mlflow_recall.cli.backtest import backtest
from mlflow_recall.cli.benchmark import benchmark
from mlflow_recall.cli.check import check
from mlflow_recall.cli.cluster import cluster
from mlflow_recall.cli.explain import explain
from mlflow_recall.cli.history import history
from mlflow_recall.cli.options import CONTEXT
from mlflow_recall.cli.plan import plan
from mlflow_recall.cli.project import normalize_arguments
from mlflow_recall.cli.recall import recall
from mlflow_recall.cli.recommend import recommend
from mlflow_recall.cli.register import register
from mlflow_recall.cli.select import select
from mlflow_recall.errors import RecallError, TaskError
from mlflow_recall.safe_text import safe_line, safe_text

#: characters of a message
_MAX_LINE = 2_000
#: settings of MLflow that would disturb the output
_MLFLOW = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # it copies a lock file of the working folder into models
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 an expected error, 2 wrong usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end a job with it
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    arguments = normalize_arguments(sys.argv[1:] if argv is None else argv, commands)
    _check_arguments(arguments)
    try:
        sys.exit(commands.main(arguments, prog_name="mlflow-recall", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "mlflow-recall")
        line = " ".join(error.format_message().split())
        _fail(f"{path}: {line} See {path} --help.", 2)
    except TaskError as error:
        click.echo(safe_text(error.traceback), err=True, nl=False)
        _fail(f"mlflow-recall: {error}", 1)
    except RecallError as error:
        _fail(f"mlflow-recall: {error}", 1)
    except OSError as error:  # a file or disk of the user, in whatever library
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        _fail(f"mlflow-recall: {error.filename or 'system'}: {reason}", 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("mlflow-recall: interrupted; runs that were active are marked KILLED", 130)
    except Exception:  # a bug keeps its traceback, without secrets
        click.echo(safe_text(traceback.format_exc()), err=True, nl=False)
        sys.exit(1)


def _check_arguments(arguments: Sequence[str]) -> None:
    """Exit where an argument is no text, or longer than any option needs."""
    for place, argument in enumerate(arguments, start=1):
        if len(argument) > limits.MAX_ARGUMENT:
            got = f"{len(argument)} characters"
            _fail(f"mlflow-recall: argument {place}: at most {limits.MAX_ARGUMENT}, got {got}", 2)
        if any("\ud800" <= character <= "\udfff" for character in argument):
            _fail(f"mlflow-recall: argument {place}: expected UTF-8, got other bytes", 2)


def _fail(line: str, code: int) -> NoReturn:
    text = " ".join(line.split())
    if len(text) > _MAX_LINE:
        text = f"{text[: _MAX_LINE - 200]} … {text[-200:]}"
    click.echo(safe_line(text), err=True)
    sys.exit(code)


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="mlflow-recall")
def commands() -> None:
    """Pick the right pre-trained model for a new task, from the models you have in MLflow."""


for _command in (
    check,
    register,
    adopt,
    benchmark,
    cluster,
    recommend,
    explain,
    recall,
    select,
    backtest,
    plan,
    history,
):
    commands.add_command(_command)
