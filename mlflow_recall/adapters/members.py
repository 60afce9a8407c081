"""A registered version, by its tags or by MLflow's flavours -> a member of the zoo."""

from __future__ import annotations

import json
from collections.abc import Mapping

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import Model

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.entries import PICKLED
from mlflow_recall.adapters.manifests import MODALITIES
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.records import Member
from mlflow_recall.errors import SettingError, ZooError


def member_of(client: MlflowClient, version: ModelVersion, told: Mapping[str, str]) -> Member:
    """A version as a member, by its tags or by what MLflow's flavour says.

    Args:
        client: of the tracking server that keeps the registry.
        version: of a registered model.
        told: tags of the version and of its model.

    Raises:
        ZooError: it is no member; the message says why.
    """
    arch, modality = told.get(tags.ARCH, ""), told.get(tags.MODALITY, "")
    if not arch:
        arch, modality = _flavour(client, version)
    label = f"{version.name} version {version.version}"
    if modality not in MODALITIES:
        raise ZooError(
            f"{label}: expected the tag {tags.MODALITY} (text or image) beside recall.arch, "
            f"got {modality or 'none'!r}"
        )
    recipe = _object(told, tags.RECIPE, label)
    try:
        Recipe().altered(recipe, f"{label}: tag {tags.RECIPE}")
    except SettingError as error:
        raise ZooError(str(error)) from error
    return Member(
        name=version.name,
        version=str(version.version),
        modality=modality,
        arch=arch,
        family=told.get(tags.FAMILY, ""),
        parameters=_number(told.get(tags.PARAMETERS, "")),
        available=told.get(tags.WEIGHTS) != "absent",
        source_head=told.get(tags.SOURCE_HEAD) == "true",
        config=_object(told, tags.CONFIG, label),
        recipe=recipe,
        cluster=told.get(tags.CLUSTER, ""),
        representative=told.get(tags.REPRESENTATIVE) == "true",
        tags=dict(told),
        identity=f"{version.creation_timestamp}:{version.source}",
    )


def _flavour(client: MlflowClient, version: ModelVersion) -> tuple[str, str]:
    """Architecture and modality of a model that MLflow's transformers flavour logged."""
    label = f"{version.name} version {version.version}"
    uri = f"models:/{version.name}/{version.version}"
    try:
        source = client.get_model_version_download_uri(version.name, version.version)
        folder = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{source.rstrip('/')}/MLmodel", tracking_uri=client.tracking_uri
        )
        flavours = Model.load(folder).flavors
    except Exception as error:
        raise ZooError(
            f"{label}: expected the tag recall.arch or an MLmodel file, found neither"
        ) from error
    flavour = flavours.get("transformers")
    if flavour is None:
        kinds = ", ".join(sorted(set(flavours) - {"python_function"})) or "python_function"
        raise ZooError(
            f"{label}: expected safetensors of the transformers flavour, got {kinds}: "
            "nothing here unpickles; tag a version with recall.arch and log safetensors"
        )
    files = [
        file.path
        for file in mlflow.artifacts.list_artifacts(
            artifact_uri=f"{source.rstrip('/')}/model", tracking_uri=client.tracking_uri
        )
    ]
    if not any(file.endswith(".safetensors") for file in files):
        pickled = next((f for f in files if f.endswith(PICKLED)), "no weights")
        raise ZooError(f"{label}: expected safetensors in {uri}, got {pickled}")
    kind = flavour.get("pipeline_model_type") or flavour.get("instance_type") or "auto"
    image = "image_processor" in str(flavour.get("components", "")) or "image" in str(
        flavour.get("task", "")
    )
    return f"transformers/{kind}", "image" if image else "text"


def _number(text: str) -> int | None:
    """A tag that holds a number; tags are anybody's to write."""
    return int(text) if text.isdigit() else None


def _object(told: Mapping[str, str], tag: str, label: str) -> dict[str, object]:
    """A tag that holds a JSON object; tags are anybody's to write."""
    text = told.get(tag, "{}")
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ZooError(f"{label}: tag {tag}: expected a JSON object, got {text!r}")
    return value
