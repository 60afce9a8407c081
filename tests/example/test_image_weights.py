"""Image checkpoints of the example: made, without a network, as the product then loads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny import tiny_images

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.yaml_files import read_zoo
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import ProbeTask, StageResult
from mlflow_recall_example import FOLDER, image_weights
from mlflow_recall_example.draw import Dataset as Source
from mlflow_recall_example.draw import Row, draw
from mlflow_recall_example.image_weights import CHECKPOINTS, Network, Packaged, Random, Trained
from mlflow_recall_example.packages import ExampleError

TINY = Random("tiny-scratch", Network("test_resnet", 32))
ROWS = 60


def drawn_pictures(folder: Path) -> Iterable[Row]:
    """Pairs of alike pictures; the folder of the packages is where they are drawn to."""
    names = sorted(tiny_images(folder / "tiny", ROWS).rglob("*.png"))
    for number, name in enumerate(names):
        yield Row(name.read_bytes(), name.parent.name, f"pair {number // 2}")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A checkpoint that trains in seconds, on a source of three classes, whatever the processor."""
    from mlflow_recall_example import images

    recipe = Recipe(
        learning_rate=2e-3, epochs=10, batch_size=4, input_size=32, freeze_batchnorm=False
    )
    checkpoint = Trained("tiny-trained", TINY.name, ("drawn",), recipe)
    monkeypatch.setattr(
        images,
        "DATASETS",
        {"drawn": Source(license="CC0", origin="drawn here", read=drawn_pictures)},
    )
    monkeypatch.setattr(image_weights, "SIZES", {"train": 10, "validation": 5, "test": 5})
    monkeypatch.setattr(image_weights, "UPSTREAM", {"train": 20, "validation": 10, "test": 10})
    known = {one.name: one for one in (TINY, checkpoint)}
    monkeypatch.setattr(image_weights, "CHECKPOINTS", known)
    return checkpoint


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, sealed: None) -> Dataset:
    return prepare(
        DatasetSpec(path=str(tiny_images(tmp_path_factory.mktemp("shown") / "images", 45)))
    )


def look(member: Member, folder: Path, shown: Dataset) -> None:
    """Load it and see that what it says of pictures are numbers."""
    (probe,) = zoo.probe(
        ProbeTask(
            member=member,
            weights=str(folder),
            dataset=shown,
            recipe=Recipe(input_size=64),
            samples=8,
        )
    )
    assert np.isfinite(probe.embeddings).all()
    assert (probe.probabilities is not None) == member.has_source_head


def test_random_weights_are_the_same_everywhere_and_move_no_seed(tmp_path: Path) -> None:
    """A floor that changed from machine to machine would be none."""
    before = torch.random.get_rng_state()

    first, second = (
        image_weights.fetch("resnet10t-scratch", tmp_path / name) for name in ("one", "two")
    )

    assert torch.equal(torch.random.get_rng_state(), before)
    weights = load_file(second / "model.safetensors")
    for name, values in load_file(first / "model.safetensors").items():
        assert torch.equal(values, weights[name])


@pytest.mark.parametrize("entry", read_zoo(FOLDER / "image_zoo.yaml"), ids=lambda one: one.title)
def test_every_member_that_needs_no_download_is_loaded(
    entry: image_weights.Any, tmp_path: Path, shown: Dataset
) -> None:
    """Members in the manifest are what the product can load, at another side than their own."""
    checkpoint = CHECKPOINTS[entry.title]
    if isinstance(checkpoint, Trained):
        pytest.skip("trained for a minute")
    if isinstance(checkpoint, Packaged):
        try:
            installed = metadata.version(checkpoint.package.name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{checkpoint.package.name} is not installed")
        if installed != checkpoint.version:
            pytest.skip(f"another {checkpoint.package.name} is installed")

    folder = image_weights.fetch(entry.title, tmp_path)

    assert folder == tmp_path / f"{entry.title}-{checkpoint.version}"
    member = Member(
        name=entry.title,
        version="1",
        modality="image",
        arch=entry.arch,
        has_source_head=entry.source_head,
    )
    look(member, folder, shown)


def test_the_manifest_lists_each_checkpoint_once() -> None:
    """Starts of training are no members; the rest is, with the command that trains it."""
    listed = yaml.safe_load((FOLDER / "image_zoo.yaml").read_text())["models"]
    names = [entry["name"] for entry in listed]
    rebuilt = {entry["name"]: entry.get("rebuild", "") for entry in listed}

    starts = {"mobilenetv3s-scratch", "vit-tiny-scratch"}
    assert sorted(names) == sorted(CHECKPOINTS.keys() - starts)
    for name in names:
        command = f"python -m mlflow_recall_example.build train --only {name}"
        expected = command if isinstance(CHECKPOINTS[name], Trained) else ""
        assert rebuilt[name] == expected


def test_training_keeps_the_names_of_its_classes(
    trained: Trained, tmp_path: Path, shown: Dataset
) -> None:
    """The head that comes out means something, and its folder is where `fetch` looks."""
    folder = image_weights.train(trained.name, tmp_path, tmp_path)

    assert image_weights.fetch(trained.name, tmp_path) == folder
    described = json.loads((folder / "config.json").read_text())
    assert described["label_names"] == ["cold", "mild", "warm"]
    assert not list(tmp_path.glob(".*"))
    member = Member(
        name="m", version="1", modality="image", arch="timm/test_resnet", has_source_head=True
    )
    look(member, folder, shown)


@pytest.mark.slow
def test_training_again_gives_the_same_weights(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained here can be trained there."""
    first = image_weights.train(trained.name, tmp_path, tmp_path)
    second_version = replace(trained, version="2")
    monkeypatch.setitem(image_weights.CHECKPOINTS, trained.name, second_version)
    second = image_weights.train(trained.name, tmp_path, tmp_path)

    weights = load_file(second / "model.safetensors")
    for name, values in load_file(first / "model.safetensors").items():
        assert torch.equal(values, weights[name])


def test_a_network_that_learned_nothing_is_not_kept(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead network loads like any other, and would stand in the history as a member."""
    at_chance = StageResult(
        stage=1, validation={"balanced_accuracy": 1 / 3}, seconds=0.0, checkpoint=str(tmp_path)
    )
    monkeypatch.setattr(zoo, "train", lambda task: iter([at_chance]))

    with pytest.raises(ExampleError, match=r"tiny-trained learned nothing: .* got 0\.333"):
        image_weights.train(trained.name, tmp_path, tmp_path)

    assert not (tmp_path / f"{trained.name}-{trained.version}").exists()


def test_no_picture_of_a_benchmark_is_trained_on(trained: Trained, tmp_path: Path) -> None:
    """Nor one that is like it: the pair of a drawn picture stays unseen too."""
    drawn = {row.group for row, _ in draw(drawn_pictures(tmp_path), image_weights.SIZES)}

    rest = {row.group for row in image_weights.unseen(trained.sets, tmp_path)}

    pairs = {f"pair {number}" for number in range(ROWS // 2)}
    assert rest == {f"drawn {pair}" for pair in pairs - drawn}
    assert drawn


def test_fetching_what_must_be_trained_names_the_command(tmp_path: Path) -> None:
    """A selection must not start to train a zoo."""
    with pytest.raises(ExampleError, match=r"not shipped; run: python .* --only lite0-clipart$"):
        image_weights.fetch("lite0-clipart", tmp_path)

    assert not list(tmp_path.iterdir())


def test_only_what_is_trained_can_be_trained(tmp_path: Path) -> None:
    """The answer lists those that are."""
    with pytest.raises(ExampleError, match=r"effnet-lite0 is fetched, .* one of lite0-captcha, "):
        image_weights.train("effnet-lite0", tmp_path, tmp_path)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    """A misspelt source should cost one look."""
    with pytest.raises(ExampleError, match=r"unknown example checkpoint 'nothing'; known: effnet"):
        image_weights.fetch("nothing", tmp_path)


def test_statistics_are_restored_without_changing_an_output() -> None:
    """The folded network was right; only its steps of training were not."""
    module = Network("test_resnet", 32, classes=3).blank().eval()
    images = image_weights.pictures(16, 32)
    with torch.no_grad():
        before = module(images)
        image_weights.restore_statistics(module, images)

        assert torch.allclose(module(images), before, atol=1e-5)
        assert torch.allclose(module.train()(images), before, atol=1e-3)
