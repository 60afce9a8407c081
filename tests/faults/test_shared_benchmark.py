"""Workers that share a tracking server train each cell once, whatever gets lost between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from losing import Losses, losing
from mlflow.entities import ViewType
from prepared import Zoo, find_runs, registry_for, services_for, write_text_zoo
from tiny import tiny_texts
from waiting import PATH, run_server, wait_until

from mlflow_recall.adapters.manifests.yaml_files import read_zoo
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.workflows.register import register_models

pytestmark = pytest.mark.slow

MODELS, DATASETS = 3, 4
WORKER = Path(__file__).with_name("sharing.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """A tracking server of one process on a store of its own."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    environment = {k: v for k, v in os.environ.items() if k != "_MLFLOW_SERVER_ARTIFACT_ROOT"}
    environment |= {"PATH": PATH, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def command(port: str) -> list[str]:
        return [
            *("mlflow", "server", "--workers", "2", "--host", "127.0.0.1", "--port", port),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        ]

    with run_server(command, folder, environment) as url:
        yield url


@pytest.fixture
def shared(server: str, namespace: str, tmp_path: Path) -> Zoo:
    """Three registered models and four datasets, on which nothing was trained."""
    zoo_file, _, target = write_text_zoo(tmp_path, MODELS)
    services, reporter = services_for(server, namespace)
    done = register_models(read_zoo(zoo_file), registry_for(services), reporter).models
    for i in range(DATASETS):
        tiny_texts(tmp_path / f"set-{i}.csv", 30, seed=i)
    listed = {"datasets": [{"path": f"set-{i}.csv"} for i in range(DATASETS)]}
    (tmp_path / "benchmarks.yaml").write_text(yaml.safe_dump(listed))
    return Zoo(server, namespace, tmp_path, target, tuple(model.name for model in done))  # type: ignore[arg-type]


@contextmanager
def workers(
    shared: Zoo, uri: str, count: int, **variables: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start workers that share the benchmark; those that are left are killed."""
    command = [
        *(sys.executable, "-W", "ignore", str(WORKER), uri, shared.namespace),
        *(str(shared.folder / "benchmarks.yaml"), str(shared.folder / "log")),
    ]
    path = os.pathsep.join([str(WORKER.parent.parent), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path, **variables})
        for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def lines(shared: Zoo, kind: str) -> list[str]:
    """Return what the workers wrote down of one kind."""
    log = shared.folder / "log"
    written = log.read_text().splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in written if line.startswith(f"{kind} ")]


def check_each_cell_is_finished_once(shared: Zoo) -> None:
    runs = find_runs(shared.uri, shared.namespace, "benchmark")
    finished = Counter(r.data.tags[tags.CELL] for r in runs if r.info.status == "FINISHED")
    assert len(finished) == MODELS * DATASETS
    assert set(finished.values()) == {1}
    assert not [run for run in runs if run.info.status == "RUNNING"]
    deleted = shared.client.search_runs(
        [run.info.experiment_id for run in runs[:1]], run_view_type=ViewType.DELETED_ONLY
    )
    assert all(tags.CONFIRMED not in r.data.tags or tags.WITHDRAWN in r.data.tags for r in deleted)
    kept = lines(shared, "kept")
    assert len(kept) == len(set(kept)) == MODELS * DATASETS


@pytest.mark.parametrize("share", [0.0, 0.1], ids=["all answers", "one answer in ten lost"])
def test_three_workers_train_each_cell_once(shared: Zoo, server: str, share: float) -> None:
    losses = Losses(share)
    with (
        losing(server, losses) as uri,
        workers(shared, uri, 3, MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="0") as processes,
    ):
        assert [process.wait() for process in processes] == [0, 0, 0]

    check_each_cell_is_finished_once(shared)
    began = lines(shared, "began")
    assert len(began) == len(set(began)) == MODELS * DATASETS
    assert (losses.count > 0) == (share > 0)
    assert len(lines(shared, "ended")) == 3


def test_a_suspended_worker_keeps_no_second_result(shared: Zoo, server: str) -> None:
    """Its cell is trained by the other one, and what it still does is dropped."""
    with workers(shared, server, 2, MLFLOW_RECALL_LEASE="2") as (first, second):
        wait_until(lambda: lines(shared, "began"))
        first.send_signal(signal.SIGSTOP)
        assert second.wait() == 0
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0

    check_each_cell_is_finished_once(shared)
    began = lines(shared, "began")
    assert MODELS * DATASETS <= len(began) <= MODELS * DATASETS + 1
