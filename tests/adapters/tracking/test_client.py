"""The connection to a store, and searches for names of any characters."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from waiting import find_free_port

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import (
    connect,
    ensure_experiment,
    search_adopted_runs,
    search_versions,
)
from mlflow_recall.errors import TrackingError

NAMES = ["plain", "kay's tickets", 'the "best"', "both ' and \"", "100%", "a_b", "back\\slash\\"]


@pytest.mark.parametrize("name", NAMES)
def test_the_versions_of_a_model_are_found_whatever_its_name(
    name: str, client: MlflowClient, namespace: str
) -> None:
    """MLflow's filters have no escapes; names that begin alike must not be mixed up."""
    model = f"{namespace} {name}"
    for other in {model, f"{model}2", f"{namespace} {name[:4]}"}:
        client.create_registered_model(other)
        client.create_model_version(other, "hf:/org/name")

    assert [version.name for version in search_versions(client, model)] == [model]


@pytest.mark.parametrize("name", NAMES)
def test_adopted_runs_are_found_whatever_the_namespace(
    name: str, client: MlflowClient, namespace: str
) -> None:
    """The namespace is part of every query for the history."""
    own = f"{namespace}-{name}"
    experiment = ensure_experiment(client, f"{own}/benchmark")
    run = client.create_run(experiment, tags={tags.ADOPTED: own})
    client.create_run(experiment, tags={tags.ADOPTED: f"{own}2"})

    runs = search_adopted_runs(client, [experiment], own)

    assert [found.info.run_id for found in runs] == [run.info.run_id]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://[::", "expected the address of a tracking server or store"),
        ("http://host:port", "expected the address of a tracking server or store"),
        ("http://host:99999", "expected the address of a tracking server or store"),
        ("http://me:hush/hush@host", r"http://\*\*\*@host: expected the address"),
        ("http://a..b", "expected a tracking server, got no answer"),
        ("http://", "expected a tracking server, got no answer"),
        ("nonsense://x", "cannot be used as a tracking store"),
    ],
)
def test_an_address_that_is_none_is_one_line(uri: str, message: str) -> None:
    """It may be a typo, and it may hold a password."""
    with pytest.raises(TrackingError, match=message) as error:
        connect(uri)

    assert "\n" not in str(error.value)
    assert "hush" not in str(error.value)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """The line is what a user sends to a colleague."""
    with pytest.raises(TrackingError, match=r"\*\*\*@127\.0\.0\.1.*got no answer") as error:
        connect(f"http://me:hush@127.0.0.1:{find_free_port()}")

    assert "hush" not in str(error.value)


def test_a_store_in_a_folder_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    """A typo in the address would become an empty zoo without a word."""
    with pytest.raises(TrackingError, match="expected a store in an existing folder, got none at"):
        connect(f"sqlite:///{tmp_path}/typo/mlflow.db")

    assert not (tmp_path / "typo").exists()
