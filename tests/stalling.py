"""Run a command that stops at a moment of its life, so that a test can kill it there.

``python stalling.py MOMENT COUNT FILE ARGUMENT...`` runs ``mlflow-recall ARGUMENT...``. When the
moment has come COUNT times, it makes FILE and does nothing more. The moments are ``opened`` (a
run), ``trained`` (a stage) and ``registered`` (the winner).
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter
from mlflow_recall.cli import main

P = ParamSpec("P")
T = TypeVar("T")


def stall_after(method: Callable[P, T], count: int, marker: Path) -> Callable[P, T]:
    """Wrap a method: the call with this number, counted from 1, never returns."""
    calls, parent = 0, os.getppid()

    @functools.wraps(method)
    def stalling(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal calls
        result = method(*args, **kwargs)
        calls += 1
        if calls == count:
            marker.touch()
            while os.getppid() == parent:
                time.sleep(1)
            os._exit(1)  # Nobody is left who could kill it.
        return result

    return stalling


if __name__ == "__main__":
    moment, number, name, *arguments = sys.argv[1:]
    place = (int(number), Path(name))
    if moment == "opened":
        RunWriter.open_run = stall_after(RunWriter.open_run, *place)  # type: ignore[method-assign]
    elif moment == "trained":
        ActiveRun.log_stage = stall_after(ActiveRun.log_stage, *place)  # type: ignore[method-assign]
    elif moment == "registered":
        MlflowRegistry.register_winner = stall_after(  # type: ignore[method-assign]
            MlflowRegistry.register_winner, *place
        )
    main(arguments)
