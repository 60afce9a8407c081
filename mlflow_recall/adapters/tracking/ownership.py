"""Owners of RUNNING runs: the tag that names them, their heartbeat, and stale runs."""

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
from mlflow_recall.bounded_json import parse_json

#: seconds between two heartbeats, and the maximum age of the last one of a live owner
HEARTBEAT_INTERVAL, MAX_HEARTBEAT_AGE = 30.0, 300.0


@cache
def owner_tag() -> str:
    """Return the tag that identifies this process, so that others can check whether it runs."""
    started = round(psutil.Process().create_time(), 2)
    return json.dumps({"host": socket.gethostname(), "process": os.getpid(), "started": started})


def stale_reason(run: Run, now: float) -> str | None:
    """Return why a RUNNING run has no live owner; None if it has one, or names no owner."""
    run_tags = run.data.tags
    if tags.OWNER not in run_tags:
        return None
    try:
        owner = parse_json(run_tags[tags.OWNER])
        host, process, started = str(owner["host"]), int(owner["process"]), float(owner["started"])
    except (ValueError, LookupError, TypeError, OverflowError):
        host, process, started = "", 0, 0.0
    if host == socket.gethostname():
        if _is_alive(process, started):
            return None
        return f"its process {process} on {host} is gone"
    try:
        age = now - float(run_tags.get(tags.HEARTBEAT, 0))
    except ValueError:
        age = now
    if age <= MAX_HEARTBEAT_AGE:
        return None
    return f"no heartbeat of process {process} on {host or 'an unknown host'} for {age:.0f} s"


def _is_alive(process_id: int, started: float) -> bool:
    with suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(process_id)
        is_same = abs(process.create_time() - started) < 1
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    return False


def close_stale_runs(client: MlflowClient, now: Callable[[], float] = time.time) -> list[str]:
    """Close the RUNNING runs of ended processes as FAILED, with the reason.

    Runs of live processes, and runs without an owner, are not changed.

    Returns:
        One line for each closed run.
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
    """A thread that writes the time into the runs of this process every half minute.

    Args:
        client: Client of the tracking server.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._runs: set[str] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, run_id: str) -> None:
        """Write heartbeats of a run from now on; its first one is written when it is created."""
        self._runs.add(run_id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def release(self, run_id: str) -> None:
        """Write no more heartbeats of a run."""
        self._runs.discard(run_id)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(HEARTBEAT_INTERVAL):
            self._write(tuple(self._runs))

    def _write(self, runs: Iterable[str]) -> None:
        for run_id in runs:
            with suppress(MlflowException, OSError):  # the server may be away for a moment
                self._client.set_tag(run_id, tags.HEARTBEAT, f"{time.time():.0f}")
