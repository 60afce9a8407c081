"""Benchmark runs as records: curves are checked, not statuses, and only new runs are read."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import connect, ensure_experiment, search_runs
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import ConfigError, HistoryError, TrackingError

CURVE = (0.2, 0.4, 0.6)


class Counting(MlflowClient):
    """A client that counts the runs and histories that it returns."""

    runs = 0
    histories = 0

    def search_runs(self, *args: Any, **kwargs: Any) -> Any:
        page = super().search_runs(*args, **kwargs)
        self.runs += len(page)
        return page

    def get_metric_history(self, *args: Any, **kwargs: Any) -> Any:
        self.histories += 1
        return super().get_metric_history(*args, **kwargs)


@pytest.fixture
def counting(store: str) -> Counting:
    return Counting(tracking_uri=store)


def record_run(
    client: MlflowClient,
    namespace: str,
    curve: Sequence[float] = CURVE,
    run_tags: Mapping[str, str] | None = None,
    *,
    test: float | Sequence[float] | None = 0.5,
    metric: str = "accuracy",
    status: str = "FINISHED",
    end: int | None = None,
) -> str:
    """Record a benchmark run by its metrics; the tag with the curve is up to the caller."""
    experiment = ensure_experiment(client, f"{namespace}/benchmark")
    own = {
        tags.KIND: "benchmark",
        tags.MODEL: "m",
        tags.DATASET: "d",
        tags.DIGEST: "d1",
        tags.MODALITY: "text",
        tags.EPOCHS: "3",
        **(run_tags or {}),
    }
    run_id = str(client.create_run(experiment, tags=own).info.run_id)
    for step, value in enumerate(curve, start=1):
        client.log_metric(run_id, f"val/{metric}", value, step=step)
        client.log_metric(run_id, "time/seconds", float(step), step=step)
    if isinstance(test, Sequence):
        for step, value in enumerate(test, start=1):
            client.log_metric(run_id, f"test/{metric}", value, step=step)
    elif test is not None:
        client.log_metric(run_id, f"test/{metric}", test)
    if status != "RUNNING":
        client.set_terminated(run_id, status, end)
    return run_id


def the_only(client: MlflowClient, namespace: str, metric: str = "accuracy") -> Record:
    (record,) = TrackingHistory(client, namespace).records(metric)
    return record


def test_a_run_becomes_a_record_with_all_its_facts(client: MlflowClient, namespace: str) -> None:
    run_tags = {tags.MODEL_VERSION: "7", tags.RECIPE: "{}"}
    run_id = record_run(client, namespace, run_tags=run_tags)

    assert the_only(client, namespace) == Record(
        model="m",
        dataset="d",
        validation_scores=CURVE,
        final_score=0.5,
        epochs=3,
        seconds=(1.0, 2.0, 3.0),
        modality="text",
        dataset_digest="d1",
        model_version="7",
        recipe="{}",
        metric="accuracy",
        run_id=run_id,
    )


def test_a_curve_tag_that_ends_as_the_metric_spares_the_history(
    counting: Counting, namespace: str
) -> None:
    curve = json.dumps({"val/accuracy": CURVE, "seconds": [4.0, 5.0, 6.0]})
    record_run(counting, namespace, run_tags={tags.CURVE: curve})

    assert the_only(counting, namespace).seconds == (4.0, 5.0, 6.0)
    assert counting.histories == 0


@pytest.mark.parametrize(
    "curve",
    [
        json.dumps({"val/accuracy": [0.9, 0.9, 0.7]}),  # another run's
        json.dumps({"val/accuracy": [0.2]}),  # from before it was resumed
        json.dumps({"val/accuracy": []}),
        json.dumps({"val/log_loss": [0.6]}),
        "{",
        "[]",
        json.dumps({"val/accuracy": 0.6}),
        json.dumps({"val/accuracy": ["x"]}),
    ],
)
def test_a_curve_tag_that_disagrees_or_says_nothing_yields_to_the_metric(
    client: MlflowClient, namespace: str, curve: str
) -> None:
    """The history of the metric has precedence over the tag."""
    record_run(client, namespace, run_tags={tags.CURVE: curve})

    record = the_only(client, namespace)

    assert record.validation_scores == CURVE
    assert record.seconds == (1.0, 2.0, 3.0)


TESTED = (0.1, 0.3, 0.5)


def test_a_test_curve_comes_from_the_tag_or_from_the_metric_the_same(
    counting: Counting, namespace: str
) -> None:
    curve = json.dumps({"val/accuracy": CURVE, "test/accuracy": TESTED})
    record_run(counting, namespace, run_tags={tags.CURVE: curve, tags.MODEL: "tagged"}, test=TESTED)
    history = TrackingHistory(counting, namespace)

    (values,) = history.records("accuracy")
    assert counting.histories == 0
    record_run(counting, namespace, run_tags={tags.MODEL: "logged"}, test=TESTED)
    _, logged = history.records("accuracy")

    assert values.test_scores == logged.test_scores == TESTED
    assert values.final_score == logged.final_score == TESTED[-1]


@pytest.mark.parametrize(
    "curve",
    [
        json.dumps({"val/accuracy": CURVE, "test/accuracy": [0.1, 0.3, 0.9]}),  # another run's
        json.dumps({"val/accuracy": CURVE, "test/accuracy": ["x"]}),
        json.dumps({"val/accuracy": [0.9, 0.9, 0.9], "test/accuracy": [0.7, 0.7, 0.5]}),
        json.dumps({"val/accuracy": CURVE[:2], "test/accuracy": TESTED[:2]}),
    ],
)
def test_a_tagged_test_curve_that_disagrees_yields_to_the_metric(
    client: MlflowClient, namespace: str, curve: str
) -> None:
    record_run(client, namespace, run_tags={tags.CURVE: curve}, test=TESTED)

    record = the_only(client, namespace)

    assert (record.validation_scores, record.test_scores) == (CURVE, TESTED)


def test_a_test_curve_that_the_metric_never_had_is_not_believed(
    client: MlflowClient, namespace: str
) -> None:
    curve = json.dumps({"val/accuracy": CURVE, "test/accuracy": TESTED})
    record_run(client, namespace, run_tags={tags.CURVE: curve}, test=None)

    record = the_only(client, namespace)

    assert (record.validation_scores, record.test_scores, record.is_complete) == (CURVE, (), False)


@pytest.mark.parametrize("curve", [{}, {"val/accuracy": CURVE, "test/accuracy": [0.5]}])
def test_a_stage_without_a_test_leaves_no_curve_of_tests(
    client: MlflowClient, namespace: str, curve: Mapping[str, Sequence[float]]
) -> None:
    """From the tag as from the metric."""
    record_run(client, namespace, run_tags={tags.CURVE: json.dumps(curve)})

    record = the_only(client, namespace)

    assert (record.test_scores, record.final_score, record.is_complete) == ((), 0.5, True)


def test_the_metrics_of_a_history_are_those_that_can_be_asked_for(
    client: MlflowClient, namespace: str
) -> None:
    """In alphabetical order, without those of failed runs and without unknown metrics."""
    history = TrackingHistory(client, namespace)
    assert history.metrics() == ()
    for metric in ("log_loss", "accuracy", "accuracy", "beauty"):
        record_run(client, namespace, metric=metric)
    record_run(client, namespace, metric="f1_macro", status="FAILED")
    record_run(client, namespace, metric="f1_macro", test=None)
    record_run(client, namespace, (), metric="matthews")  # somebody's, tested without a curve

    assert history.metrics() == ("accuracy", "log_loss")
    for metric in history.metrics():
        assert history.records(metric)


def test_a_finished_run_with_a_short_curve_is_a_partial_one(
    client: MlflowClient, namespace: str
) -> None:
    """A tracker that prunes may write FINISHED."""
    record_run(client, namespace, CURVE[:2])

    record = the_only(client, namespace)

    assert (record.validation_scores, record.is_complete) == (CURVE[:2], False)
    with pytest.raises(HistoryError, match="expected finished benchmark runs"):
        select_comparable([record])


def test_a_run_without_a_test_score_is_a_partial_one(client: MlflowClient, namespace: str) -> None:
    record_run(client, namespace, test=None)

    record = the_only(client, namespace)

    assert math.isnan(record.final_score)
    assert not record.is_complete


def test_running_and_failed_runs_are_no_records_and_killed_ones_are(
    client: MlflowClient, namespace: str
) -> None:
    for status in ("RUNNING", "FAILED", "KILLED"):
        record_run(client, namespace, run_tags={tags.MODEL: status}, status=status)

    assert the_only(client, namespace).model == "KILLED"


def test_runs_of_another_kind_are_no_records(client: MlflowClient, namespace: str) -> None:
    record_run(client, namespace)
    record_run(client, namespace, run_tags={tags.KIND: "candidate", tags.MODEL: "other"})

    assert the_only(client, namespace).model == "m"


def test_a_loss_is_turned_round(client: MlflowClient, namespace: str) -> None:
    record_run(client, namespace, (0.9, 0.7), metric="log_loss", test=0.8)

    record = the_only(client, namespace, "log_loss")

    assert (record.validation_scores, record.final_score) == ((-0.9, -0.7), -0.8)


def test_only_what_ended_since_is_fetched_again(counting: Counting, namespace: str) -> None:
    for end in (1_000, 2_000, 3_000):
        record_run(counting, namespace, run_tags={tags.MODEL: f"m{end}"}, end=end)
    history = TrackingHistory(counting, namespace)

    assert len(history.records("accuracy")) == 3
    counting.runs = 0
    record_run(counting, namespace, run_tags={tags.MODEL: "new"}, end=4_000)
    # at the same millisecond as the last one seen, and yet not missed
    record_run(counting, namespace, run_tags={tags.MODEL: "same"}, end=3_000)

    assert {record.model for record in history.records("accuracy")} == {
        "m1000", "m2000", "m3000", "new", "same",
    }  # fmt: skip
    assert counting.runs == 3


def test_a_run_that_was_running_at_first_is_read_once_it_has_ended(
    client: MlflowClient, namespace: str
) -> None:
    record_run(client, namespace, run_tags={tags.MODEL: "first"})
    late = record_run(client, namespace, run_tags={tags.MODEL: "late"}, status="RUNNING")
    history = TrackingHistory(client, namespace)

    assert [record.model for record in history.records("accuracy")] == ["first"]
    client.set_terminated(late)
    assert [record.model for record in history.records("accuracy")] == ["first", "late"]


def test_two_contents_under_one_name_are_two_datasets(client: MlflowClient, namespace: str) -> None:
    """Else a column of the matrix would mix them; the rarer content carries its digest."""
    for model, digest in (("a", "aaaaaaaa"), ("b", "aaaaaaaa"), ("a", "bbbbbbbb")):
        record_run(client, namespace, run_tags={tags.MODEL: model, tags.DIGEST: digest})

    records = TrackingHistory(client, namespace).records("accuracy")

    assert sorted((r.model, r.dataset) for r in records) == [
        ("a", "d"), ("a", "d@bbbbbb"), ("b", "d"),
    ]  # fmt: skip


def test_namespaces_do_not_see_each_others_runs(client: MlflowClient, namespace: str) -> None:
    record_run(client, namespace)

    with pytest.raises(HistoryError, match=f"experiment '{namespace}-2/benchmark': expected"):
        TrackingHistory(client, f"{namespace}-2").records("accuracy")


def test_no_run_with_the_metric_names_experiment_and_remedy(
    client: MlflowClient, namespace: str
) -> None:
    record_run(client, namespace)

    with pytest.raises(HistoryError, match=r"metric 'matthews', found none: run `mlflow-recall b"):
        TrackingHistory(client, namespace).records("matthews")


def test_an_unknown_metric_lists_the_known_ones(client: MlflowClient, namespace: str) -> None:
    with pytest.raises(ConfigError, match="unknown metric 'acuracy': expected one of accuracy"):
        TrackingHistory(client, namespace).records("acuracy")


def test_a_search_goes_on_over_pages(
    client: MlflowClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_recall.adapters.tracking.client._PAGE", 2)
    ids = {record_run(client, namespace, ()) for _ in range(5)}
    experiment = ensure_experiment(client, f"{namespace}/benchmark")

    assert {run.info.run_id for run in search_runs(client, [experiment], "")} == ids


def test_a_search_over_no_experiment_finds_nothing(client: MlflowClient) -> None:
    assert list(search_runs(client, [], "")) == []


# --- the server ----------------------------------------------------------------------------------


def test_connect_uses_the_configured_store_unless_another_is_given(store: str) -> None:
    assert connect().tracking_uri == store
    assert connect(store).tracking_uri == store


def test_a_server_that_does_not_answer_is_one_line_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: nobody answers, nobody else can take it
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(TrackingError, match=f"{uri}: expected a tracking server, got no") as e:
            connect(uri)
    assert "\n" not in str(e.value)
    assert "MLFLOW_TRACKING_URI" in str(e.value)


def test_a_host_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(TrackingError, match="expected a tracking server, got no answer"):
        connect("https://nowhere.invalid")


def test_a_scheme_that_mlflow_does_not_know_is_one_line() -> None:
    with pytest.raises(TrackingError, match="foo://bar: cannot be used as a tracking store"):
        connect("foo://bar")


def test_an_experiment_is_made_once(client: MlflowClient, namespace: str) -> None:
    made = ensure_experiment(client, namespace)

    assert ensure_experiment(client, namespace) == made
    experiment = client.get_experiment_by_name(namespace)
    assert experiment is not None
    assert str(experiment.experiment_id) == made


def test_a_deleted_experiment_says_how_to_bring_it_back(
    client: MlflowClient, namespace: str
) -> None:
    deleted = ensure_experiment(client, namespace)
    client.delete_experiment(deleted)

    with pytest.raises(TrackingError, match=f"mlflow experiments restore -x {deleted}"):
        ensure_experiment(client, namespace)


# --- primary metrics -----------------------------------------------------------------------------


def record_all(
    client: MlflowClient,
    namespace: str,
    dataset: str,
    scores: Mapping[str, float],
    run_tags: Mapping[str, str] | None = None,
) -> str:
    """Record a run on a dataset with several metrics, as a benchmark does."""
    (first, score), *others = scores.items()
    own = {tags.DATASET: dataset, tags.DIGEST: f"{dataset}1", tags.EPOCHS: "1", **(run_tags or {})}
    run_id = record_run(
        client, namespace, (score,), own, test=score, metric=first, status="RUNNING"
    )
    for metric, value in others:
        client.log_metric(run_id, f"val/{metric}", value, step=1)
        client.log_metric(run_id, f"test/{metric}", value)
    client.set_terminated(run_id)
    return run_id


CLASSES = {"accuracy": 0.75, "matthews": -0.25, "log_loss": 0.5}
NUMBERS = {"spearman": 0.625, "rmse": 3.0}


def test_each_dataset_is_read_by_the_metric_of_its_tags(
    client: MlflowClient, namespace: str
) -> None:
    """Without a tag by that of its task; losses are turned one by one."""
    regression = {tags.TASK: "regression"}
    record_all(client, namespace, "plain", CLASSES)
    record_all(client, namespace, "cola", CLASSES, {tags.METRIC: "matthews"})
    record_all(client, namespace, "nats", CLASSES, {tags.METRIC: "log_loss"})
    record_all(client, namespace, "stsb", NUMBERS, regression)
    record_all(client, namespace, "ages", NUMBERS, {**regression, tags.METRIC: "rmse"})

    history = TrackingHistory(client, namespace)
    records = {record.dataset: record for record in history.records("primary")}

    assert {name: (r.metric, r.final_score) for name, r in records.items()} == {
        "plain": ("accuracy", 0.75),
        "cola": ("matthews", -0.25),
        "nats": ("log_loss", -0.5),
        "stsb": ("spearman", 0.625),
        "ages": ("rmse", -3.0),
    }
    assert all(r.validation_scores == (r.final_score,) for r in records.values())
    assert {name for name, r in records.items() if r.task == "regression"} == {"stsb", "ages"}
    assert {r.dataset for r in history.records("accuracy")} == {"plain", "cola", "nats"}
    assert history.left_out("primary") == ()


def test_a_dataset_has_the_metric_that_its_newest_run_says(
    client: MlflowClient, namespace: str
) -> None:
    """Scores of one dataset by two metrics would not compare."""
    record_all(client, namespace, "d", CLASSES, {tags.MODEL: "older"})
    record_all(client, namespace, "d", CLASSES, {tags.MODEL: "newer", tags.METRIC: "matthews"})
    other = {tags.DIGEST: "other content"}
    record_all(client, namespace, "d", CLASSES, other)

    records = TrackingHistory(client, namespace).records("primary")

    assert {(r.model, r.dataset, r.metric) for r in records} == {
        ("older", "d", "matthews"),
        ("newer", "d", "matthews"),
        ("m", "d@other ", "accuracy"),
    }


@pytest.mark.parametrize(
    "run_tags", [{tags.METRIC: "beauty"}, {tags.TASK: "beauty"}, {tags.METRIC: "spearman"}]
)
def test_a_run_without_its_primary_metric_is_no_record(
    client: MlflowClient, namespace: str, run_tags: dict[str, str]
) -> None:
    """Anybody can write tags."""
    record_all(client, namespace, "d", CLASSES, run_tags)

    with pytest.raises(HistoryError, match="expected benchmark runs, found none: run"):
        TrackingHistory(client, namespace).records("primary")
    assert the_only(client, namespace).task == "classification"


@pytest.mark.parametrize("cell", ["c1", ""])
def test_of_several_finished_runs_of_a_cell_the_lowest_id_counts(
    client: MlflowClient, namespace: str, cell: str
) -> None:
    """The others are copies and no repeats, which would feign a noise floor of 0."""
    own = {tags.CELL: cell} if cell else {}
    finished = [record_run(client, namespace, run_tags=own, test=test) for test in (0.5, 0.7, 0.6)]
    other = record_run(client, namespace, run_tags={tags.CELL: "c2"}, test=0.9)

    records = TrackingHistory(client, namespace).records("accuracy")

    kept = {min(finished)} if cell else set(finished)
    assert {record.run_id for record in records} == {*kept, other}


def test_a_killed_run_that_reached_its_last_stage_is_no_repeat_of_a_finished_one(
    client: MlflowClient, namespace: str
) -> None:
    """An interrupt may come after the last stage was logged, and the cell is trained again."""
    own = {tags.CELL: "c1", tags.STAGE: "3", tags.EPOCHS: "3"}
    killed = [record_run(client, namespace, run_tags=own, status="KILLED") for _ in range(3)]
    assert len(TrackingHistory(client, namespace).records("accuracy")) == 1

    finished = record_run(client, namespace, run_tags=own)

    (record,) = TrackingHistory(client, namespace).records("accuracy")
    assert record.run_id == finished
    assert finished not in killed
