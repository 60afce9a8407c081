"""Owners of RUNNING runs: the tag that names them, their heartbeat, and how a dead one is told.

No clock of another machine decides anything. A heartbeat is a counter, and an owner is dead for an
observer when the counter stood still for as long as a lease on the observer's own clock.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run, RunStatus
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import is_running, search_runs
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.errors import ConfigError
from mlflow_recall.safe_text import safe_line

_LEASE_VARIABLE = "MLFLOW_RECALL_LEASE"
_LONGEST_LEASE = 86_400.0  # a day


def read_lease() -> float:
    """Return the seconds for which a heartbeat stands still before its owner counts as dead.

    Raises:
        ConfigError: The variable has something else than a number of seconds.
    """
    text = os.environ.get(_LEASE_VARIABLE, "300")
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= _LONGEST_LEASE:
            return seconds
    raise ConfigError(f"{_LEASE_VARIABLE}: expected seconds, at most a day, got {text!r:.60}")


LEASE = read_lease()
#: seconds between two heartbeats, and between two observations that count as continuous
_BEATS, _OBSERVATIONS = 10, 5
_IS_LINUX = platform.system() == "Linux"
#: column of /proc/PID/stat with the start time, counted after the name of the program
_STATE, _START_TIME = 0, 19


@dataclass(frozen=True)
class Owner:
    """The process that writes a run."""

    #: name of the host, for people
    host: str
    #: what processes have in common that see each other: boot of the machine and namespace
    machine: str
    process: int
    #: start time of the process; its unit depends on the system
    started: float

    @classmethod
    def of(cls, run_tags: Mapping[str, str]) -> Owner | None:
        """Return the owner that a run names; None where it cannot be read."""
        try:
            owner = parse_json(run_tags[tags.OWNER])
            return cls(
                str(owner["host"]),
                str(owner["machine"]),
                int(owner["process"]),
                float(owner["started"]),
            )
        except (ValueError, LookupError, TypeError, OverflowError):
            return None

    @property
    def is_gone(self) -> bool:
        """Whether its process certainly ended; False where that cannot be seen from here."""
        if self.machine != machine_id() or _is_hidden(self.process):
            return False
        return start_time(self.process) != self.started

    def __str__(self) -> str:
        return safe_line(f"process {self.process} on {self.host}")


@cache
def machine_id() -> str:
    """Return what is equal for two processes only if they can see each other.

    A host name is no such thing: containers of one image share theirs.
    """
    if _IS_LINUX:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    return f"{uuid.getnode():x}"


def _is_hidden(process: int) -> bool:
    """Return whether a process is another user's, which some systems do not show."""
    if process <= 0:
        return False
    try:
        os.kill(process, 0)  # signal 0 is none: it only asks
    except PermissionError:
        return start_time(process) is None
    except (OSError, OverflowError):
        return False
    return False


def start_time(process: int) -> float | None:
    """Return when a process started, in a unit of this system; None where there is none alive.

    On Linux in ticks since the boot, which no change of the clock moves.
    """
    if _IS_LINUX:
        with suppress(OSError, ValueError, IndexError):
            text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            return None if fields[_STATE] in "ZX" else float(fields[_START_TIME])
        return None
    with suppress(psutil.Error, ValueError, OverflowError):
        found = psutil.Process(process)
        if found.status() != psutil.STATUS_ZOMBIE:
            return float(round(found.create_time(), 2))
    return None


def owner_tags() -> dict[str, str]:
    """Return the tags of a run that this process writes: whose it is, and its first heartbeat."""
    return {tags.OWNER: _owner_tag(os.getpid()), tags.HEARTBEAT: "0"}


@cache
def _owner_tag(process: int) -> str:
    started = start_time(process)
    owner = Owner(socket.gethostname(), machine_id(), process, -1.0 if started is None else started)
    return json.dumps(vars(owner))


@dataclass
class _Observation:
    """A heartbeat as it was seen: its value, since when, and when it was last read."""

    value: str
    since: float
    read: float


class Liveness:
    """Tells dead owners from living ones by watching their heartbeats.

    Args:
        clock: Monotonic clock of this process, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Observation] = {}

    def why_dead(self, run: Run) -> str | None:
        """Return why the owner of a run that was just read is dead; None while it may be alive.

        It is dead if its process ended on this machine, or if its heartbeat stood still for a lease
        over reads that were never far apart: an outage of the server, or a suspension of this
        process, starts the count anew.
        """
        owner = Owner.of(run.data.tags)
        if owner is not None and owner.is_gone:
            return f"its {owner} is gone"
        now, value = self._clock(), run.data.tags.get(tags.HEARTBEAT, "")
        seen = self._seen.get(run.info.run_id)
        if seen is None or seen.value != value or now - seen.read > LEASE / _OBSERVATIONS:
            seen = _Observation(value, now, now)
        seen.read = now
        self._seen[run.info.run_id] = seen
        still = now - seen.since
        if still < LEASE:
            return None
        return f"the heartbeat of {owner or 'its owner'} stood still for {still:.0f} s"


def close_stale_runs(client: MlflowClient) -> list[str]:
    """Close the RUNNING runs of processes of this machine that ended, with the reason.

    Runs of living processes, of other machines, and runs without an owner are not changed: whoever
    needs their cell watches their heartbeat.

    Returns:
        One line for each closed run.
    """
    experiments = [str(e.experiment_id) for e in client.search_experiments()]
    query = f"attributes.status = 'RUNNING' AND tags.`{tags.OWNER}` LIKE '%'"
    closed = []
    for run in list(search_runs(client, experiments, query)):
        owner = Owner.of(run.data.tags)
        if owner is not None and owner.is_gone:
            reason = f"its {owner} is gone"
            take_over(client, run.info.run_id, reason)
            closed.append(f"closed {run.info.run_name} ({run.info.run_id}): {reason}")
    return closed


def take_over(client: MlflowClient, run_id: str, reason: str) -> None:
    """Close the run of a dead owner, who drops its result if it lives after all."""
    client.set_tag(run_id, tags.TAKEN_OVER, reason)  # first: who reads it writes nothing any more
    if not is_running(client.get_run(run_id)):
        return  # its owner was faster
    client.set_tag(run_id, tags.REASON, reason)
    client.set_terminated(run_id, RunStatus.to_string(RunStatus.FAILED))


class Heartbeat:
    """A thread that counts on in the runs of this process.

    Args:
        client: Client of the tracking server.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._counts: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, run_id: str) -> None:
        """Count in a run from now on; its first heartbeat is written when it is created."""
        self._counts.setdefault(run_id, 0)
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def release(self, run_id: str) -> None:
        """Write no more heartbeats of a run."""
        self._counts.pop(run_id, None)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.wait(LEASE / _BEATS):
            for run_id, count in tuple(self._counts.items()):
                with suppress(MlflowException, OSError):  # the server may be away for a moment
                    self._client.set_tag(run_id, tags.HEARTBEAT, str(count + 1))
                if run_id in self._counts:
                    self._counts[run_id] = count + 1
