"""The contract of every history, wherever it is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from prepared import RecordingReporter

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History, StageResult

#: model, dataset, final test score
CELLS = [
    ("a", "x", 0.5),
    ("a", "y", 0.75),
    ("b", "x", 0.25),
    ("b", "x", 0.125),  # a repeat
    ("c", "y", math.nan),  # never tested
]
Make = Callable[[str], History]


def in_a_folder(folder: Path, metric: str) -> History:
    table = pd.DataFrame(CELLS, columns=["model", "dataset", "value"]).assign(metric=metric)
    table.to_csv(folder / "matrix.csv", index=False)
    return FolderHistory(folder, minimize=metric == "log_loss")


def in_a_store(client: MlflowClient, namespace: str, metric: str) -> History:
    writer = RunWriter(client, f"{namespace}/benchmark")
    for model, dataset, value in CELLS:
        run = writer.open_run(model, "benchmark", {tags.MODEL: model, tags.DATASET: dataset})
        run.log_stage(StageResult(stage=1, validation={metric: 0.1}, seconds=1.0))
        if not math.isnan(value):
            run.log_metrics({f"test/{metric}": value})
        run.finish()
    writer.close()
    return TrackingHistory(client, namespace)


def in_an_export(client: MlflowClient, namespace: str, folder: Path, metric: str) -> History:
    in_a_store(client, namespace, metric)
    registry = MlflowRegistry(client, namespace)
    HistoryTransfer(client, namespace, registry).export(folder, RecordingReporter())
    return ExportHistory(folder)


@pytest.fixture(params=["folder", "store", "export"])
def make(
    request: pytest.FixtureRequest, client: MlflowClient, namespace: str, tmp_path: Path
) -> Make:
    if request.param == "folder":
        return lambda metric: in_a_folder(tmp_path, metric)
    if request.param == "export":
        return lambda metric: in_an_export(client, namespace, tmp_path, metric)
    return lambda metric: in_a_store(client, namespace, metric)


def rows(history: History, metric: str) -> Sequence[tuple[str, str, str]]:
    return sorted((r.model, r.dataset, str(r.final_score)) for r in history.records(metric))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_same_content_gives_the_same_records_higher_is_better(make: Make, metric: str) -> None:
    expected = [(m, d, str(to_maximize(metric, value))) for m, d, value in CELLS]

    assert [row[:2] for row in rows(make(metric), metric)] == [row[:2] for row in sorted(expected)]
    assert {r[2].replace("-nan", "nan") for r in rows(make(metric), metric)} == {
        value.replace("-nan", "nan") for _, _, value in expected
    }


def test_asking_twice_gives_the_same(make: Make) -> None:
    """Whatever is kept between the calls, a question that has no answer changes nothing."""
    history = make("accuracy")
    first = rows(history, "accuracy")

    with pytest.raises(HistoryError, match="metric 'log_loss'"):
        rows(history, "log_loss")

    assert {row[:2] for row in first} == {row[:2] for row in CELLS}
    assert rows(history, "accuracy") == first


def test_what_was_never_tested_is_not_complete(make: Make) -> None:
    records = make("accuracy").records("accuracy")

    assert {r.model for r in records if not r.is_complete} == {"c"}


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_metrics_are_those_that_records_can_be_asked_for(make: Make, metric: str) -> None:
    history = make(metric)

    assert history.metrics() == (metric,)
    assert history.records(metric)


def test_the_only_metric_is_the_primary_one(make: Make) -> None:
    history = make("accuracy")

    assert rows(history, "primary") == rows(history, "accuracy")
    assert {record.metric for record in history.records("primary")} == {"accuracy"}
    assert list(history.left_out("primary")) == list(history.left_out("accuracy")) == []


def test_the_matrix_is_the_same(make: Make) -> None:
    records = [r for r in make("accuracy").records("accuracy") if r.is_complete]
    matrix = PerformanceMatrix.from_records(records)

    assert (matrix.models, matrix.datasets) == (("a", "b"), ("x", "y"))
    assert matrix.values[0].tolist() == [0.5, 0.75]
    assert matrix.values[1, 0] == 0.1875
    assert math.isnan(matrix.values[1, 1])


def test_a_metric_that_nobody_recorded_is_refused(make: Make) -> None:
    with pytest.raises(HistoryError, match="metric 'matthews'"):
        make("accuracy").records("matthews")
