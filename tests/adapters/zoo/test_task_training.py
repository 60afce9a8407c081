"""Labels and numbers are learned, resumed and served as classes are, from texts and images."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import CLASSES, tiny_bert, tiny_images, tiny_texts, tiny_timm

from mlflow_recall.adapters import zoo
from mlflow_recall.adapters.data.preparation import load_split, prepare, targets_of
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.zoo import serving, timm_models, transformers_models
from mlflow_recall.adapters.zoo.training import Loss, balanced_weights
from mlflow_recall.core.history.metrics import metrics_of
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import ProbeTask, StageResult, TrainTask

RECIPE = Recipe(
    epochs=3, learning_rate=5e-3, head_learning_rate=2e-2, batch_size=8, freeze_batchnorm=False
)


@dataclass(frozen=True)
class Case:
    """A model, its library, and a dataset."""

    member: Member
    weights: Path
    dataset: Dataset
    library: Any

    @property
    def recipe(self) -> Recipe:
        return replace(RECIPE, input_size=32 if self.member.modality == "image" else 0)

    def train(self, **changes: Any) -> list[StageResult]:
        task = TrainTask(
            member=self.member,
            weights=str(self.weights),
            dataset=self.dataset,
            recipe=self.recipe,
            last=self.recipe.epochs,
        )
        return list(zoo.train(replace(task, **changes)))


def _labeled(modality: str, task: str, place: Path) -> DatasetSpec:
    """Return a dataset whose labels or numbers follow from the class of tiny inputs."""
    if modality == "text":
        rows = pd.read_csv(tiny_texts(place / "rows.csv", 90)).to_dict("records")
    else:
        folder = tiny_images(place / "images", 90)
        rows = [
            {"image": str(file.relative_to(place)), "label": file.parent.name}
            for file in sorted(folder.rglob("*.png"))
        ]
    for row in rows:
        index, labels = CLASSES.index(row["label"]), ["early", row["label"]]
        # two classes share a label, and the last has none
        row["label"] = 10.5 + 3 * index if task == "regression" else labels[: 2 - index]
    file = place / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return DatasetSpec(path=str(file), image="image" if modality == "image" else "")


@pytest.fixture(
    scope="module",
    params=[(m, t) for m in ("text", "image") for t in ("multilabel", "regression")],
    ids=lambda pair: " ".join(pair),
)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sealed: None
) -> Case:
    modality, task = request.param
    place = tmp_path_factory.mktemp("case")
    dataset = prepare(_labeled(modality, task, place))
    if modality == "text":
        member = Member(name="m", version="1", modality="text", arch="transformers/bert")
        return Case(member, tiny_bert(place / "bert"), dataset, transformers_models)
    member = Member(name="m", version="1", modality="image", arch="timm/test_resnet")
    return Case(member, tiny_timm(place / "resnet"), dataset, timm_models)


def test_a_task_is_learned_and_brings_its_own_metrics(case: Case) -> None:
    *_, last = case.train(test="last", recipe=replace(case.recipe, epochs=5), last=5)

    assert set(last.validation) == set(last.test) == set(metrics_of(case.dataset.target))
    assert last.validation[case.dataset.metric] > 0.6


def test_stages_from_checkpoints_are_the_same_run_as_straight_through(
    case: Case, tmp_path: Path
) -> None:
    through = case.train(workspace=str(tmp_path / "through"))
    staged: list[StageResult] = []
    for stage in (1, 2, 3):
        checkpoint = staged[-1].checkpoint if staged else None
        staged += case.train(
            first=stage, last=stage, checkpoint=checkpoint, workspace=str(tmp_path / "staged")
        )

    assert [s.validation for s in staged] == [s.validation for s in through]
    for one, other in zip(staged, through, strict=True):
        for file in sorted(Path(one.checkpoint or "").glob("*.safetensors")):
            tensors = load_file(file), load_file(Path(other.checkpoint or "") / file.name)
            assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_a_head_for_another_target_is_a_new_one(case: Case, tmp_path: Path) -> None:
    """A regression has as many outputs as any other, but another unit."""
    (stage, *_) = case.train(workspace=str(tmp_path), last=1)
    same = case.library.load(case.member, stage.checkpoint, case.dataset, case.recipe, False)
    changed = replace(case.dataset, mean=99.0, classes=case.dataset.classes[::-1])
    other = case.library.load(case.member, stage.checkpoint, changed, case.recipe, False)

    heads = [
        [p for name, p in network.module.named_parameters() if name in network.head_parameters]
        for network in (same, other)
    ]
    assert not all(torch.equal(one, two) for one, two in zip(*heads, strict=True))


def test_a_probe_brings_the_targets_of_the_task(case: Case) -> None:
    task = ProbeTask(
        member=case.member,
        weights=str(case.weights),
        dataset=case.dataset,
        recipe=case.recipe,
        samples=30,
    )
    (probe,) = zoo.probe(task)

    rows = load_split(case.dataset, "train", 30, 0)
    assert np.array_equal(probe.labels, targets_of(rows, case.dataset))
    assert probe.embeddings.shape[0] == 30


def test_a_served_model_answers_as_the_network_does(case: Case, tmp_path: Path) -> None:
    (stage, *_) = case.train(workspace=str(tmp_path / "work"), last=1)
    serving.save_servable(
        tmp_path / "model", Path(stage.checkpoint or ""), case.member, case.dataset
    )
    network = case.library.load(case.member, stage.checkpoint, case.dataset, case.recipe, False)
    network.module.eval()
    rows = load_split(case.dataset, "test")
    with torch.inference_mode():
        logits = network.logits(network.collate(network.preprocess(rows))).double()
    column = case.member.modality
    inputs = [row["bytes"] if column == "image" else row for row in rows[column]]

    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    answers = model.predict(pd.DataFrame({column: inputs}))

    if case.dataset.task == "regression":
        expected = logits[:, 0] * case.dataset.std + case.dataset.mean
        assert answers["prediction"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        return
    p = logits.sigmoid().numpy()
    for row, (labels, scores) in enumerate(zip(answers["labels"], answers["scores"], strict=True)):
        order = [i for i in np.argsort(-p[row]) if p[row, i] >= 0.5]
        assert list(labels) == [case.dataset.classes[i] for i in order]
        assert list(scores) == pytest.approx(p[row, order].tolist(), abs=1e-5)
    everything = model.predict(pd.DataFrame({column: inputs}), params={"threshold": 0.0})
    assert all(len(labels) == len(case.dataset.classes) for labels in everything["labels"])


def test_large_numbers_are_evaluated_in_all_their_digits(tmp_path: Path, sealed: None) -> None:
    """1e9 + 1 and 1e9 + 2 are one number in 32 bits."""
    texts = pd.read_csv(tiny_texts(tmp_path / "rows.csv", 90))
    texts["label"] = [1e9 + 0.5 + CLASSES.index(name) for name in texts["label"]]
    texts.to_csv(tmp_path / "rows.csv", index=False)
    dataset = prepare(DatasetSpec(path=str(tmp_path / "rows.csv")))
    member = Member(name="m", version="1", modality="text", arch="transformers/bert")
    case = Case(member, tiny_bert(tmp_path / "bert"), dataset, transformers_models)

    *_, last = case.train(recipe=replace(case.recipe, epochs=5), last=5)

    assert last.validation["spearman"] > 0.6
    assert last.validation["mae"] < 1


def task_of(target: Dataset, **changes: Any) -> TrainTask:
    member = Member(name="m", version="1", modality="text", arch="transformers/bert")
    return TrainTask(member=member, weights="", dataset=target, recipe=Recipe(**changes))


def dataset_of(
    task: str, classes: tuple[str, ...] = (), mean: float = 0.0, std: float = 1.0
) -> Dataset:
    return Dataset(
        name="d",
        digest="",
        modality="text",
        classes=classes,
        sizes={},
        source="",
        folder="",
        task=task,
        mean=mean,
        std=std,
    )


def test_the_loss_of_numbers_is_the_squared_error_in_standard_deviations() -> None:
    loss = Loss(np.array([1.0, 5.0, 9.0]), task_of(dataset_of("regression", mean=5.0, std=4.0)))

    value = loss(torch.tensor([[0.5], [1.0]]), np.array([1, 0]))

    assert float(value) == pytest.approx(((0.5 - 0) ** 2 + (1 - (-1)) ** 2) / 2)


def test_balanced_classes_weigh_the_same() -> None:
    """Of three and one sample with equal logits, both classes have half of the loss."""
    labels = np.array([0, 0, 0, 1])
    logits = torch.tensor([[1.0, 0.0]] * 4)
    plain, balanced = (
        Loss(labels, task_of(dataset_of("classification", ("a", "b")), class_weight=weight))
        for weight in ("none", "balanced")
    )

    p = torch.tensor([1.0, 0.0]).softmax(dim=0).log()
    assert float(plain(logits, np.arange(4))) == pytest.approx(float(-(3 * p[0] + p[1]) / 4))
    assert float(balanced(logits, np.arange(4))) == pytest.approx(float(-(p[0] + p[1]) / 2))


def test_samples_with_a_label_weigh_as_much_as_those_without_it() -> None:
    flags = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])

    assert balanced_weights(flags, 3).tolist() == [3.0, 1.0, 1.0]
