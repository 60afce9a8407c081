"""Which metric runs are read for, by their tags alone."""

from __future__ import annotations

import pytest

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.run_metrics import read_run_metrics

RUN = {tags.DATASET: "d", tags.DIGEST: "d1"}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([["accuracy", "f1"]], "accuracy"),
        ([["f1"], ["accuracy"]], "accuracy"),
        ([["f1"], ["f1"]], "f1"),
        ([["f1", "matthews"]], ""),
        ([["f1"], ["matthews"]], ""),
    ],
)
def test_an_adopted_dataset_has_accuracy_or_its_only_metric(
    metrics: list[list[str]], expected: str
) -> None:
    read = read_run_metrics("primary", [], [(RUN, own) for own in metrics])

    assert read.of_adopted(RUN) == expected
    assert read.left_out == (
        ()
        if expected
        else (
            "d is left out: its primary metric is unknown, since its adopted runs have f1, "
            "matthews: name one with --metric",
        )
    )


@pytest.mark.parametrize(("said", "expected"), [("f1", "f1"), ("mae", "accuracy")])
def test_tables_that_were_imported_may_name_it(said: str, expected: str) -> None:
    """A name that no run has says nothing."""
    runs = [({**RUN, tags.METRIC: said}, ["accuracy", "f1"]), (RUN, ["accuracy", "f1"])]

    assert read_run_metrics("primary", [], runs).of_adopted(RUN) == expected


def test_the_task_of_imported_tables_says_it_too() -> None:
    run = {**RUN, tags.TASK: "regression"}

    assert read_run_metrics("primary", [], [(run, ["mae", "spearman"])]).of_adopted(run) == (
        "spearman"
    )


def test_a_named_metric_is_that_of_every_run() -> None:
    read = read_run_metrics("f1", [(RUN, 0)], [(RUN, ["f1", "matthews"])])

    assert read.of_benchmark(RUN) == read.of_adopted({}) == "f1"
    assert read.left_out == ()


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_benchmark_run_decides_in_whatever_order_they_come(order: int) -> None:
    runs = [(RUN, 1), ({**RUN, tags.METRIC: "f1"}, 2)][::order]

    assert read_run_metrics("primary", runs, []).of_benchmark(RUN) == "f1"
