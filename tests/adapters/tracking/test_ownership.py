"""Runs of ended processes are closed; those of live ones, and of others, are not changed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, RunData, RunInfo, RunTag
from mlflow.exceptions import MlflowException
from waiting import HANG_LIMIT, wait_until

from mlflow_recall.adapters.tracking import ownership, tags
from mlflow_recall.adapters.tracking.ownership import (
    MAX_HEARTBEAT_AGE,
    Heartbeat,
    close_stale_runs,
    owner_tag,
    stale_reason,
)
from mlflow_recall.adapters.tracking.runs import RunWriter

NOW = 1_800_000_000.0
HOST = socket.gethostname()


def run_of(who: object, beat: float | None = NOW) -> Run:
    """A RUNNING run with this owner, as a search finds it."""
    run_tags = {} if who is None else {tags.OWNER: who if isinstance(who, str) else json.dumps(who)}
    if beat is not None:
        run_tags[tags.HEARTBEAT] = f"{beat:.0f}"
    info = RunInfo("1", "0", "me", "RUNNING", 0, None, LifecycleStage.ACTIVE)
    return Run(info, RunData(tags=[RunTag(key, value) for key, value in run_tags.items()]))


def here(process: int, started: float) -> dict[str, object]:
    return {"host": HOST, "process": process, "started": started}


def elsewhere() -> dict[str, object]:
    """Return an owner with our process number on another host."""
    return {"host": "another", "process": os.getpid(), "started": 1.0}


def test_the_run_of_this_very_process_lives_however_old_its_heartbeat() -> None:
    """A suspended machine has old heartbeats, so on the same host the process itself counts."""
    assert stale_reason(run_of(owner_tag(), beat=NOW - 10 * MAX_HEARTBEAT_AGE), NOW) is None


def test_a_process_number_used_again_is_not_the_owner() -> None:
    started = psutil.Process().create_time()

    assert stale_reason(run_of(here(os.getpid(), started)), NOW) is None
    assert stale_reason(run_of(here(os.getpid(), started - 60)), NOW) == (
        f"its process {os.getpid()} on {HOST} is gone"
    )


def test_a_process_that_is_gone_is_dead_whatever_its_heartbeat() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(process.pid).create_time()
    process.wait()

    assert stale_reason(run_of(here(process.pid, started)), NOW) == (
        f"its process {process.pid} on {HOST} is gone"
    )


def test_a_killed_process_that_was_not_waited_for_is_dead() -> None:
    """A zombie keeps its number and start time until its parent waits for it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process_info = psutil.Process(process.pid)
        run = run_of(here(process.pid, process_info.create_time()))
        assert stale_reason(run, NOW) is None
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: process_info.status() == psutil.STATUS_ZOMBIE)

        assert stale_reason(run, NOW) is not None


def test_another_host_lives_while_its_heartbeat_is_not_five_minutes_old() -> None:
    assert stale_reason(run_of(elsewhere(), beat=NOW - MAX_HEARTBEAT_AGE), NOW) is None
    assert stale_reason(run_of(elsewhere(), beat=NOW - MAX_HEARTBEAT_AGE - 1), NOW) == (
        f"no heartbeat of process {os.getpid()} on another for 301 s"
    )


def test_another_host_that_never_beat_is_dead() -> None:
    assert stale_reason(run_of(elsewhere(), beat=None), NOW) is not None


def test_a_run_without_our_owner_is_not_ours_to_judge() -> None:
    assert stale_reason(run_of(None, beat=0), NOW) is None


@pytest.mark.parametrize("who", ["", "?", "[]", "3", '{"host": "a"}'])
def test_an_owner_that_cannot_be_read_is_judged_by_the_heartbeat(who: str) -> None:
    assert stale_reason(run_of(who, beat=NOW), NOW) is None
    assert "an unknown host" in str(stale_reason(run_of(who, beat=0), NOW))


def test_a_heartbeat_that_cannot_be_read_is_none() -> None:
    run = run_of(elsewhere())
    run.data.tags[tags.HEARTBEAT] = "soon"

    assert stale_reason(run, NOW) is not None


# --- on a store ----------------------------------------------------------------------------------

OPENS = """
import sys
from mlflow_recall.adapters.tracking.client import connect
from mlflow_recall.adapters.tracking.runs import RunWriter
run = RunWriter(connect(sys.argv[1]), sys.argv[2]).open_run("cell", "benchmark")
print(run.run_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def worker(store: str, namespace: str) -> Iterator[subprocess.Popen[str]]:
    """A process that opens a run, prints its id and goes on."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OPENS, store, f"{namespace}/benchmark"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which waits for its input."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_a_sweep_closes_what_a_killed_process_left_and_spares_the_living(
    client: MlflowClient,
    worker: subprocess.Popen[str],
    living: subprocess.Popen[bytes],
) -> None:
    left = cast("Any", worker.stdout).readline().strip()
    experiment = client.get_run(left).info.experiment_id
    who = json.dumps(here(living.pid, psutil.Process(living.pid).create_time()))
    spared = client.create_run(experiment, tags={tags.OWNER: who}).info.run_id
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    lines = close_stale_runs(client)

    assert [line for line in lines if left in line] == [
        f"closed cell ({left}): its process {worker.pid} on {HOST} is gone"
    ]
    dead = client.get_run(left)
    assert dead.info.status == "FAILED"
    assert dead.data.tags[tags.REASON] == f"its process {worker.pid} on {HOST} is gone"
    assert dead.info.end_time
    assert client.get_run(spared).info.status == "RUNNING"
    assert not [line for line in close_stale_runs(client) if left in line or spared in line]


def test_a_sweep_goes_by_the_heartbeat_of_other_hosts_and_spares_runs_of_others(
    client: MlflowClient, namespace: str
) -> None:
    """Only the last heartbeat of the second run is older than five minutes."""
    experiment = client.create_experiment(namespace)
    now = time.time()
    owner = json.dumps(elsewhere())
    ids = [
        client.create_run(experiment, tags=run_tags).info.run_id
        for run_tags in (
            {tags.OWNER: owner, tags.HEARTBEAT: f"{now - 200:.0f}"},
            {tags.OWNER: owner, tags.HEARTBEAT: f"{now - 400:.0f}"},
            {"mlflow.source.name": "theirs.py"},
        )
    ]

    close_stale_runs(client)

    statuses = [client.get_run(run_id).info.status for run_id in ids]
    for run_id in ids:
        client.set_terminated(run_id)
    assert statuses == ["RUNNING", "FAILED", "RUNNING"]


def test_the_heartbeat_beats_until_the_run_is_finished(
    client: MlflowClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats of a second run of the same process show that a round of them is over."""
    monkeypatch.setattr(ownership, "HEARTBEAT_INTERVAL", 0.02)
    writer = RunWriter(client, namespace)
    before = time.time()
    run, other = (writer.open_run(name, "benchmark") for name in ("cell", "other"))

    def beat(run_id: str) -> str:
        return str(client.get_run(run_id).data.tags[tags.HEARTBEAT])

    def wait_for_beat(run_id: str) -> None:
        client.set_tag(run_id, tags.HEARTBEAT, "0")
        wait_until(lambda: beat(run_id) != "0")

    assert round(before) <= float(beat(run.run_id)) <= round(time.time())
    wait_for_beat(run.run_id)
    run.finish()
    for _ in range(2):  # after the second, the beats that began before the end are over
        wait_for_beat(other.run_id)
    client.set_tag(run.run_id, tags.HEARTBEAT, "0")
    for _ in range(2):
        wait_for_beat(other.run_id)
    assert beat(run.run_id) == "0"
    other.finish()
    writer.close()


class Moody:
    """A server that fails at its first two calls."""

    def __init__(self) -> None:
        self.beats: list[str] = []
        self.calls = 0

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.calls += 1
        if self.calls == 1:
            raise MlflowException("away")
        if self.calls == 2:
            raise ConnectionError("away")
        self.beats.append(run_id)


def test_the_heartbeat_goes_on_after_a_server_was_away_until_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_INTERVAL", 0.01)
    moody = Moody()
    heartbeat = Heartbeat(cast("MlflowClient", moody))
    heartbeat.watch("a")

    wait_until(lambda: moody.beats)
    heartbeat.stop()
    thread = heartbeat._thread
    assert thread is not None
    thread.join(HANG_LIMIT)
    assert not thread.is_alive()
