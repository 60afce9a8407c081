"""The models of a zoo file are registered, updated or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from prepared import RecordingReporter, registry_for, services_for, write_zoo
from tiny import tiny_bert, tiny_timm

from mlflow_recall.adapters.manifests.yaml_files import read_zoo
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry, RegistrationResult
from mlflow_recall.workflows.register import register_models


@pytest.fixture
def registry(store: str, namespace: str) -> MlflowRegistry:
    return registry_for(services_for(store, namespace)[0])


@pytest.fixture
def zoo_file(tmp_path: Path) -> Path:
    """A text and an image model in folders, beside their zoo file."""
    tiny_bert(tmp_path / "bert")
    tiny_timm(tmp_path / "resnet", classes=("cold", "warm"))
    return write_zoo(
        tmp_path / "zoo.yaml",
        [
            {"source": "bert", "name": "org/bert", "modality": "text", "license": "MIT"},
            {"source": "resnet", "name": "resnet", "modality": "image", "source_head": True},
        ],
    )


def registered(zoo_file: Path, registry: MlflowRegistry) -> list[RegistrationResult]:
    return register_models(read_zoo(zoo_file), registry, RecordingReporter()).models


def test_folders_become_members_with_resolvable_weights(
    zoo_file: Path, registry: MlflowRegistry, namespace: str
) -> None:
    done = registered(zoo_file, registry)

    assert [model.name for model in done] == [f"{namespace}--org--bert", f"{namespace}--resnet"]
    bert, resnet = registry.members()
    assert (bert.arch, bert.modality, bert.has_source_head) == ("transformers/bert", "text", False)
    assert (resnet.arch, resnet.modality, resnet.has_source_head) == (
        "timm/test_resnet",
        "image",
        True,
    )
    assert bert.tags["recall.license"] == "MIT"
    for member in (bert, resnet):
        assert (Path(registry.weights(member)) / "model.safetensors").exists()


def test_members_without_a_declared_size_are_measured(
    zoo_file: Path, registry: MlflowRegistry
) -> None:
    """`--max-params` and learned recommendations need sizes, and people do not write them."""
    zoo_file.write_text(zoo_file.read_text().replace("license: MIT", "parameters: 7"))

    registered(zoo_file, registry)

    bert, resnet = registry.members()
    assert bert.parameters == 7  # what somebody says stands
    assert resnet.parameters is not None
    assert resnet.parameters > 1000
    for member in (bert, resnet):
        assert float(member.tags[tags.GMACS]) > 0
        assert int(member.tags[tags.INPUT_SIZE]) > 0


def test_registering_again_changes_nothing(zoo_file: Path, registry: MlflowRegistry) -> None:
    first = registered(zoo_file, registry)

    second = registered(zoo_file, registry)

    assert [model.action for model in first] == ["created", "created"]
    assert [model.action for model in second] == ["unchanged", "unchanged"]
    assert [model.version for model in second] == ["1", "1"]


def test_other_facts_update_tags_and_other_weights_make_a_version(
    zoo_file: Path, registry: MlflowRegistry, client: MlflowClient
) -> None:
    """A history belongs to weights: other facts update tags, other weights need a version."""
    (bert, _) = registered(zoo_file, registry)
    zoo_file.write_text(zoo_file.read_text().replace("MIT", "Apache-2.0"))
    tiny_timm(zoo_file.parent / "resnet", classes=("cold", "warm"), seed=1)

    results = registered(zoo_file, registry)

    assert [(m.action, m.version) for m in results] == [("updated", "1"), ("created", "2")]
    assert client.get_model_version(bert.name, "1").tags["recall.license"] == "Apache-2.0"


def test_a_pickled_folder_is_reported_and_the_rest_is_registered(
    zoo_file: Path, registry: MlflowRegistry, client: MlflowClient
) -> None:
    folder = zoo_file.parent / "bert"
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    reporter = RecordingReporter()

    result = register_models(read_zoo(zoo_file), registry, reporter)

    (resnet,) = result.models
    assert list(result.failed) == ["org--bert"]
    assert resnet.name.endswith("resnet")
    (line,) = reporter.lines
    assert "expected safetensors, got pytorch_model.bin: nothing here unpickles" in line
    assert client.search_registered_models(f"name = '{registry.name_of('org--bert')}'") == []


def test_a_zoo_without_any_usable_model_names_every_reason(
    zoo_file: Path, registry: MlflowRegistry
) -> None:
    """A script reads the reasons, so they are a result and not an error."""
    for name in ("bert", "resnet"):
        shutil.rmtree(zoo_file.parent / name)

    result = register_models(read_zoo(zoo_file), registry, RecordingReporter())

    assert result.models == []
    assert list(result.failed) == ["org--bert", "resnet"]
    assert all("there is none" in reason for reason in result.failed.values())


@pytest.mark.parametrize("source", ["hf:/org/name@main", "timm:/resnet10t"])
def test_a_hub_source_without_weights_is_not_created(
    tmp_path: Path, registry: MlflowRegistry, client: MlflowClient, source: str
) -> None:
    """Registered, it would take a place among the recalled models and fail there."""
    zoo_file = write_zoo(
        tmp_path / "zoo.yaml", [{"source": source, "name": "m", "modality": "image"}]
    )

    result = register_models(read_zoo(zoo_file), registry, RecordingReporter())

    assert "nothing cached, and no download" in result.failed["m"]
    assert client.search_registered_models(f"name = '{registry.name_of('m')}'") == []


def test_a_mirrored_hub_source_is_tried_and_keeps_its_source(
    tmp_path: Path,
    registry: MlflowRegistry,
    client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its architecture and size are those of its configuration."""
    tiny_bert(tmp_path / "hub" / "org" / "name")
    monkeypatch.setenv("MLFLOW_RECALL_HUB", str(tmp_path / "hub"))
    zoo_file = write_zoo(
        tmp_path / "zoo.yaml", [{"source": "hf:/org/name@main", "modality": "text"}]
    )

    (model,) = registered(zoo_file, registry)

    assert model.name == registry.name_of("org--name")
    version = client.get_model_version(model.name, model.version)
    assert version.source == version.tags[tags.SOURCE] == "hf:/org/name@main"
    assert version.tags[tags.ARCH] == "transformers/bert"
    assert int(version.tags[tags.PARAMETERS]) > 0
