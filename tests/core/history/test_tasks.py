"""Facts of ``core.tasks``: what a head predicts, and which metric is primary."""

from __future__ import annotations

import pytest

from mlflow_recall.core.history.tasks import PRIMARY_METRICS, TASKS, Target, primary_metric


@pytest.mark.parametrize("task", TASKS)
def test_a_head_has_an_output_a_class_or_one_for_a_number(task: str) -> None:
    classes = () if task == "regression" else ("a", "b", "c")

    assert Target(task=task, classes=classes).outputs == max(1, len(classes))


def test_every_task_has_a_metric_that_models_are_compared_by() -> None:
    assert dict(PRIMARY_METRICS) == {
        "classification": "accuracy",
        "multilabel": "average_precision",
        "regression": "spearman",
    }


@pytest.mark.parametrize(
    ("recorded", "task", "expected"),
    [
        (["accuracy", "log_loss"], "classification", "accuracy"),
        (["auc"], "classification", "auc"),
        (["auc", "mcc"], "classification", None),
        (["mae", "spearman"], "regression", "spearman"),
        (["mae", "spearman"], "classification", None),
        (["accuracy", "spearman"], "unheard of", "accuracy"),
        ([], "classification", None),
    ],
)
def test_the_primary_metric_is_that_of_the_task_or_the_only_one(
    recorded: list[str], task: str, expected: str | None
) -> None:
    """Of several others none is primary: whoever asks has to choose."""
    assert primary_metric(recorded, task) == expected
