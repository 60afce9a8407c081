"""The whole path as a user goes it: `mlflow run`, a server, serving, and a machine that dies."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import InlineEngine
from mlflow import MlflowClient
from mlflow.entities import Run
from prepared import Zoo, build_zoo, text_zoo, write_text_zoo
from tiny import CLASSES, tiny_texts

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.cli import main

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PATIENCE = 120.0


@pytest.fixture
def environment() -> dict[str, str]:
    """`--env-manager=local` finds `python` on the PATH."""
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(folders)}


def wait_until(what: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something is so; a process that ends before is shown with its log."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@contextmanager
def serving(command: Sequence[str], log: Path, environment: dict[str, str]) -> Iterator[str]:
    """A web server of its own process at a free port, from its first answer on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
            return True
        return False

    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command, "--port", str(port)],
            env=environment,
            cwd=log.parent,
            stdout=file,
            stderr=file,
        )
        try:
            wait_until(answers, process, log)
            yield url
        finally:
            family = [process_of(process.pid), *process_of(process.pid).children(recursive=True)]
            for each in family:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            process.wait(timeout=30)


def process_of(pid: int) -> psutil.Process:
    return psutil.Process(pid)


def select_by_project(
    uri: str, zoo: Zoo, environment: dict[str, str], folder: Path, **parameters: object
) -> Run:
    """`mlflow run ROOT -e select`, and the run that it opened."""
    given = {"dataset": zoo.target.path, "namespace": zoo.namespace, "final": "same", **parameters}
    wishes = [token for key, value in given.items() for token in ("-P", f"{key}={value}")]
    command = ["run", str(ROOT), "-e", "select", "--env-manager=local", *wishes]

    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *command],
        env={**environment, "MLFLOW_TRACKING_URI": uri},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "winner: " in done.stdout
    client = MlflowClient(tracking_uri=uri)
    query = f"tags.`{tags.KIND}` = 'selection' AND tags.`mlflow.project.entryPoint` = 'select'"
    return max(search_runs(client, ["0"], query), key=lambda run: run.info.start_time)


def children_of(client: MlflowClient, parent: Run) -> list[Run]:
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return list(search_runs(client, [parent.info.experiment_id], query))


def check_project_run(client: MlflowClient, parent: Run, models: int, name: str) -> None:
    """The project's own run is the finished parent of K children, and its winner is aliased."""
    assert parent.info.status == "FINISHED"
    children = children_of(client, parent)
    assert len(children) == models
    assert {run.info.status for run in children} == {"FINISHED", "KILLED"}
    assert all(run.data.tags[tags.REASON] for run in children)
    assert parent.data.params["top_k"] == str(models)  # logged by MLflow itself, left alone by us
    version = client.get_model_version_by_alias(name, "winner")
    assert version.tags[tags.SELECTION] == version.run_id == parent.info.run_id


def test_mlflow_run_selects_on_sqlite_and_its_winner_is_served(
    store: str, environment: dict[str, str], tmp_path: Path
) -> None:
    zoo = text_zoo(store)
    name = "served-text"

    parent = select_by_project(
        store, zoo, environment, tmp_path, top_k=3, models=zoo.everyone, register_as=name
    )

    check_project_run(zoo.client, parent, 3, name)
    command = ["models", "serve", "-m", f"models:/{name}@winner", "--env-manager", "local"]
    there = {**environment, "MLFLOW_TRACKING_URI": store}
    with serving(command, tmp_path / "serve.log", there) as url:
        answers = ask(url, {"columns": ["text"], "data": [["w00 w03 w06"], ["w01 w04"]]})
    assert len(answers) == 2
    for answer in answers:
        assert answer["label"] in CLASSES
        assert 1 / len(CLASSES) <= answer["score"] <= 1


def ask(url: str, rows: dict[str, object]) -> list[dict[str, Any]]:
    """What a served model answers."""
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{url}/invocations",
        data=json.dumps({"dataframe_split": rows}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - our own server
        told: list[dict[str, Any]] = json.loads(response.read())["predictions"]
        return told


def test_mlflow_run_selects_through_an_http_server(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server that the documentation tells to start, with a zoo and artifacts of its own."""
    monkeypatch.delenv("_MLFLOW_SERVER_ARTIFACT_ROOT", raising=False)
    command = [
        "server", "--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    environment.pop("_MLFLOW_SERVER_ARTIFACT_ROOT", None)
    settings = {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(command, tmp_path / "server.log", settings) as uri:
        files = tmp_path / "files"
        files.mkdir()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        zoo = build_zoo(uri, "recall", *write_text_zoo(files, 3))

        parent = select_by_project(uri, zoo, environment, tmp_path, top_k=2, register_as="won")

        client = MlflowClient(tracking_uri=uri)
        check_project_run(client, parent, 2, "won")
        assert client.get_experiment("0").artifact_location.startswith("mlflow-artifacts:")
        assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"selection"}


# --- kill -9 -------------------------------------------------------------------------------------


def running(client: MlflowClient, process: int) -> list[Run]:
    """RUNNING runs that a process owns."""
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = search_runs(client, experiments, "attributes.status = 'RUNNING'")
    return [
        run
        for run in runs
        if json.loads(run.data.tags.get(tags.OWNER, "{}")).get("process") == process
    ]


def reached(client: MlflowClient, process: int, moment: str, name: str) -> bool:
    """Whether a selection has come to a moment of its life."""
    if moment == "registering":
        return bool(client.search_model_versions(f"name = '{name}'"))
    mine = running(client, process)
    if moment == "opened":
        return bool(mine)
    return any(run.data.tags.get(tags.STAGE) for run in mine)


@pytest.mark.parametrize("moment", ["opened", "training", "registering"])
def test_what_a_killed_selection_left_open_is_closed_by_the_next_command(
    store: str,
    environment: dict[str, str],
    tmp_path: Path,
    moment: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`kill -9` at any moment: nothing stays RUNNING, nothing of the living is touched."""
    zoo, name = text_zoo(store), f"killed-{moment}"
    client = zoo.client
    alive = living_run(client)
    command = [
        "select", "--dataset", zoo.target.path, "--namespace", zoo.namespace, "--models",
        zoo.everyone, "--register-as", name, "--workers", "1",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow_recall", *command],
            env={**environment, "MLFLOW_TRACKING_URI": store},
            stdout=file,
            stderr=file,
        )
    wait_until(lambda: reached(client, process.pid, moment, name), process, log)
    if moment != "registering":  # what follows that is over in less
        time.sleep(random.uniform(0, 0.5))
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    left = running(client, process.pid)

    _, orphans = psutil.wait_procs(workers, timeout=30)
    with pytest.raises(SystemExit):
        main(["cluster", "--namespace", "nobody"])  # any command; this one has nothing to do
    said = capfd.readouterr().err

    assert orphans == []  # a worker leaves when nobody listens any more
    assert left or moment == "registering"  # it may just have ended
    assert running(client, process.pid) == []
    for run in left:
        closed = client.get_run(run.info.run_id)
        assert closed.info.status == "FAILED"
        assert f"its process {process.pid} on " in closed.data.tags[tags.REASON]
        assert run.info.run_id in said
    assert client.get_run(alive).info.status == "RUNNING"
    client.set_terminated(alive)
    winners = client.search_model_versions(f"name = '{name}'")
    parents = [version.tags[tags.SELECTION] for version in winners]
    assert len(parents) == len(set(parents)) <= 1


def living_run(client: MlflowClient) -> str:
    """A RUNNING run whose owner is this process."""
    me = psutil.Process()
    who = {"host": socket.gethostname(), "process": me.pid, "started": me.create_time()}
    return str(client.create_run("0", tags={tags.OWNER: json.dumps(who)}).info.run_id)


def test_a_benchmark_goes_on_where_it_was_killed(
    store: str,
    environment: dict[str, str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No cell is paid twice: the finished ones stay, the torn one is done again."""
    zoo = text_zoo(store)
    tiny_texts(tmp_path / "set-7.csv", 90, seed=7)
    (tmp_path / "benchmarks.yaml").write_text("datasets: [{path: set-7.csv}]")
    command = [
        "benchmark", "--namespace", zoo.namespace, "--models", zoo.everyone, "--seed", "1",
        "--datasets", str(tmp_path / "benchmarks.yaml"), "--workers", "1",
    ]  # fmt: skip
    there = {**environment, "MLFLOW_TRACKING_URI": store}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow_recall", *command], env=there, stdout=file, stderr=file
        )

    def second_cell() -> bool:
        runs = cells(zoo)
        return len(runs) > 1 and any(run.info.status == "RUNNING" for run in runs)

    wait_until(second_cell, process, log)
    process.kill()
    process.wait()
    monkeypatch.setattr("mlflow_recall.engines.engine", lambda *_: InlineEngine())
    with pytest.raises(SystemExit) as leaving:
        main([*command, "--json", "-"])

    assert leaving.value.code == 0
    told = json.loads(capfd.readouterr().out)
    assert told["done_before"] >= 1
    assert told["done_before"] + len(told["done"]) == told["cells"] == 5
    by_cell: dict[str, list[str]] = {}
    for run in cells(zoo):
        by_cell.setdefault(run.data.tags[tags.CELL], []).append(run.info.status)
        zoo.client.delete_run(run.info.run_id)  # other tests share this history
    assert len(by_cell) == 5
    for statuses in by_cell.values():
        assert statuses.count("FINISHED") == 1
        assert set(statuses) <= {"FINISHED", "FAILED"}


def cells(zoo: Zoo) -> list[Run]:
    """Runs on the set of this test."""
    found = zoo.client.get_experiment_by_name(f"{zoo.namespace}/benchmark")
    assert found is not None
    query = f"tags.`{tags.DATASET}` = 'set-7'"
    return list(search_runs(zoo.client, [str(found.experiment_id)], query))
