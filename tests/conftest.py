"""What every test of this project starts from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the session's own, no hub, no telemetry, one thread."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
