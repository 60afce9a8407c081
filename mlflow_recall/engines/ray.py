"""Tasks in a Ray cluster, or on the cores of this machine under Ray."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, TypeVar

from mlflow_recall.errors import ConfigError, RecallError, TaskError
from mlflow_recall.ports import Progress

T = TypeVar("T")


class RayEngine:
    """Streaming Ray tasks, for nodes that share the cache folder.

    Args:
        workers: Parallel tasks; None or 0: as many as the cores of the cluster allow.
        threads: Cores of each task; None or 0: one.
    """

    def __init__(self, workers: int | None = None, threads: int | None = None) -> None:
        try:
            ray: Any = import_module("ray")  # it is only partly typed
        except ImportError:
            raise ConfigError(
                "engine ray: expected the package ray, which is not installed: "
                "pip install 'mlflow-recall[ray]'"
            ) from None
        self._ray = ray
        self._threads = threads or 1
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self._workers = workers or max(1, cores // self._threads)
        gpus = ray.cluster_resources().get("GPU", 0) / self._workers
        self._remote = ray.remote(
            num_cpus=self._threads,
            num_gpus=min(1, gpus),
            num_returns="streaming",
            # One retry, because canceling a task by force may kill the next one in its worker.
            # Ray yields only events that were not yielded before, and one seed gives the same ones.
            max_retries=1,
        )(_guarded)

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """See ``ports.Engine.stream``."""
        waiting = enumerate(tasks)
        running: dict[Any, int] = {}
        has_more = True
        try:
            while True:
                while has_more and len(running) < self._workers:
                    if (pair := next(waiting, None)) is None:
                        has_more = False
                    else:
                        running[self._remote.remote(function, pair[1])] = pair[0]
                if not running:
                    return
                ready, _ = self._ray.wait(list(running), num_returns=1)
                for generator in ready:
                    progress = self._receive(generator, running[generator])
                    if progress.event is None:
                        del running[generator]
                    yield progress
        finally:
            for generator in running:
                self._ray.cancel(generator, force=True)

    def close(self) -> None:
        """See ``ports.Engine.close``."""
        if self._started:
            self._ray.shutdown()

    def _receive(self, generator: Any, index: int) -> Progress:
        try:
            kind, payload = self._ray.get(next(generator))
        except StopIteration:
            return Progress(index, done=True)
        except self._ray.exceptions.RayError as error:
            return Progress(index, error=TaskError(_error_line(error), str(error)))
        if kind == "error":
            return Progress(index, error=TaskError(*payload))
        return Progress(index, event=payload)


def _error_line(error: Exception) -> str:
    """Return one line of an error of Ray: the last one of a traceback, else the first one."""
    lines = str(error).strip().splitlines() or [""]
    line = lines[-1 if "Traceback" in str(error) else 0]
    return f"the Ray task was lost ({type(error).__name__}): {line}"


def _guarded(function: Callable[[Any], Iterator[object]], task: Any) -> Iterator[tuple[str, Any]]:
    """Yield the events of a task, and its error as data.

    The driver then needs none of the exception classes of a worker.
    """
    try:
        for event in function(task):
            yield "event", event
    except Exception as error:
        kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
        yield "error", (f"{kind}{error}", traceback.format_exc())
