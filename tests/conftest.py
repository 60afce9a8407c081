"""What every test of this project starts from."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlflow import MlflowClient

_COUNT = itertools.count(1)

# no hub, no telemetry, one thread: libraries read these when a test file first imports them
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, sealed: None) -> Iterator[str]:
    """Tracking URI of an SQLite store, which MLflow uses from its first test to the session's end.

    Its migrations take seconds, so all tests share it: each in a ``namespace`` of its own.
    Artifacts lie beside it, also for subprocesses, not in the folder that pytest runs in.
    """
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a migration says
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "artifacts"))
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
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
