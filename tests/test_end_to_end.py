"""`mlflow run` from zoo to winner, on a local store and through a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prepared import Zoo, build_zoo, text_zoo, write_text_zoo
from tiny import CLASSES, tiny_bert, tiny_timm
from waiting import PATH, read_url, run_server

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import search_runs

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}


def select_by_project(
    uri: str, zoo: Zoo, environment: dict[str, str], folder: Path, **parameters: object
) -> Run:
    """`mlflow run ROOT -e select`, and the run that it opened."""
    given = {"dataset": zoo.target.path, "namespace": zoo.namespace, "final": "same", **parameters}
    parameter_options = [
        token for key, value in given.items() for token in ("-P", f"{key}={value}")
    ]
    command = ["run", str(ROOT), "-e", "select", "--env-manager=local", *parameter_options]

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


def test_mlflow_run_selects_on_sqlite_and_its_winner_answers(
    store: str, environment: dict[str, str], tmp_path: Path
) -> None:
    zoo = text_zoo(store)
    name = "served-text"

    parent = select_by_project(
        store, zoo, environment, tmp_path, top_k=3, models=zoo.everyone, register_as=name
    )

    check_project_run(zoo.client, parent, 3, name)
    winner = mlflow.pyfunc.load_model(f"models:/{name}@winner")
    answers = winner.predict(pd.DataFrame({"text": ["w00 w03 w06", "w01 w04"]}))
    assert len(answers) == 2
    assert set(answers["label"]) <= set(CLASSES)
    assert answers["score"].between(1 / len(CLASSES), 1).all()


# --- through a server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sealed: None) -> Iterator[str]:
    """Address of a tracking server, started by the README's command, with a store of its own."""
    folder = tmp_path_factory.mktemp("server")
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"<!-- server -->\n```bash\n(.*?)\n```", readme)
    uri = f"sqlite:///{folder}/mlflow.db"
    environment = {**os.environ, "PATH": PATH, "MLFLOW_BACKEND_STORE_URI": uri}
    for name in ("MLFLOW_TRACKING_URI", "_MLFLOW_SERVER_ARTIFACT_ROOT"):
        environment.pop(name, None)
    with run_server(
        lambda port: ["bash", "-c", f"exec env {command} --port {port}"], folder, environment
    ) as url:
        yield url


def test_the_server_shows_its_pages(server: str) -> None:
    assert "MLflow" in read_url(server).decode()


def test_mlflow_run_selects_through_an_http_server(
    server: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server keeps the artifacts too, so nothing but its address is needed."""
    monkeypatch.delenv("_MLFLOW_SERVER_ARTIFACT_ROOT", raising=False)
    environment.pop("_MLFLOW_SERVER_ARTIFACT_ROOT", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    zoo = build_zoo(server, "http", *write_text_zoo(tmp_path, 3))

    parent = select_by_project(server, zoo, environment, tmp_path, top_k=2, register_as="won")

    client = MlflowClient(tracking_uri=server)
    check_project_run(client, parent, 2, "won")
    assert client.get_experiment("0").artifact_location.startswith("mlflow-artifacts:")
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= {"selection"}


def test_the_client_resolves_sources_and_no_weights_pass_through_the_server(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders that come back are those of the mirror, not copies."""
    text = tiny_bert(tmp_path / "org" / "tiny")
    image = tiny_timm(tmp_path / "timm" / "test_resnet")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    client = MlflowClient(server)
    for name, source in (("org--tiny", "hf:/org/tiny@main"), ("test_resnet", "timm:/test_resnet")):
        client.create_registered_model(name)
        version = client.create_model_version(name, source=source)
        client.set_registered_model_alias(name, "prod", version.version)

    result = [
        mlflow.artifacts.download_artifacts(f"models:/{name}@prod")
        for name in ("org--tiny", "test_resnet")
    ]

    assert result == [str(text), str(image)]
