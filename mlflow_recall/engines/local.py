"""Processes of this machine, kept for the life of a command."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from mlflow_recall.errors import RecallError, TaskError
from mlflow_recall.ports import Progress

T = TypeVar("T")

_SPAWN = multiprocessing.get_context("spawn")  # forked torch threads and database handles hang
_MOST_WORKERS = 8
_PATIENCE = 5.0  # seconds for an idle worker to leave


class LocalEngine:
    """Worker processes that stream what their tasks yield through pipes.

    Args:
        workers: processes; 0: one a core, at most 8.
        threads: numeric threads of each; 0: the cores shared out evenly.
    """

    def __init__(self, workers: int = 0, threads: int = 0) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self._workers = workers or min(cores or 1, _MOST_WORKERS)
        self._threads = threads or max(1, (cores or 1) // self._workers)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Job] = {}

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """See ``ports.Engine.stream``."""
        waiting = enumerate(tasks)
        more = True
        try:
            while True:
                while more and len(self._busy) < self._workers:
                    if (pair := next(waiting, None)) is None:
                        more = False
                    else:
                        self._start(function, *pair, self._free())
                if not self._busy:
                    return
                for connection in wait(list(self._busy)):
                    progress = self._receive(connection)  # type: ignore[arg-type]
                    if progress is not None:
                        yield progress
        finally:  # the consumer may stop early: whatever still runs is abandoned
            for job in self._busy.values():
                job.worker.kill()
            self._busy.clear()

    def close(self) -> None:
        """See ``ports.Engine.close``."""
        for worker in self._idle:
            worker.close()
        self._idle.clear()

    def _start(
        self, function: Callable[[T], Iterator[object]], index: int, task: T, worker: _Worker
    ) -> None:
        self._busy[worker.connection] = _Job(worker, index, function, task)
        with suppress(BrokenPipeError, ConnectionResetError):  # its end is read like any other
            worker.connection.send((function, task))

    def _free(self) -> _Worker:
        return self._idle.pop() if self._idle else self._new()

    def _new(self) -> _Worker:
        return _Worker(len(self._busy), self._threads)

    def _receive(self, connection: Connection) -> Progress | None:
        """The next message of a worker; None if it is of no news to the consumer."""
        job = self._busy[connection]
        try:
            kind, payload = connection.recv()
        except (EOFError, ConnectionResetError):
            del self._busy[connection]
            connection.close()
            if job.worker.has_worked and not job.begun:  # it had died while it was idle
                self._start(job.function, job.index, job.task, self._new())
                return None
            return Progress(job.index, error=TaskError(job.worker.exit_reason()))
        if kind == "begun":
            job.begun = job.worker.has_worked = True
            return None
        if kind == "event":
            return Progress(job.index, event=payload)
        del self._busy[connection]
        self._idle.append(job.worker)
        if kind == "error":
            return Progress(job.index, error=TaskError(*payload))
        return Progress(job.index, done=True)


@dataclass
class _Job:
    """A task on its way, and who has it."""

    worker: _Worker
    index: int
    function: Callable[[Any], Iterator[object]]
    task: Any
    #: the worker has said that it received the task
    begun: bool = False


class _Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, place: int, threads: int) -> None:
        self.connection, other = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(
            target=_serve, args=(other, place, threads), daemon=True
        )
        with _numeric_threads(threads):
            self._process.start()
        other.close()
        #: it has begun a task before
        self.has_worked = False

    def close(self) -> None:
        """Hang up; an idle worker then leaves by itself."""
        self.connection.close()
        self._process.join(_PATIENCE)
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()

    def exit_reason(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = ": probably out of memory, try fewer workers" if code == -signal.SIGKILL else ""
        return f"the worker process died ({how}){hint}"


class _numeric_threads:  # noqa: N801 - reads as a statement
    """The environment that numeric libraries of a child read while they are loaded."""

    def __init__(self, threads: int) -> None:
        self._wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._wanted}
        os.environ.update(self._wanted)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, place: int, threads: int) -> None:
    """Body of a worker: one task after another until the parent hangs up."""
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.SIG_IGN)  # the parent decides what it means
    _share_gpus(place)
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if threads == 1 else "true"
    with suppress(EOFError, BrokenPipeError):
        while True:
            function, task = connection.recv()
            connection.send(("begun", None))
            connection.send(_run(connection, function, task))


def _run(connection: Connection, function: Callable[[Any], Iterator[object]], task: Any) -> Any:
    try:
        for event in function(task):
            connection.send(("event", event))
    except BrokenPipeError:
        raise
    except Exception as error:
        kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
        return "error", (f"{kind}{error}", traceback.format_exc())
    return "done", None


def _share_gpus(place: int) -> None:
    """Worker i takes GPU i modulo their number; nothing where there is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with suppress(OSError):
        found = [name for name in os.listdir("/proc/driver/nvidia/gpus")]  # noqa: C416, PTH208
        names = visible.split(",") if visible else [str(i) for i in range(len(found))]
        if names and names != [""]:
            os.environ["CUDA_VISIBLE_DEVICES"] = names[place % len(names)]
