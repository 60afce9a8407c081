"""Trainings of networks that take milliseconds, and what their checkpoints hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tiny import tiny_bert, tiny_images, tiny_texts, tiny_timm

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.zoo import timm_models, transformers_models
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import Probe, ProbeTask, StageResult, TrainTask

RECIPE = Recipe(epochs=3, learning_rate=5e-3, head_learning_rate=2e-2, batch_size=8)


@dataclass(frozen=True)
class Case:
    """A model and a dataset of its modality."""

    member: Member
    weights: Path
    dataset: Dataset

    def task(self, recipe: Recipe = RECIPE, **changes: Any) -> TrainTask:
        task = TrainTask(
            member=self.member,
            weights=str(self.weights),
            dataset=self.dataset,
            recipe=recipe,
            first=1,
            last=recipe.epochs,
        )
        return replace(task, **changes)

    def load(self, recipe: Recipe, weights: Path | None = None) -> Any:
        """Return its network, by default with the weights it has before any training."""
        models = timm_models if self.member.library == "timm" else transformers_models
        return models.load(self.member, str(weights or self.weights), self.dataset, recipe, False)

    def probe(self, **changes: Any) -> Probe:
        task = ProbeTask(
            member=self.member, weights=str(self.weights), dataset=self.dataset, recipe=RECIPE
        )
        (probe,) = zoo.probe(replace(task, **changes))
        return probe


def sized(case: Case, **changes: Any) -> Recipe:
    return replace(RECIPE, input_size=32 if case.member.modality == "image" else 0, **changes)


def run(task: TrainTask) -> list[StageResult]:
    return list(zoo.train(task))


def checkpoint_of(result: StageResult) -> Path:
    """Return the checkpoint of a stage that kept one."""
    assert result.checkpoint is not None
    return Path(result.checkpoint)


def state(result: StageResult) -> dict[str, torch.Tensor]:
    """Return all tensors of a stage's checkpoint: weights, head and optimizer."""
    return {
        f"{file.name}/{name}": value
        for file in sorted(checkpoint_of(result).glob("*.safetensors"))
        for name, value in load_file(file).items()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def stage_by_stage(case: Case, recipe: Recipe, workspace: Path) -> list[StageResult]:
    """Train each stage as a task of its own, from the checkpoint of the one before."""
    done: list[StageResult] = []
    for stage in range(1, recipe.epochs + 1):
        torch.rand(stage)  # whatever else has used the generator meanwhile
        done += run(
            case.task(
                recipe,
                first=stage,
                last=stage,
                checkpoint=done[-1].checkpoint if done else None,
                workspace=str(workspace),
                test="last" if stage == recipe.epochs else "never",
            )
        )
    return done


def check_stages(case: Case, recipe: Recipe, folder: Path) -> None:
    """Check that stages from checkpoints are the same run as straight through, bit by bit."""
    through = run(case.task(recipe, workspace=str(folder / "through"), test="last"))
    staged = stage_by_stage(case, recipe, folder / "staged")

    stages = list(range(1, recipe.epochs + 1))
    assert [s.stage for s in staged] == [s.stage for s in through] == stages
    for one, other in zip(staged, through, strict=True):
        assert one.validation == other.validation
        assert one.test == other.test
        assert same(state(one), state(other))


def text_case(place: Path) -> Case:
    """Return a BERT of two layers, and a dataset of 60 texts."""
    dataset = prepare(DatasetSpec(path=str(tiny_texts(place / "texts.csv", 60))))
    member = Member(name="m", version="1", modality="text", arch="transformers/bert")
    return Case(member, tiny_bert(place / "bert", layers=2), dataset)


def image_case(place: Path) -> Case:
    """Return a residual network, and a dataset of 45 images."""
    dataset = prepare(DatasetSpec(path=str(tiny_images(place / "images", 45))))
    member = Member(name="m", version="1", modality="image", arch="timm/test_resnet", config={})
    return Case(member, tiny_timm(place / "resnet"), dataset)
