"""Where work is done: ``local`` processes of this machine, ``ray`` a cluster; the same stream."""

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


def get_engine(name: str, workers: int = 0, threads: int = 0) -> Engine:
    """The engine of that name.

    Raises:
        SettingError: there is none; the message lists the known ones.
    """
    if name not in ENGINES:
        raise ConfigError(unknown_name("engine", name, ENGINES))
    return ENGINES[name](workers, threads)
