"""Engines run tasks: ``local`` in processes of this machine, ``ray`` in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mlflow_recall.engines.local import LocalEngine
from mlflow_recall.errors import ConfigError, unknown_name
from mlflow_recall.ports import Engine


def _ray(workers: int, threads: int) -> Engine:
    from mlflow_recall.engines.ray import RayEngine

    return RayEngine(workers, threads)


#: name -> constructor from a number of workers (0: as many as there are cores) and threads of each
ENGINES: Mapping[str, Callable[[int, int], Engine]] = MappingProxyType(
    {"local": LocalEngine, "ray": _ray}
)


def get_engine(
    name: str = "local", workers: int | None = None, threads: int | None = None
) -> Engine:
    """Return the engine of that name.

    Args:
        name: Name of the engine.
        workers: Parallel workers; None or 0: one for each core.
        threads: Threads of each worker; None or 0: the cores are shared evenly.

    Raises:
        ConfigError: There is no such engine.
    """
    if name not in ENGINES:
        raise ConfigError(unknown_name("engine", name, ENGINES))
    return ENGINES[name](workers or 0, threads or 0)
