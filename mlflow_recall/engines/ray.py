"""A Ray cluster, or the machine's own cores under Ray."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, TypeVar

from mlflow_recall.errors import ConfigError, RecallError, TaskError
from mlflow_recall.ports import Progress

T = TypeVar("T")


class RayEngine:
    """Streaming Ray tasks. The cache folder must be one that all nodes share.

    Args:
        workers: tasks at once; 0: as many as the cluster has cores.
        threads: cores of each task; 0: one.
    """

    def __init__(self, workers: int = 0, threads: int = 0) -> None:
        try:
            ray: Any = import_module("ray")  # typed in part only
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
            # once more if a worker is lost: a task canceled by force may take the next one along.
            # Ray passes on only what was not told before, and a run of one seed is the same again
            max_retries=1,
        )(_guarded)

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """See ``ports.Engine.stream``."""
        waiting = enumerate(tasks)
        running: dict[Any, int] = {}
        more = True
        try:
            while True:
                while more and len(running) < self._workers:
                    if (pair := next(waiting, None)) is None:
                        more = False
                    else:
                        running[self._remote.remote(function, pair[1])] = pair[0]
                if not running:
                    return
                ready, _ = self._ray.wait(list(running), num_returns=1)
                for generator in ready:
                    progress = self._next(generator, running[generator])
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

    def _next(self, generator: Any, index: int) -> Progress:
        try:
            kind, payload = self._ray.get(next(generator))
        except StopIteration:
            return Progress(index, done=True)
        except self._ray.exceptions.RayError as error:
            return Progress(index, error=TaskError(_loss(error), str(error)))
        if kind == "error":
            return Progress(index, error=TaskError(*payload))
        return Progress(index, event=payload)


def _loss(error: Exception) -> str:
    """One line of what Ray tells in many: of an exception the last, else the first."""
    lines = str(error).strip().splitlines() or [""]
    line = lines[-1 if "Traceback" in str(error) else 0]
    return f"the Ray task was lost ({type(error).__name__}): {line}"


def _guarded(function: Callable[[Any], Iterator[object]], task: Any) -> Iterator[tuple[str, Any]]:
    """Errors travel as data, so that a worker needs none of the driver's exception classes."""
    try:
        for event in function(task):
            yield "event", event
    except Exception as error:
        kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
        yield "error", (f"{kind}{error}", traceback.format_exc())
