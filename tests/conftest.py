"""Fixtures and settings of every test."""

from __future__ import annotations

import itertools
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from trained import Case

_COUNT = itertools.count(1)
#: Processes that run the whole suite at most.
MAX_WORKERS = 4

# An example may take as long as a busy machine needs.
hypothesis.settings.register_profile(
    "without-deadlines", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("without-deadlines")

# no hub, no telemetry, one thread: libraries read these when a test file first imports them
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite on the cores of the machine, and named files in this process.

    A worker process takes 1.5 GB and ten seconds of imports, so there are never many. Workers come
    here too, and must not start workers of their own.
    """
    is_worker = "PYTEST_XDIST_WORKER" in os.environ or hasattr(config, "workerinput")
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    if whole and not is_worker and config.option.numprocesses is None and not config.option.usepdb:
        cores = len(os.sched_getaffinity(0))
        config.option.numprocesses = min(cores, MAX_WORKERS) if cores > 1 else 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that the cores finish together; long tests are slow."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, "core" in item.path.parts))


@pytest.fixture(scope="session", autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all worker processes of this test run see."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def sqlite_without_sync() -> None:
    """Let SQLite not wait for the disk: no store of a test must survive a crash."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
    def switch_sync_off(connection: object, _: object) -> None:
        if hasattr(connection, "execute") and "sqlite" in type(connection).__module__:
            connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(scope="session")
def empty_store(shared_folder: Path, sealed: None, sqlite_without_sync: None) -> Path:
    """An SQLite file as MLflow makes it, to be copied: its migrations take seconds.

    The first worker process that needs it makes it for all of them.
    """
    from mlflow import MlflowClient

    file, rough = shared_folder / "empty.db", shared_folder / "migrating.db"
    with FileLock(shared_folder / "empty.lock"):
        if not file.exists():
            with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Migrations warn.
                patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(shared_folder / "artifacts"))
                MlflowClient(tracking_uri=f"sqlite:///{rough}").search_experiments(max_results=1)
            rough.rename(file)
    return file


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """Tracking URI of an SQLite store, which MLflow uses from its first test to the session's end.

    All tests of a worker process share it: each in a ``namespace`` of its own. Artifacts lie
    beside the empty store, also for subprocesses, not in the folder that pytest runs in.
    """
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(empty_store.parent / "artifacts"))
        yield uri


@pytest.fixture
def client(store: str) -> MlflowClient:
    """A client of the session's store."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=store)


@pytest.fixture
def namespace() -> str:
    """A zoo of the test's own in the shared store: ``zoo-<n>``."""
    return f"zoo-{next(_COUNT)}"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory, sealed: None) -> Case:
    """A tiny encoder and texts, which trainings of every mode are tried on."""
    from trained import text_case  # with torch, which most tests need not load

    return text_case(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, sealed: None) -> Case:
    """A tiny residual network and images."""
    from trained import image_case

    return image_case(tmp_path_factory.mktemp("image"))
