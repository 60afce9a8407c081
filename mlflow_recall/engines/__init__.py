"""Engines run tasks: ``local`` in processes of this machine, ``ray`` in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mlflow_recall.engines.local import LocalEngine
from mlflow_recall.errors import ConfigError, unknown_name
from mlflow_recall.ports import Engine


def _ray_engine(workers: int | None, threads: int | None) -> Engine:
    from mlflow_recall.engines.ray import RayEngine

    return RayEngine(workers, threads)


#: name -> constructor from the number of workers and the threads of each; None: by the cores
ENGINES: Mapping[str, Callable[[int | None, int | None], Engine]] = MappingProxyType(
    {"local": LocalEngine, "ray": _ray_engine}
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
    return ENGINES[name](workers, threads)
