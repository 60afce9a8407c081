"""Runs as they are written: their owner, their curve as a tag, and the reason of their end."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED

from mlflow_recall.adapters.tracking import runs, tags
from mlflow_recall.adapters.tracking.client import is_finished, is_running, without_retries
from mlflow_recall.adapters.tracking.ownership import Owner, owner_tags, take_over
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.adapters.tracking.runs import RunWriter, non_default
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.ports import StageResult

DATASET = Dataset(
    name="reviews",
    digest="abcd",
    modality="text",
    classes=("no", "yes"),
    sizes={"train": 9},
    source="reviews.csv",
    folder="/tmp",  # noqa: S108
)


@pytest.fixture
def writer(client: MlflowClient, namespace: str) -> Iterator[RunWriter]:
    made = RunWriter(client, f"{namespace}/benchmark")
    yield made
    made.close()


def test_an_open_run_is_running_and_says_whose_it_is(
    client: MlflowClient, writer: RunWriter
) -> None:
    opened = writer.open_run("m on d", "benchmark", {tags.CELL: "c1"})

    run = client.get_run(opened.run_id)
    assert is_running(run)
    assert run.info.run_name == "m on d"
    assert run.data.tags[tags.KIND] == "benchmark"
    assert run.data.tags[tags.CELL] == "c1"
    assert run.data.tags[tags.OWNER] == owner_tags()[tags.OWNER]
    owner = Owner.of(run.data.tags)
    assert owner is not None
    assert not owner.is_gone
    assert mlflow.active_run() is None  # nothing hidden was started
    opened.finish()


def test_a_child_is_in_its_parents_experiment(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    """`mlflow run` opens the parent in whichever experiment its user names."""
    other = RunWriter(client, f"{namespace}/elsewhere")
    parent = other.open_run("parent", "selection")

    child = writer.open_run("child", "candidate", parent=parent)

    run = client.get_run(child.run_id)
    assert run.info.experiment_id == parent.experiment_id
    assert run.data.tags["mlflow.parentRunId"] == parent.run_id
    for opened in (child, parent):
        opened.finish()
    other.close()


def test_the_run_that_mlflow_run_opened_is_adopted(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    theirs = client.create_run(client.create_experiment(namespace), tags={"theirs": "kept"})

    with writer.managed_run("select reviews", "selection", theirs.info.run_id) as opened:
        run = client.get_run(theirs.info.run_id)
        assert opened.run_id == theirs.info.run_id
        assert run.info.run_name == "select reviews"
        assert run.data.tags["theirs"] == "kept"
        assert run.data.tags[tags.OWNER] == owner_tags()[tags.OWNER]
        assert client.get_experiment_by_name(f"{namespace}/benchmark") is None


def test_without_a_run_to_adopt_a_new_one_is_opened(
    client: MlflowClient, writer: RunWriter
) -> None:
    with writer.managed_run("select reviews", "selection") as opened:
        assert client.get_run(opened.run_id).data.tags[tags.KIND] == "selection"


def test_stages_are_metrics_by_epoch_and_one_tag_that_agrees(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    run = writer.open_run("m on d", "benchmark", {tags.MODEL: "m", tags.EPOCHS: "2"})
    run.log_stage(StageResult(stage=1, validation={"accuracy": 0.25, "log_loss": 0.9}, seconds=1.5))
    run.log_stage(
        StageResult(stage=2, validation={"accuracy": 1 / 3, "log_loss": 0.8}, seconds=1.25)
    )
    run.log_metrics({"test/accuracy": 0.3})
    run.finish()

    points = client.get_metric_history(run.run_id, "val/accuracy")
    assert [(point.step, point.value) for point in points] == [(1, 0.25), (2, 1 / 3)]
    run_tags = client.get_run(run.run_id).data.tags
    assert run_tags[tags.STAGE] == "2"
    assert json.loads(run_tags[tags.CURVE]) == {
        "val/accuracy": [0.25, 1 / 3],
        "val/log_loss": [0.9, 0.8],
        "seconds": [1.5, 1.25],
    }
    (record,) = TrackingHistory(client, namespace).records("accuracy")
    assert (record.validation_scores, record.seconds) == ((0.25, 1 / 3), (1.5, 1.25))
    assert record.is_complete


def test_stages_that_are_tested_have_the_test_at_their_step_and_in_the_tag(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    run = writer.open_run("m on d", "benchmark", {tags.MODEL: "m", tags.EPOCHS: "2"})
    run.log_stage(
        StageResult(stage=1, validation={"log_loss": 0.9}, seconds=1.0, test={"log_loss": 0.8})
    )
    run.log_stage(
        StageResult(stage=2, validation={"log_loss": 0.7}, seconds=1.0, test={"log_loss": 1 / 3})
    )
    run.finish()

    points = client.get_metric_history(run.run_id, "test/log_loss")
    assert [(point.step, point.value) for point in points] == [(1, 0.8), (2, 1 / 3)]
    run_tags = client.get_run(run.run_id).data.tags
    assert json.loads(run_tags[tags.CURVE])["test/log_loss"] == [0.8, 1 / 3]
    (record,) = TrackingHistory(client, namespace).records("log_loss")
    assert (record.test_scores, record.final_score) == ((-0.8, -1 / 3), -1 / 3)


def test_a_run_that_is_tested_at_its_end_alone_has_no_curve_of_tests(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    """One test score is no curve: a back-test must not read it as that of the first epoch."""
    run = writer.open_run("m on d", "benchmark", {tags.MODEL: "m", tags.EPOCHS: "2"})
    run.log_stage(StageResult(stage=1, validation={"accuracy": 0.2}, seconds=1.0))
    run.log_stage(
        StageResult(stage=2, validation={"accuracy": 0.4}, seconds=1.0, test={"accuracy": 0.5})
    )
    run.finish()

    points = client.get_metric_history(run.run_id, "test/accuracy")
    assert [(point.step, point.value) for point in points] == [(2, 0.5)]
    (record,) = TrackingHistory(client, namespace).records("accuracy")
    assert (record.test_scores, record.final_score, record.is_complete) == ((), 0.5, True)


def test_a_curve_too_long_for_a_tag_is_left_to_the_metrics(
    client: MlflowClient, writer: RunWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag that a server truncates would not be JSON."""
    monkeypatch.setattr(tags, "MAX_LENGTH", 60)
    run = writer.open_run("m on d", "benchmark")
    run.log_stage(StageResult(stage=1, validation={"accuracy": 0.25}, seconds=1.0))
    run.log_stage(StageResult(stage=2, validation={"accuracy": 0.123456789012345}, seconds=1.0))
    run.finish()

    run_tags = client.get_run(run.run_id).data.tags
    assert run_tags[tags.STAGE] == "2"
    assert json.loads(run_tags[tags.CURVE])["val/accuracy"] == [0.25]


def test_a_finished_run_has_an_end_a_status_and_a_reason(
    client: MlflowClient, writer: RunWriter
) -> None:
    opened = writer.open_run("m on d", "benchmark")
    before = opened.is_closed
    opened.finish("KILLED", "behind x")

    run = client.get_run(opened.run_id)
    assert (before, opened.is_closed) == (False, True)
    assert (run.info.status, run.data.tags[tags.REASON]) == ("KILLED", "behind x")
    assert run.info.end_time >= run.info.start_time
    assert not is_finished(run)
    assert not is_running(run)


def test_a_run_that_is_reopened_runs(client: MlflowClient, writer: RunWriter) -> None:
    opened = writer.open_run("m on d", "benchmark")
    opened.finish("KILLED", "interrupted")
    opened.reopen()

    assert not opened.is_closed
    assert is_running(client.get_run(opened.run_id))
    opened.finish()
    assert is_finished(client.get_run(opened.run_id))


def test_a_run_reads_a_dataset_and_keeps_params_texts_and_tables(
    client: MlflowClient, writer: RunWriter, tmp_path: Path
) -> None:
    run = writer.open_run("m on d", "benchmark")
    run.log_dataset_input(DATASET, "benchmark")
    run.log_params({"epochs": 3, "freeze": "nothing"}, "recipe.")
    run.set_description("# What happened")
    run.log_text("a trace", "traceback.txt")
    run.log_table([{"model": "a", "score": 0.5}], "ranking.json")
    run.log_table([], "nothing.json")
    run.finish()

    kept = client.get_run(run.run_id)
    assert kept.inputs is not None
    (entry,) = kept.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("reviews", "abcd")
    assert "reviews.csv" in entry.dataset.source
    assert [tag.value for tag in entry.tags] == ["benchmark"]
    assert kept.data.params == {"recipe.epochs": "3", "recipe.freeze": "nothing"}
    assert kept.data.tags["mlflow.note.content"] == "# What happened"
    files = {file.path for file in client.list_artifacts(run.run_id)}
    assert files == {"traceback.txt", "ranking.json"}


def test_a_tag_is_cut_where_servers_would_refuse_it(
    client: MlflowClient, writer: RunWriter
) -> None:
    run = writer.open_run("m on d", "benchmark")
    run.finish("FAILED", "x" * 10_000)

    assert client.get_run(run.run_id).data.tags[tags.REASON] == "x" * tags.MAX_LENGTH


# --- cells ---------------------------------------------------------------------------------------


def test_cells_list_their_runs_by_id(client: MlflowClient, writer: RunWriter) -> None:
    assert writer.runs_by_cell() == {}
    first = writer.open_run("1", "benchmark", {tags.CELL: "c1"})
    first.finish("FAILED")
    second = writer.open_run("2", "benchmark", {tags.CELL: "c1"})
    second.finish()
    other = writer.open_run("3", "benchmark", {tags.CELL: "c2"})
    writer.open_run("4", "cluster").finish()

    cells = {
        cell: [run.info.run_id for run in runs] for cell, runs in writer.runs_by_cell().items()
    }

    assert cells == {"c1": sorted([first.run_id, second.run_id]), "c2": [other.run_id]}
    assert [run.info.run_id for run in writer.runs_of_cell("c1")] == cells["c1"]
    other.finish()


def test_open_runs_are_those_that_nobody_closed(writer: RunWriter) -> None:
    first, second, third = (writer.open_run(name, "benchmark") for name in "123")
    first.finish()
    second.withdraw()

    assert writer.open_runs == [third]
    third.finish()
    assert writer.open_runs == []


def test_a_run_that_was_taken_over_is_not_finished_by_its_owner(
    client: MlflowClient, writer: RunWriter
) -> None:
    """A worker that was suspended goes on when another one has its cell."""
    kept, lost = (writer.open_run(name, "benchmark") for name in "12")
    take_over(client, lost.run_id, "it stood still")

    assert [run.finish_unless_taken_over() for run in (kept, lost)] == [True, False]

    assert is_finished(client.get_run(kept.run_id))
    run = client.get_run(lost.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags[tags.REASON] == "it stood still"
    assert writer.open_runs == []


# --- lost answers --------------------------------------------------------------------------------


class LosingClient:
    """A client whose answers to creations get lost, before or after the server did its work."""

    def __init__(self, client: MlflowClient, losses: list[str], code: int) -> None:
        self._client = client
        self._losses = losses
        self._code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def create_run(self, *arguments: Any, **named: Any) -> Run:
        loss = self._losses.pop(0) if self._losses else ""
        created = None if loss == "before" else self._client.create_run(*arguments, **named)
        if loss == "twice":  # it arrives once more, and late
            self._client.create_run(*arguments, **named)
        if loss or created is None:
            raise MlflowException("no answer", error_code=self._code)
        return created


@pytest.mark.parametrize("losses", [["before"], ["after"], ["before", "after"], ["twice"]])
def test_a_run_whose_creation_got_no_answer_is_created_once(
    client: MlflowClient, namespace: str, losses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_WAITS", (0.0, 0.0, 0.0))
    losing = LosingClient(client, list(losses), INTERNAL_ERROR)
    writer = RunWriter(cast("MlflowClient", losing), f"{namespace}/benchmark")

    opened = writer.open_run("m on d", "benchmark", {tags.CELL: "c1"})
    opened.finish()
    writer.close()

    (run,) = writer.runs_of_cell("c1")
    assert run.info.run_id == opened.run_id


def test_a_creation_that_is_refused_is_not_tried_again(
    client: MlflowClient, namespace: str
) -> None:
    losing = LosingClient(client, ["before"], PERMISSION_DENIED)
    writer = RunWriter(cast("MlflowClient", losing), f"{namespace}/benchmark")

    with pytest.raises(MlflowException, match="no answer"):
        writer.open_run("m on d", "benchmark", {tags.CELL: "c1"})

    assert writer.runs_of_cell("c1") == []


def test_a_creation_is_sent_once_by_mlflows_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own repetitions would make runs that nobody knows of."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with without_retries():
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    with without_retries():
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"


def test_unset_settings_are_no_parameters() -> None:
    assert non_default({"a": None, "b": "", "c": (), "d": {}, "e": 0, "f": False}) == {
        "e": 0,
        "f": False,
    }


def test_what_is_no_finite_number_is_not_logged_as_one(
    client: MlflowClient, writer: RunWriter
) -> None:
    """A store would keep an infinite value as the largest number there is."""
    opened = writer.open_run("m on d", "benchmark")

    opened.log_metrics({"known": 0.5, "unknown": math.nan, "endless": math.inf})
    opened.log_metrics({"unknown": -math.inf})
    opened.finish()

    assert client.get_run(opened.run_id).data.metrics == {"known": 0.5}


def test_a_diverged_stage_keeps_its_place_and_says_so(
    client: MlflowClient, writer: RunWriter, namespace: str
) -> None:
    opened = writer.open_run("m on d", "benchmark", {tags.MODEL: "m", tags.DATASET: "d"})

    for stage, value in ((1, 0.5), (2, math.inf), (3, 0.75)):
        opened.log_stage(
            StageResult(
                stage=stage, validation={"accuracy": value}, seconds=1.0, test={"accuracy": 0.5}
            )
        )
    opened.finish()

    run = client.get_run(opened.run_id)
    assert run.data.tags[tags.REASON] == "diverged: validation accuracy is inf after stage 2"
    (record,) = TrackingHistory(client, namespace).records("accuracy")
    assert [str(value) for value in record.validation_scores] == ["0.5", "nan", "0.75"]
    assert record.test_scores == (0.5, 0.5, 0.5)


def test_a_score_of_somebody_elses_metric_may_be_undefined() -> None:
    """As the area under a curve where the split has one class."""
    values = StageResult(stage=1, validation={"accuracy": 0.5, "auc": math.nan}, seconds=1.0)

    assert values.divergence() == ""
    assert values.divergence(("auc",)) == "diverged: validation auc is nan after stage 1"


def test_a_run_holds_no_secret_and_its_page_nothing_that_acts(
    client: MlflowClient, writer: RunWriter, tmp_path: Path
) -> None:
    """Whatever text comes, from a person, a library or a registry, leaves through one door."""
    address = "http://me:hush@host/x?token=hush"
    hostile = f"{address} \x1b[2J\u202e<img src=x>"
    run = writer.open_run(hostile, "benchmark", {tags.DATASET: address})
    run.log_params({"path": address})
    run.set_tags({tags.SPEC: address})
    run.set_description(hostile)
    run.log_text(hostile, "a.txt")
    run.log_table([{"b": hostile}], "b.json")
    run.log_dataset_input(replace(DATASET, source=address), "target")
    run.finish("FAILED", hostile)

    logged = client.get_run(run.run_id)
    files = "".join(
        Path(client.download_artifacts(run.run_id, name, str(tmp_path))).read_text()
        for name in ("a.txt", "b.json")
    )
    assert logged.inputs is not None
    assert "hush" not in f"{logged.to_dictionary()} {logged.inputs.to_dictionary()} {files}"
    for text in (logged.info.run_name, logged.data.tags[tags.REASON], files):
        assert "\x1b" not in text
        assert "\\x1b" in text or "\\u001b" in text
    note = logged.data.tags["mlflow.note.content"]
    assert not {"\x1b", "\u202e", "<"} & {*note}
