"""Runs of ended processes are closed; those of live ones, and of others, are not changed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
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
    LEASE,
    Heartbeat,
    Liveness,
    Owner,
    close_stale_runs,
    machine_id,
    owner_tags,
    read_lease,
    start_time,
)
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.errors import ConfigError

HOST = socket.gethostname()


class Clock:
    """A monotonic clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def run_of(owner: object, beat: object = 0, run_id: str = "1") -> Run:
    """A RUNNING run with this owner, as a search finds it."""
    run_tags = {tags.OWNER: owner if isinstance(owner, str) else json.dumps(owner)}
    if beat is not None:
        run_tags[tags.HEARTBEAT] = str(beat)
    info = RunInfo(run_id, "0", "me", "RUNNING", 0, None, LifecycleStage.ACTIVE)
    return Run(info, RunData(tags=[RunTag(key, value) for key, value in run_tags.items()]))


def owner_with(**changes: object) -> dict[str, object]:
    """Return this very process as an owner, but for some of its fields."""
    return {**json.loads(owner_tags()[tags.OWNER]), **changes}


FAR = owner_with(host="another", machine="another boot")


def test_this_very_process_is_not_gone() -> None:
    owner = Owner.of(owner_tags())

    assert owner is not None
    assert (owner.process, owner.is_gone) == (os.getpid(), False)
    assert str(owner) == f"process {os.getpid()} on {HOST}"


def test_a_process_number_used_again_is_not_the_owner() -> None:
    owner = owner_with(started=1.0)

    assert Liveness().why_dead(run_of(owner)) == f"its process {os.getpid()} on {HOST} is gone"


def test_a_process_that_is_gone_is_dead_at_once() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    owner = owner_with(process=process.pid, started=start_time(process.pid))
    process.wait()

    assert Liveness().why_dead(run_of(owner)) == f"its process {process.pid} on {HOST} is gone"


def test_a_killed_process_that_was_not_waited_for_is_dead() -> None:
    """A zombie keeps its number and start time until its parent waits for it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run = run_of(owner_with(process=process.pid, started=start_time(process.pid)))
        assert Liveness().why_dead(run) is None
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)

        assert Liveness().why_dead(run) is not None


@pytest.mark.parametrize(
    "changes", [{"machine": "another boot"}, {"machine": f"{machine_id()}1"}], ids=["boot", "names"]
)
def test_a_process_that_cannot_be_seen_from_here_is_not_gone(changes: dict[str, object]) -> None:
    """A container has process numbers of its own, whatever its host is called."""
    owner = Owner.of({tags.OWNER: json.dumps(owner_with(process=2**22 + 1, **changes))})

    assert owner is not None
    assert not owner.is_gone


def test_a_process_that_a_system_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, where /proc shows only one's own."""

    def refuse(process: int, signal: int) -> None:
        raise PermissionError

    owner = Owner.of({tags.OWNER: json.dumps(owner_with(process=2**22 + 1))})
    assert owner is not None
    assert owner.is_gone
    monkeypatch.setattr(os, "kill", refuse)
    assert not owner.is_gone


def test_an_owner_is_dead_when_its_heartbeat_stood_still_for_a_lease() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    looks = [liveness.why_dead(run_of(FAR))]
    while clock.now < 1000 + LEASE:
        clock.now += LEASE / 10
        looks.append(liveness.why_dead(run_of(FAR)))

    *earlier, last = looks
    assert set(earlier) == {None}
    assert last == (
        f"the heartbeat of process {os.getpid()} on another stood still for {LEASE:.0f} s"
    )


@pytest.mark.parametrize("owner", [FAR, owner_with()], ids=["far", "suspended here"])
def test_it_lives_while_it_counts_whatever_the_number(owner: object) -> None:
    """No clock is compared: a counter may begin anywhere, and fall."""
    clock = Clock()
    liveness = Liveness(clock)

    for beat in (*range(30), -5, "?", 10**30):
        assert liveness.why_dead(run_of(owner, beat)) is None
        clock.now += LEASE / 10


def test_an_outage_between_two_looks_kills_nobody() -> None:
    """Heartbeats could not be written meanwhile, or we did not run."""
    clock = Clock()
    liveness = Liveness(clock)

    for _ in range(20):
        assert liveness.why_dead(run_of(FAR)) is None
        clock.now += LEASE / 2


def test_runs_are_watched_apart() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    for beat in range(11):
        dead = [liveness.why_dead(run_of(FAR, b, i)) for i, b in (("1", 0), ("2", beat))]
        clock.now += LEASE / 10

    assert [reason is None for reason in dead] == [False, True]


@pytest.mark.parametrize("owner", ["", "?", "[]", "3", '{"host": "a"}'])
def test_an_owner_that_cannot_be_read_is_judged_by_its_heartbeat(owner: str) -> None:
    clock = Clock()
    liveness = Liveness(clock)
    assert Owner.of({tags.OWNER: owner}) is None
    for _ in range(11):
        reason = liveness.why_dead(run_of(owner, None))
        clock.now += LEASE / 10

    assert reason == f"the heartbeat of its owner stood still for {LEASE:.0f} s"


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf", "1e11"])
def test_a_lease_that_is_no_time_is_one_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RECALL_LEASE", text)

    with pytest.raises(
        ConfigError, match=f"MLFLOW_RECALL_LEASE: expected seconds, .* got '{text}'"
    ):
        read_lease()

    monkeypatch.setenv("MLFLOW_RECALL_LEASE", "2.5")
    assert read_lease() == 2.5


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
    who = json.dumps(owner_with(process=living.pid, started=start_time(living.pid)))
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


def test_a_sweep_spares_runs_of_other_machines_and_of_others(
    client: MlflowClient, namespace: str
) -> None:
    """Whether they live cannot be told at one look."""
    experiment = client.create_experiment(namespace)
    ids = [
        client.create_run(experiment, tags=run_tags).info.run_id
        for run_tags in ({tags.OWNER: json.dumps(FAR)}, {"mlflow.source.name": "theirs.py"})
    ]

    close_stale_runs(client)

    statuses = [client.get_run(run_id).info.status for run_id in ids]
    for run_id in ids:
        client.set_terminated(run_id)
    assert statuses == ["RUNNING", "RUNNING"]


def test_the_heartbeat_beats_until_the_run_is_finished(
    client: MlflowClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats of a second run of the same process show that a round of them is over."""
    monkeypatch.setattr(ownership, "LEASE", 0.2)
    writer = RunWriter(client, namespace)
    run, other = (writer.open_run(name, "benchmark") for name in ("cell", "other"))

    def beat(run_id: str) -> str:
        return str(client.get_run(run_id).data.tags[tags.HEARTBEAT])

    def wait_for_beat(run_id: str) -> None:
        client.set_tag(run_id, tags.HEARTBEAT, "0")
        wait_until(lambda: beat(run_id) != "0")

    assert beat(run.run_id) == "0"
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
    monkeypatch.setattr(ownership, "LEASE", 0.1)
    moody = Moody()
    heartbeat = Heartbeat(cast("MlflowClient", moody))
    heartbeat.watch("a")

    wait_until(lambda: moody.beats)
    heartbeat.stop()
    thread = heartbeat._thread
    assert thread is not None
    thread.join(HANG_LIMIT)
    assert not thread.is_alive()
