"""Facts of ``core.tasks``: what a head predicts."""

from __future__ import annotations

import pytest

from mlflow_recall.core.history.tasks import PRIMARY_METRICS, TASKS, Target


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
