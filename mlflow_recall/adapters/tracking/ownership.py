"""Whose a RUNNING run is: owner, heartbeat, and the clearing up after the dead."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs

#: seconds between two heartbeats, and how old the last one of a living owner may be
HEARTBEAT_INTERVAL, MAX_HEARTBEAT_AGE = 30.0, 300.0


@cache
def owner_tag() -> str:
    """This process, so that others can tell whether it still lives."""
    started = round(psutil.Process().create_time(), 2)
    return json.dumps({"host": socket.gethostname(), "process": os.getpid(), "started": started})


def stale_reason(run: Run, now: float) -> str | None:
    """Why the owner of a RUNNING run is dead; None for a living one, or a run that is not ours."""
    told = run.data.tags
    if tags.OWNER not in told:
        return None
    try:
        who = json.loads(told[tags.OWNER])
        host, process, started = str(who["host"]), int(who["process"]), float(who["started"])
    except (ValueError, KeyError, TypeError):
        host, process, started = "", 0, 0.0
    if host == socket.gethostname():
        if _lives(process, started):
            return None
        return f"its process {process} on {host} is gone"
    try:
        age = now - float(told.get(tags.HEARTBEAT, 0))
    except ValueError:
        age = now
    if age <= MAX_HEARTBEAT_AGE:
        return None
    return f"no heartbeat of process {process} on {host or 'an unknown host'} for {age:.0f} s"


def _lives(process: int, started: float) -> bool:
    with suppress(psutil.Error, ValueError):
        found = psutil.Process(process)
        return abs(found.create_time() - started) < 1 and found.status() != psutil.STATUS_ZOMBIE
    return False


def close_stale_runs(client: MlflowClient, now: Callable[[], float] = time.time) -> list[str]:
    """Close what dead processes left RUNNING, as FAILED and with the reason.

    Returns:
        One line a closed run. Runs of living processes, and runs of others, are not touched.
    """
    experiments = [str(e.experiment_id) for e in client.search_experiments()]
    query = f"attributes.status = 'RUNNING' AND tags.`{tags.OWNER}` LIKE '%'"
    closed = []
    for run in list(search_runs(client, experiments, query)):
        reason = stale_reason(run, now())
        if reason is not None:
            client.set_tag(run.info.run_id, tags.REASON, reason)
            client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.FAILED))
            closed.append(f"closed {run.info.run_name} ({run.info.run_id}): {reason}")
    return closed


class Heartbeat:
    """A thread that says every half minute that the owner of some runs lives."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._runs: set[str] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, run_id: str) -> None:
        """Beat for this run from now on; its first beat is written with the run itself."""
        self._runs.add(run_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def release(self, run_id: str) -> None:
        """No more beats for this run."""
        self._runs.discard(run_id)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_INTERVAL):
            self._mark(tuple(self._runs))

    def _mark(self, runs: Iterable[str]) -> None:
        for run_id in runs:
            with suppress(MlflowException, OSError):  # a server that is away for a moment
                self._client.set_tag(run_id, tags.HEARTBEAT, f"{time.time():.0f}")
