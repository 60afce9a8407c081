"""Sources of versions: which are read, and which get neither a request nor a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow.artifacts
import pytest
from listening import Listener, listening
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import ensure_experiment
from mlflow_recall.adapters.tracking.locations import check_host, resolve_source
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.errors import TrackingError, ZooError

PATH = "api/2.0/mlflow-artifacts/artifacts/x"


@pytest.fixture
def listener(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """A host of a stranger, for a client: in a server, MLflow refuses such hosts itself."""
    monkeypatch.delenv("_MLFLOW_SERVER_ARTIFACT_ROOT")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush-hush")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with listening() as server:
        yield server


def version_with(client: MlflowClient, name: str, source: str, **values: str) -> ModelVersion:
    client.create_registered_model(name, tags={tags.NAMESPACE: name})
    return client.create_model_version(name, source, tags=values)


def remote(tracking_uri: str, root: str = "mlflow-artifacts:/0") -> Any:
    """A client of a server whose first experiment keeps its artifacts at ``root``."""
    experiment = SimpleNamespace(artifact_location=root)
    return SimpleNamespace(tracking_uri=tracking_uri, get_experiment=lambda _: experiment)


def test_the_listener_would_hear_the_password(listener: Listener) -> None:
    """MLflow itself sends credentials to the host of a source: without this, the rest is void."""
    with suppress(MlflowException):  # the listener has no files
        mlflow.artifacts.download_artifacts(artifact_uri=f"http://{listener.host}/{PATH}")

    assert any("Authorization: Basic" in request for request in listener.requests)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["http://{}/" + PATH, "mlflow-artifacts://{}/x"])
@pytest.mark.parametrize("arch", ["", "transformers/bert"])
def test_a_foreign_host_hears_nothing_of_a_listing_or_a_download(
    form: str, arch: str, client: MlflowClient, namespace: str, listener: Listener
) -> None:
    """Anyone may register a version whose source is a host of theirs."""
    values = {tags.ARCH: arch, tags.MODALITY: "text"} if arch else {}
    version_with(client, namespace, form.format(listener.host), **values)
    registry, lines = MlflowRegistry(client, namespace), list[str]()

    members = registry.members(lines.append)
    for member in members:
        with pytest.raises(ZooError, match="nothing was sent to it"):
            registry.weights(member)

    assert bool(members) == bool(arch)
    assert arch or "nothing was sent to it" in lines[0]
    assert listener.requests == []


def test_a_source_that_could_not_be_read_is_not_registered(
    client: MlflowClient, namespace: str, listener: Listener
) -> None:
    """A zoo file may come from anybody, and its address may hold a password."""
    registry = MlflowRegistry(client, namespace)
    for source in (f"http://me:hush@{listener.host}/x", "file:///etc", "models:/nothing/1"):
        entry = ZooEntry(source=source, modality="text", name="web", arch="transformers/bert")

        with pytest.raises(ZooError, match=r"web: source: ") as error:
            registry.register(entry)
        assert "hush" not in str(error.value)

    assert listener.requests == []
    assert [m.name for m in client.search_registered_models() if namespace in m.name] == []


@pytest.mark.parametrize("scheme", ["models", "runs"])
def test_a_foreign_host_behind_another_source_hears_nothing(
    scheme: str, client: MlflowClient, namespace: str, listener: Listener
) -> None:
    """A source may name a logged model or a run whose experiment is kept at that host."""
    location = f"http://{listener.host}/{PATH}"
    experiment = client.create_experiment(f"{namespace}/theirs", artifact_location=location)
    if scheme == "models":
        logged = client.create_logged_model(experiment, name="x")
        source = f"models:/{logged.model_id}"
    else:
        source = f"runs:/{client.create_run(experiment).info.run_id}/model"
    version = version_with(client, namespace, source)

    with pytest.raises(TrackingError, match="nothing was sent to it"):
        resolve_source(client, version)

    assert listener.requests == []


def test_nothing_is_logged_to_an_experiment_that_is_kept_at_a_foreign_host(
    client: MlflowClient, namespace: str, listener: Listener
) -> None:
    """Whoever creates the experiment of a namespace first says where its artifacts go."""
    location = f"http://{listener.host}/{PATH}"
    experiment = client.create_experiment(f"{namespace}/benchmark", artifact_location=location)
    run = client.create_run(experiment)
    writer = RunWriter(client, f"{namespace}/benchmark")

    with pytest.raises(TrackingError, match="nothing was sent to it"):
        ensure_experiment(client, f"{namespace}/benchmark")
    with (
        pytest.raises(TrackingError, match="nothing was sent to it"),
        writer.managed_run("x", "recall", run.info.run_id),
    ):
        pass

    assert listener.requests == []


@pytest.mark.parametrize(
    "location",
    [
        "http://tracking:5000/" + PATH,
        "mlflow-artifacts:/x",
        "mlflow-artifacts://TRACKING:5000/x",
        "s3://bucket/x",
        "gs://bucket/x",
        "file:///tmp/x",
    ],
)
def test_the_servers_own_host_and_stores_with_fixed_endpoints_are_allowed(location: str) -> None:
    """Proxied artifacts and buckets are how servers are usually set up."""
    check_host(remote("http://me:pw@tracking:5000"), location)


@pytest.mark.parametrize(
    "location",
    [
        "http://tracking/" + PATH,  # another port
        "https://tracking:5000/" + PATH,  # another scheme: a downgrade in the other direction
        "http://tracking:5000@evil/" + PATH,
        "http://evil\\@tracking:5000/" + PATH,
        "http://evil#@tracking:5000/" + PATH,
        "HTTP://EVIL/x",
        " http://evil/x",
        "ht\ttp://evil/x",
        "http:/evil/x",
        "http:///evil/x",
        "http://[::",
        "http://evil:port/x",
        "mlflow-artifacts://evil/x",
        "mlflow-artifacts://evil:5000/x",
        "mlflow-artifacts://tracking.evil:5000/x",
    ],
)
def test_any_other_host_is_refused_however_it_is_written(location: str) -> None:
    """Parsers of addresses differ, so what two of them could read differently is refused."""
    with pytest.raises(TrackingError):
        check_host(remote("http://tracking:5000"), location)


def test_a_server_of_artifacts_alone_is_the_servers_own() -> None:
    """MLflow allows one beside the tracking server, which its default artifact root names."""
    client = remote("http://tracking:5000", "mlflow-artifacts://artifacts:5001/mlruns/0")

    check_host(client, "mlflow-artifacts://artifacts:5001/mlruns/7/models/x")
    with pytest.raises(TrackingError, match="evil"):
        check_host(client, "mlflow-artifacts://evil:5001/mlruns/7/models/x")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{secret}", "expected files under an artifact root"),
        ("file://{secret}", "expected files under an artifact root"),
        ("{root}/../secret", "expected the address of files"),
        ("file://{root}/%2e%2e/secret", "expected the address of files"),
        ("{root}/link", "expected files under an artifact root"),
        ("sftp://evil/x", "expected files under an artifact root"),
        ("abfss://c@evil.dfs.core.windows.net/x", "expected files under an artifact root"),
    ],
)
def test_files_elsewhere_are_not_read(source: str, message: str, tmp_path: Path) -> None:
    """A version of a remote server may name any path of this machine, and any store."""
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "0").mkdir(parents=True)
    secret.mkdir()
    (root / "link").symlink_to(secret)
    client = remote("http://tracking:5000", str(root / "0"))
    client.get_model_version_download_uri = lambda *_: source.format(root=root, secret=secret)

    with pytest.raises(TrackingError, match=message):
        resolve_source(client, SimpleNamespace(name="x", version=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["{}/1/models/m-1/artifacts", "file://{}/1/models/m-1/artifacts"])
def test_files_under_the_servers_root_are_read(form: str, tmp_path: Path) -> None:
    """A server without a proxy and its clients may share a file system."""
    client = remote("http://tracking:5000", f"{tmp_path}/0")
    client.get_model_version_download_uri = lambda *_: form.format(tmp_path)

    assert resolve_source(client, SimpleNamespace(name="x", version=1)) == form.format(tmp_path)  # type: ignore[arg-type]


def test_versions_that_name_each_other_end() -> None:
    """A server may answer with the version that it was asked about."""
    client = remote("http://tracking:5000")
    client.get_model_version_download_uri = lambda *_: "models:/x/1"

    with pytest.raises(TrackingError, match="got another version once more"):
        resolve_source(client, SimpleNamespace(name="x", version=1))  # type: ignore[arg-type]
