"""After a killed process, open runs are closed and finished work is not repeated."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fakes import InlineEngine
from mlflow import MlflowClient
from mlflow.entities import Run
from prepared import Zoo, text_zoo
from tiny import tiny_texts
from waiting import HANG_LIMIT, wait_until

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.adapters.tracking.ownership import owner_tags
from mlflow_recall.cli import main

pytestmark = pytest.mark.slow

STALLING = Path(__file__).with_name("stalling.py")


def running(client: MlflowClient, process: int) -> list[Run]:
    """RUNNING runs that a process owns."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = search_runs(client, experiments, "attributes.status = 'RUNNING'")
    return [
        run
        for run in runs
        if json.loads(run.data.tags.get(tags.OWNER, "{}")).get("process") == process
    ]


@contextmanager
def stalling(
    moment: str, count: int, command: Sequence[str], store: str, folder: Path, *, wait: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command up to a moment, where it waits to be killed."""
    log, marker = folder / "log", folder / moment
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(STALLING), moment, str(count), str(marker), *command],
            env={**os.environ, "MLFLOW_TRACKING_URI": store},
            stdout=file,
            stderr=file,
        )
    try:
        if wait:
            wait_until(marker.exists, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["opened", "trained", "registered"])
def test_what_a_killed_selection_left_open_is_closed_by_the_next_command(
    store: str, tmp_path: Path, moment: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """After `kill -9` no run stays RUNNING, and runs of live processes are not changed."""
    zoo, name = text_zoo(store), f"killed-{moment}"
    alive = living_run(zoo.client)
    with stalling(moment, 1, selection(zoo, name), store, tmp_path) as process:
        assert check_that_the_killed_is_closed(zoo, process, name, alive, capfd) >= 1

    assert len(zoo.client.search_model_versions(f"name = '{name}'")) == (moment == "registered")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_a_selection_may_be_killed_at_a_random_moment(
    store: str, tmp_path: Path, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A random moment may also be in the middle of a request."""
    zoo, name = text_zoo(store), f"killed-{seed}"
    alive = living_run(zoo.client)
    command = selection(zoo, name)
    with stalling("opened", 1000, command, store, tmp_path, wait=False) as process:
        wait_until(lambda: running(zoo.client, process.pid), process, tmp_path / "log")
        time.sleep(random.Random(seed).uniform(0, 5))

        check_that_the_killed_is_closed(zoo, process, name, alive, capfd)


def selection(zoo: Zoo, name: str) -> list[str]:
    """Arguments of a selection in a process of its own, with one worker process."""
    return [
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--models",
        zoo.everyone, "--register-as", name, "--workers", "1",
    ]  # fmt: skip


def check_that_the_killed_is_closed(
    zoo: Zoo,
    process: subprocess.Popen[bytes],
    name: str,
    alive: str,
    capfd: pytest.CaptureFixture[str],
) -> int:
    """Kill a process and check that the next command closes its runs and no others.

    Returns:
        How many runs it left open.
    """
    client = zoo.client
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    left = running(client, process.pid)

    _, orphans = psutil.wait_procs(workers, timeout=HANG_LIMIT)
    with pytest.raises(SystemExit):
        main(["cluster", "--namespace", "nobody"])  # any command; this one has nothing to do
    message = capfd.readouterr().err

    assert orphans == []  # a worker leaves when nobody listens any more
    assert running(client, process.pid) == []
    for run in left:
        closed = client.get_run(run.info.run_id)
        assert closed.info.status == "FAILED"
        assert f"its process {process.pid} on " in closed.data.tags[tags.REASON]
        assert run.info.run_id in message
    assert client.get_run(alive).info.status == "RUNNING"
    client.set_terminated(alive)
    winners = client.search_model_versions(f"name = '{name}'")
    parents = [version.tags[tags.SELECTION] for version in winners]
    assert len(parents) == len(set(parents)) <= 1
    return len(left)


def living_run(client: MlflowClient) -> str:
    """A RUNNING run whose owner is this process."""
    return str(client.create_run("0", tags=owner_tags()).info.run_id)


def test_a_benchmark_goes_on_where_it_was_killed(
    store: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Finished cells are kept, and the interrupted one is trained again."""
    zoo = text_zoo(store)
    tiny_texts(tmp_path / "set-7.csv", 90, seed=7)
    (tmp_path / "benchmarks.yaml").write_text("datasets: [{path: set-7.csv}]")
    command = [
        "benchmark", "--namespace", zoo.namespace, "--models", zoo.everyone, "--seed", "1",
        "--datasets", str(tmp_path / "benchmarks.yaml"), "--workers", "1",
    ]  # fmt: skip
    with stalling("opened", 2, command, store, tmp_path):
        pass  # It is killed at the end of the block.

    monkeypatch.setattr("mlflow_recall.engines.get_engine", lambda *_: InlineEngine())
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--json", "-"])

    assert leaving.value.code == 0
    data = json.loads(capfd.readouterr().out)
    assert data["skipped"] >= 1
    assert data["skipped"] + len(data["completed"]) == data["cells"] == 5
    by_cell: dict[str, list[str]] = {}
    for run in cells(zoo):
        by_cell.setdefault(run.data.tags[tags.CELL], []).append(run.info.status)
        zoo.client.delete_run(run.info.run_id)  # other tests share this history
    assert len(by_cell) == 5
    for statuses in by_cell.values():
        assert statuses.count("FINISHED") == 1
        assert set(statuses) <= {"FINISHED", "FAILED"}


def cells(zoo: Zoo) -> list[Run]:
    """Return the runs on the dataset of this test."""
    experiment = zoo.client.get_experiment_by_name(f"{zoo.namespace}/benchmark")
    assert experiment is not None
    query = f"tags.`{tags.DATASET}` = 'set-7'"
    return list(search_runs(zoo.client, [str(experiment.experiment_id)], query))
