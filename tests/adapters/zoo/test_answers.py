"""Outputs of a head become answers, the same in training and where a model is served."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mlflow_recall.adapters.zoo.answers import read_target, to_answers, to_outputs

LOGITS = torch.tensor([[0.0, 2.0, -1.0], [3.0, 1.0, 2.0]])
CLASSES = ["a", "b", "c"]


def answers(task: str, logits: torch.Tensor = LOGITS, **options: Any) -> list[dict[str, Any]]:
    numbers = {"mean": 10.0, "std": 2.0} if task == "regression" else {}
    target = read_target({"task": task, **numbers}, CLASSES)
    outputs = [to_outputs(part, target) for part in (logits[:1], logits[1:])]
    rows = to_answers(outputs, target, **options).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def test_a_class_comes_with_its_probability() -> None:
    probabilities = LOGITS.double().softmax(dim=1)

    assert answers("classification") == [
        {"label": "b", "score": pytest.approx(float(probabilities[0, 1]))},
        {"label": "a", "score": pytest.approx(float(probabilities[1, 0]))},
    ]


def test_labels_above_the_threshold_come_the_most_probable_first() -> None:
    p = LOGITS.double().sigmoid().tolist()

    assert [row["labels"] for row in answers("multilabel")] == [["b", "a"], ["a", "c", "b"]]
    assert answers("multilabel")[1]["scores"] == pytest.approx([p[1][0], p[1][2], p[1][1]])
    assert [row["labels"] for row in answers("multilabel", threshold=0.9)] == [[], ["a"]]


def test_a_number_is_in_the_unit_of_the_data() -> None:
    assert answers("regression", torch.tensor([[0.5], [-1.0]])) == [
        {"prediction": 11.0},
        {"prediction": 8.0},
    ]


def test_a_folder_that_names_no_task_classifies() -> None:
    assert read_target({}, CLASSES) == {
        "task": "classification",
        "classes": CLASSES,
        "mean": 0.0,
        "std": 1.0,
    }


@pytest.mark.parametrize("threshold", [1.5, -0.1, float("nan"), None])
def test_a_threshold_that_is_no_probability_is_refused(threshold: Any) -> None:
    with pytest.raises(ValueError, match="threshold: expected a probability from 0 to 1, got"):
        answers("multilabel", threshold=threshold)
