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
_MAX_DEFAULT_WORKERS = 8
_EXIT_TIMEOUT = 5.0  # seconds in which an idle worker exits


class LocalEngine:
    """Worker processes that send what their tasks yield through pipes.

    Args:
        workers: Number of processes; None or 0: one for each core, at most 8.
        threads: Numeric threads of each process; None or 0: the cores are shared evenly.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self._workers = workers or min(cores or 1, _MAX_DEFAULT_WORKERS)
        self._threads = threads or max(1, (cores or 1) // self._workers)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Job] = {}

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """See ``ports.Engine.stream``."""
        waiting = enumerate(tasks)
        has_more = True
        try:
            while True:
                while has_more and len(self._busy) < self._workers:
                    if (pair := next(waiting, None)) is None:
                        has_more = False
                    else:
                        self._start(function, *pair, self._free_worker())
                if not self._busy:
                    return
                for connection in wait(list(self._busy)):
                    progress = self._receive(connection)  # type: ignore[arg-type]
                    if progress is not None:
                        yield progress
        finally:  # the consumer may stop early, and then the running tasks are killed
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
        job = _Job(worker=worker, index=index, function=function, task=task)
        self._busy[worker.connection] = job
        with suppress(BrokenPipeError, ConnectionResetError):  # ``_receive`` handles a dead worker
            worker.connection.send((function, task))

    def _free_worker(self) -> _Worker:
        return self._idle.pop() if self._idle else self._new_worker()

    def _new_worker(self) -> _Worker:
        return _Worker(len(self._busy), self._threads)

    def _receive(self, connection: Connection) -> Progress | None:
        """Return the next message of a worker; None if the consumer needs not know it."""
        job = self._busy[connection]
        try:
            kind, payload = connection.recv()
        except (EOFError, ConnectionResetError):
            del self._busy[connection]
            connection.close()
            if job.worker.has_worked and not job.has_begun:  # it died while it was idle
                self._start(job.function, job.index, job.task, self._new_worker())
                return None
            return Progress(job.index, error=TaskError(job.worker.exit_reason()))
        if kind == "begun":
            job.has_begun = job.worker.has_worked = True
            return None
        if kind == "event":
            return Progress(job.index, event=payload)
        del self._busy[connection]
        self._idle.append(job.worker)
        if kind == "error":
            return Progress(job.index, error=TaskError(*payload))
        return Progress(job.index, done=True)


@dataclass(kw_only=True)
class _Job:
    """A task and the worker that runs it."""

    worker: _Worker
    index: int
    function: Callable[[Any], Iterator[object]]
    task: Any
    #: whether the worker has received the task
    has_begun: bool = False


class _Worker:
    """One process and the parent's end of its pipe.

    Args:
        index: Index of the worker, which decides its GPU.
        threads: Numeric threads of the process.
    """

    def __init__(self, index: int, threads: int) -> None:
        self.connection, child_connection = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(
            target=_serve, args=(child_connection, index, threads), daemon=True
        )
        with _numeric_threads(threads):
            self._process.start()
        child_connection.close()
        #: whether it has received a task before
        self.has_worked = False

    def close(self) -> None:
        """Close the pipe, so that an idle worker exits by itself."""
        self.connection.close()
        self._process.join(_EXIT_TIMEOUT)
        self._process.kill()
        self._process.join()

    def kill(self) -> None:
        """End the process at once."""
        self.connection.close()
        self._process.kill()
        self._process.join()

    def exit_reason(self) -> str:
        """Return why the process ended."""
        self._process.join()
        code = self._process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = ": probably out of memory, try fewer workers" if code == -signal.SIGKILL else ""
        return f"the worker process died ({cause}){hint}"


class _numeric_threads:  # noqa: N801 - reads as a statement
    """The environment variables that the numeric libraries of a child read when they are loaded."""

    def __init__(self, threads: int) -> None:
        self._values = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))

    def __enter__(self) -> None:
        self._previous = {name: os.environ.get(name) for name in self._values}
        os.environ.update(self._values)

    def __exit__(self, *_: object) -> None:
        for name, value in self._previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, index: int, threads: int) -> None:
    """Run one task after another in a worker, until the parent closes the pipe."""
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.SIG_IGN)  # the parent handles interrupts
    _select_gpu(index)
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


def _select_gpu(index: int) -> None:
    """Make one GPU visible, the worker's index modulo their number; no change without a GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    with suppress(OSError):
        count = len(os.listdir("/proc/driver/nvidia/gpus"))  # noqa: PTH208
        names = visible.split(",") if visible else [str(i) for i in range(count)]
        if names and names != [""]:
            os.environ["CUDA_VISIBLE_DEVICES"] = names[index % len(names)]
