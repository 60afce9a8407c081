"""argv -> settings -> workflow -> exit code; the only place that names concrete adapters.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import click

from mlflow_recall import __version__
from mlflow_recall.cli import adopt, backtest, choose, history, plan, zoo
from mlflow_recall.cli.options import CONTEXT
from mlflow_recall.cli.project import as_typed
from mlflow_recall.errors import RecallError, TaskError

#: MLflow's own habits that would get in the way
_MLFLOW = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # would copy a lock file of the working folder into models
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 an expected error, 2 wrong usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how batch systems end a job
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    argv = as_typed(sys.argv[1:] if argv is None else argv, commands)
    try:
        sys.exit(commands.main(argv, prog_name="mlflow-recall", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "mlflow-recall")
        line = " ".join(error.format_message().split())
        _fail(f"{path}: {line} See {path} --help.", 2)
    except TaskError as error:
        click.echo(error.traceback, err=True, nl=False)
        _fail(f"mlflow-recall: {error}", 1)
    except RecallError as error:
        _fail(f"mlflow-recall: {error}", 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("mlflow-recall: interrupted; what was running is marked so", 130)


def _fail(line: str, code: int) -> None:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="mlflow-recall")
def commands() -> None:
    """Pick the right pre-trained model for a new task, from the models you have in MLflow."""


for _command in (
    zoo.register,
    adopt.adopt,
    zoo.benchmark,
    zoo.cluster,
    choose.recommend,
    choose.explain,
    choose.recall,
    choose.select,
    backtest.backtest,
    plan.plan,
    history.history,
):
    commands.add_command(_command)
