"""Registered versions as members of the zoo, from their tags or from MLflow's flavors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.manifests.bounded_yaml import read_yaml
from mlflow_recall.adapters.manifests.yaml_files import MODALITIES
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.locations import EXTERNAL, resolve_source
from mlflow_recall.adapters.zoo.model_folder import PICKLE_SUFFIXES
from mlflow_recall.adapters.zoo.model_settings import check_settings
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ConfigError, TrackingError, ZooError


def read_member(client: MlflowClient, version: ModelVersion, values: Mapping[str, str]) -> Member:
    """Return a version as a member, from its tags or from MLflow's transformers flavor.

    Args:
        client: Client of the tracking server with the registry.
        version: Version of a registered model.
        values: Tags of the version and of its model.

    Raises:
        ZooError: It is no member; the message says why.
    """
    arch, modality = values.get(tags.ARCH, ""), values.get(tags.MODALITY, "")
    if not arch:
        arch, modality = _read_flavor(client, version)
    label = f"{version.name} version {version.version}"
    if modality not in MODALITIES:
        raise ZooError(
            f"{label}: expected the tag {tags.MODALITY} (text or image) beside {tags.ARCH}, "
            f"got {modality or 'none'!r}"
        )
    recipe = _object(values, tags.RECIPE, label)
    try:
        Recipe().with_changes(recipe, f"{label}: tag {tags.RECIPE}")
    except ConfigError as error:
        raise ZooError(str(error)) from error
    config = _object(values, tags.CONFIG, label)
    check_settings(config, f"{label}: tag {tags.CONFIG}")
    return Member(
        name=version.name,
        version=str(version.version),
        modality=modality,
        arch=arch,
        family=values.get(tags.FAMILY, ""),
        source=values.get(tags.SOURCE, ""),
        upstream=values.get(tags.UPSTREAM, ""),
        license=values.get(tags.LICENSE, ""),
        base_model=values.get(tags.MODEL),
        parameters=_integer(values.get(tags.PARAMETERS, "")),
        gmacs=_positive(values.get(tags.GMACS, "")),
        input_size=_integer(values.get(tags.INPUT_SIZE, "")),
        is_available=values.get(tags.WEIGHTS) != "absent",
        has_source_head=values.get(tags.SOURCE_HEAD) == "true",
        config=config,
        recipe=recipe,
        cluster=values.get(tags.CLUSTER, ""),
        is_representative=values.get(tags.REPRESENTATIVE) == "true",
        tags=dict(values),
        # what MLflow holds never changes under a version
        identity=values.get(tags.WEIGHTS_DIGEST)
        or f"{version.creation_timestamp}:{version.source}",
        is_external=str(version.source).partition(":/")[0] in EXTERNAL,
    )


def _read_flavor(client: MlflowClient, version: ModelVersion) -> tuple[str, str]:
    """Return architecture and modality of a model that MLflow's transformers flavor logged.

    Raises:
        ZooError: It has another flavor, or no safetensors.
    """
    label = f"{version.name} version {version.version}"
    uri = f"models:/{version.name}/{version.version}"
    try:
        source = resolve_source(client, version)
    except (TrackingError, MlflowException) as error:
        raise ZooError(f"{label}: {error}") from error
    try:
        folder = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{source.rstrip('/')}/MLmodel", tracking_uri=client.tracking_uri
        )
        flavors = read_flavors(Path(folder))
    except Exception as error:
        raise ZooError(
            f"{label}: expected the tag {tags.ARCH} or an MLmodel file, found neither"
        ) from error
    flavor = flavors.get("transformers")
    if flavor is None:
        kinds = ", ".join(sorted(set(flavors) - {"python_function"})) or "python_function"
        raise ZooError(
            f"{label}: expected safetensors of the transformers flavor, got {kinds}: "
            f"nothing here unpickles; tag a version with {tags.ARCH} and log safetensors"
        )
    files = [
        file.path
        for file in mlflow.artifacts.list_artifacts(
            artifact_uri=f"{source.rstrip('/')}/model", tracking_uri=client.tracking_uri
        )
    ]
    if not any(file.endswith(".safetensors") for file in files):
        pickled = next((f for f in files if f.endswith(PICKLE_SUFFIXES)), "no weights")
        raise ZooError(f"{label}: expected safetensors in {uri}, got {pickled}")
    kind = flavor.get("pipeline_model_type") or flavor.get("instance_type") or "auto"
    is_image = "image_processor" in str(flavor.get("components", "")) or "image" in str(
        flavor.get("task", "")
    )
    return f"transformers/{kind}", "image" if is_image else "text"


def read_flavors(file: Path) -> dict[str, Any]:
    """Return the flavors of an ``MLmodel`` file, which may be anybody's.

    Raises:
        ConfigError: It cannot be read.
    """
    content = read_yaml(file)
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(f, dict) for f in flavors.values()):
        raise ConfigError(f"{file}: expected flavors, each a mapping, got none")
    return {str(name): flavor for name, flavor in flavors.items()}


def _integer(text: str) -> int | None:
    """Return the number in a tag; None if it holds none, since anyone can write tags."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _positive(text: str) -> float | None:
    """Return the positive number in a tag; None if it holds none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def _object(values: Mapping[str, str], tag: str, label: str) -> dict[str, object]:
    """Return the JSON object in a tag; empty without the tag.

    Raises:
        ZooError: The tag holds something else.
    """
    text = values.get(tag, "{}")
    try:
        value = parse_json(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ZooError(f"{label}: tag {tag}: expected a JSON object, got {text!r:.60}")
    return value
