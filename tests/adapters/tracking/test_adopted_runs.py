"""Runs of others in a real store: what is read of them, and the tags that they get and lose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from logged import STEPS, log_hf, log_run
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import TAGS, AdoptedRuns, read_rules
from mlflow_recall.adapters.tracking.client import adopted_experiments, ensure_experiment
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import InterpretedRun, MetricSource
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import ConfigError, HistoryError

CURVE = (0.5, 0.6, 0.7)
SOURCE = MetricSource(validation="eval_accuracy", test="test_accuracy", epochs=3)


class Counting(MlflowClient):
    """A client that counts its requests."""

    searches = 0
    histories = 0

    def search_runs(self, *args: Any, **kwargs: Any) -> Any:
        self.searches += 1
        return super().search_runs(*args, **kwargs)

    def get_metric_history(self, *args: Any, **kwargs: Any) -> Any:
        self.histories += 1
        return super().get_metric_history(*args, **kwargs)


@pytest.fixture
def counting(store: str) -> Counting:
    return Counting(tracking_uri=store)


def read(client: MlflowClient, namespace: str, query: str = "") -> list[LoggedRun]:
    store = AdoptedRuns(client, namespace)
    return store.read_runs(store.experiments([f"{namespace}-theirs"]), query)


def adopt_run(
    client: MlflowClient,
    namespace: str,
    run_id: str,
    source: MetricSource = SOURCE,
    metric: str = "",
) -> None:
    """Tag one run as an adoption does."""
    store = AdoptedRuns(client, namespace)
    (run,) = (run for run in read(client, namespace) if run.run_id == run_id)
    store.record_experiments(store.experiments([f"{namespace}-theirs"]))
    store.write(
        InterpretedRun(
            run=run,
            model="m",
            dataset="d",
            modality="text",
            source=source,
            raw_model="m",
            is_registered=False,
        ),
        metric or "accuracy",
    )
    store.record_experiments([])


def records(client: MlflowClient, namespace: str, metric: str = "accuracy") -> Sequence[Record]:
    return TrackingHistory(client, namespace).records(metric)


# --- reading -------------------------------------------------------------------------------------


def test_a_run_is_read_as_it_was_logged(client: MlflowClient, namespace: str) -> None:
    theirs = f"{namespace}-theirs"
    run_id = log_run(client, theirs, {"a": 1}, [("x", 1, 0.5), ("x", 2, 0.7)], run_tags={"t": "u"})
    client.log_inputs(
        run_id, [DatasetInput(Dataset("imdb", "d1", source_type="code", source="{}"), [])]
    )

    (run,) = read(client, namespace)

    assert (run.run_id, run.name, run.experiment, run.status) == (run_id, "run", theirs, "FINISHED")
    assert (run.params, run.metrics, run.inputs) == ({"a": "1"}, {"x": 0.7}, ("imdb",))
    assert (run.tags["t"], run.is_own, run.adopted) == ("u", False, "")
    assert run.end_time >= run.start_time > 0


def test_a_filter_is_mlflows_own(client: MlflowClient, namespace: str) -> None:
    for team in ("x", "y"):
        log_run(client, f"{namespace}-theirs", {}, [], run_tags={"team": team})

    assert [r.tags["team"] for r in read(client, namespace, "tags.team = 'x'")] == ["x"]
    with pytest.raises(ConfigError, match=r"filter: expected one such as .*got 'team is x': "):
        read(client, namespace, "team is x")


def test_experiments_go_by_name_pattern_or_id(client: MlflowClient, namespace: str) -> None:
    ids = [ensure_experiment(client, f"{namespace}-{name}") for name in ("one", "two")]
    store = AdoptedRuns(client, namespace)

    def result(*wanted: str) -> list[str]:
        return [str(e.experiment_id) for e in store.experiments(wanted)]

    assert result(f"{namespace}-one") == ids[:1]
    assert sorted(result(f"{namespace}-*", ids[1])) == sorted(ids)
    assert result(ids[1]) == ids[1:]
    with pytest.raises(ConfigError, match=r"experiment: expected some of .*, got 'nowhere'"):
        result("nowhere")


# --- tags, and what the history makes of them ----------------------------------------------------


def test_an_adopted_run_is_a_complete_record(client: MlflowClient, namespace: str) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE, test=0.65)
    adopt_run(client, namespace, run_id)

    (record,) = records(client, namespace)

    assert record == Record(
        model="m",
        dataset="d",
        validation_scores=CURVE,
        final_score=0.65,
        epochs=3,
        seconds=(2.0, 2.0, 2.0),
        modality="text",
        metric="accuracy",
        run_id=run_id,
    )
    assert record.is_complete
    assert TrackingHistory(client, namespace).metrics() == ("accuracy",)


def test_only_the_documented_tags_change(client: MlflowClient, namespace: str) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE, test=0.65)
    before = client.get_run(run_id)
    adopt_run(client, namespace, run_id)
    after = client.get_run(run_id)

    assert set(after.data.tags) == {*before.data.tags, *TAGS}
    assert before.data.tags.items() <= after.data.tags.items()
    assert (after.data.params, after.data.metrics) == (before.data.params, before.data.metrics)
    assert dict(after.info) == dict(before.info)


def test_released_runs_are_as_they_were(client: MlflowClient, namespace: str) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE)
    before = client.get_run(run_id).data.tags
    adopt_run(client, namespace, run_id)
    history = TrackingHistory(client, namespace)
    assert history.records("accuracy")
    store = AdoptedRuns(client, namespace)

    store.release(read(client, namespace)[0])
    store.record_experiments([])

    assert client.get_run(run_id).data.tags == before
    with pytest.raises(HistoryError, match="found none"):  # the same history sees it too
        history.records("accuracy")


def test_a_second_metric_joins_the_first_and_leaves_alone(
    client: MlflowClient, namespace: str
) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE, test=0.65)
    loss = MetricSource(validation="eval_loss", test="test_loss", minimize=True)
    adopt_run(client, namespace, run_id)
    adopt_run(client, namespace, run_id, loss, "log_loss")

    assert TrackingHistory(client, namespace).metrics() == ("accuracy", "log_loss")
    assert records(client, namespace)[0].validation_scores == CURVE
    (record,) = records(client, namespace, "log_loss")
    assert record.validation_scores == pytest.approx((-0.5, -0.4, -0.3))
    assert record.final_score == pytest.approx(-0.35)
    store = AdoptedRuns(client, namespace)
    assert set(store.directions("log_loss")) == {True}

    store.release(read(client, namespace)[0], "accuracy")
    store.record_experiments([])

    assert TrackingHistory(client, namespace).metrics() == ("log_loss",)


def test_an_unknown_metric_has_the_given_direction(client: MlflowClient, namespace: str) -> None:
    run_id = log_run(client, f"{namespace}-theirs", {}, [("drift", 1, 0.4), ("drift", 2, 0.3)])
    adopt_run(client, namespace, run_id, MetricSource(validation="drift", minimize=True), "drift")

    (record,) = records(client, namespace, "drift")

    assert (record.validation_scores, record.final_score) == ((-0.4, -0.3), -0.3)
    with pytest.raises(ConfigError, match="unknown metric 'drifft'"):
        records(client, namespace, "drifft")


def test_a_curve_is_scaled_and_thinned_the_same_from_tag_and_metric(
    counting: Counting, namespace: str
) -> None:
    points = [("eval_top1", step, 10.0 * step) for step in (1, 2, 3, 4)]
    run_id = log_run(counting, f"{namespace}-theirs", {}, points)
    adopt_run(
        counting,
        namespace,
        run_id,
        MetricSource(validation="eval_top1", test="", validation_scale=0.01, epochs=2),
    )
    counting.histories = 0

    (values,) = records(counting, namespace)
    assert counting.histories == 0
    for broken in ("{}", "{", "[]", json.dumps({"val/accuracy": [0.9]})):
        counting.set_tag(run_id, tags.CURVE, broken)
        (logged,) = records(counting, namespace)
        assert logged.validation_scores == values.validation_scores == (0.2, 0.4)
    assert counting.histories == 4


def test_a_curve_too_long_for_a_tag_is_read_from_its_metric(
    client: MlflowClient, namespace: str
) -> None:
    points = [("eval_accuracy", step, step / 1234567) for step in range(900)]
    run_id = log_run(client, f"{namespace}-theirs", {}, points)
    adopt_run(client, namespace, run_id, MetricSource(validation="eval_accuracy"))

    assert client.get_run(run_id).data.tags[tags.CURVE] == "{}"
    assert len(records(client, namespace)[0].validation_scores) == 900


def test_a_test_of_every_stage_is_a_curve_of_tests(client: MlflowClient, namespace: str) -> None:
    points = [
        (f"{split}_accuracy", step, step / scale)
        for step in (1, 2)
        for split, scale in (("eval", 10), ("test", 20))
    ]
    run_id = log_run(client, f"{namespace}-theirs", {}, points)
    adopt_run(
        client, namespace, run_id, MetricSource(validation="eval_accuracy", test="test_accuracy")
    )

    assert records(client, namespace)[0].test_scores == (0.05, 0.1)


def test_the_end_of_training_evaluated_twice_is_one_stage(
    client: MlflowClient, namespace: str
) -> None:
    """With ``load_best_model_at_end`` the best model is evaluated at the last step once more."""
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", (0.5, 0.7, 0.6))
    client.log_metric(run_id, "eval_accuracy", 0.7, step=3 * STEPS)
    adopt_run(client, namespace, run_id, MetricSource(validation="eval_accuracy"))

    (record,) = records(client, namespace)

    assert (record.validation_scores, record.final_score) == ((0.5, 0.7, 0.7), 0.7)


def test_a_run_that_went_on_is_seen_to_have_changed(client: MlflowClient, namespace: str) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE)
    source = MetricSource(validation="eval_accuracy", epochs=3)
    adopt_run(client, namespace, run_id, source)
    store = AdoptedRuns(client, namespace)

    def state() -> str:
        run = read(client, namespace)[0]
        return store.state(
            InterpretedRun(
                run=run,
                model="m",
                dataset="d",
                modality="text",
                source=source,
                raw_model="m",
                is_registered=False,
            ),
            "accuracy",
        )

    assert state() == "known"
    client.log_metric(run_id, "eval_accuracy", 0.9, step=4 * STEPS)
    assert state() == "updated"


def test_adopted_runs_are_read_once_until_an_adoption_changes_them(
    counting: Counting, namespace: str
) -> None:
    theirs = f"{namespace}-theirs"
    first = log_hf(counting, theirs, "m", "d", CURVE)
    adopt_run(counting, namespace, first)
    history = TrackingHistory(counting, namespace)
    history.records("accuracy")
    counting.searches = 0

    history.records("accuracy")
    assert counting.searches == 1  # our own runs that ended since
    second = log_hf(counting, theirs, "m2", "d", CURVE)
    adopt_run(counting, namespace, second)
    assert {r.run_id for r in history.records("accuracy")} == {first, second}


def test_a_dataset_of_theirs_is_not_ours_of_that_name(client: MlflowClient, namespace: str) -> None:
    """Another split, another recipe: one column would mix them."""
    home = f"{namespace}/benchmark"
    run_tags = {tags.KIND: "benchmark", tags.MODEL: "m", tags.DATASET: "d", tags.DIGEST: "d1"}
    points = [(f"{split}/accuracy", 1, 0.5) for split in ("val", "test")]
    for model in ("m", "n"):
        log_run(client, home, {}, points, run_tags={**run_tags, tags.MODEL: model})
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE)
    adopt_run(client, namespace, run_id)

    assert [r.dataset for r in records(client, namespace)] == ["d", "d", "d@adopted"]


def test_runs_of_another_namespace_are_not_seen(client: MlflowClient, namespace: str) -> None:
    run_id = log_hf(client, f"{namespace}-theirs", "m", "d", CURVE)
    adopt_run(client, namespace, run_id)
    other = AdoptedRuns(client, f"{namespace}-other")
    other.record_experiments(other.experiments([f"{namespace}-theirs"]))

    with pytest.raises(HistoryError, match="found none"):
        records(client, f"{namespace}-other")


def test_a_namespace_remembers_every_experiment_once(client: MlflowClient, namespace: str) -> None:
    ids = [ensure_experiment(client, f"{namespace}-{name}") for name in ("one", "two")]
    store = AdoptedRuns(client, namespace)
    for name in ("one", "two", "one"):
        store.record_experiments(store.experiments([f"{namespace}-{name}"]))

    home = client.get_experiment_by_name(f"{namespace}/benchmark")
    assert home is not None
    assert adopted_experiments(home) == ids
    client.set_experiment_tag(home.experiment_id, tags.ADOPTED_FROM, "{}")
    with pytest.raises(HistoryError, match=r"tag recall.adopted_from: expected JSON .*got '{}': d"):
        records(client, namespace)


# --- files of rules ------------------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "adopt.yaml"
    path.write_text(text)
    return path


def test_a_file_of_rules_says_what_options_say(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "experiment: [a, b]\nmodel: params.m\nminimize: true\nkeep: all\nmodels: {x: 1}\nfilter:\n",
    )

    assert read_rules(path) == {
        "experiment": ("a", "b"),
        "model": ("params.m",),
        "minimize": True,
        "keep": "all",
        "models": {"x": "1"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modell: x", "expected some of the keys dataset, .*, got 'modell'"),
        ("- a", r"expected some of the keys .*, got \['a'\]"),
        ("models: x", "models: expected a mapping, got 'x'"),
        ("minimize: maybe", "minimize: expected true or false, got 'maybe'"),
        ("model: {a: b}", "model: expected text or a list, got"),
        ("keep: [best]", "keep: expected text, got"),
        ("a: [", "cannot be read as YAML: "),
    ],
)
def test_a_wrong_file_of_rules_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"adopt.yaml: {message}") as error:
        read_rules(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"none.yaml: expected a YAML file, got none: no such file"
    ):
        read_rules(tmp_path / "none.yaml")


# --- primary metrics -----------------------------------------------------------------------------


def test_a_dataset_without_a_primary_metric_is_left_out_and_named(
    client: MlflowClient, namespace: str
) -> None:
    """Two metrics, neither of them accuracy: whoever asks has to choose."""
    theirs = f"{namespace}-theirs"
    run_id = log_run(client, theirs, {}, [("eval_f1", 1, 0.5), ("eval_mcc", 1, 0.25)])
    adopt_run(client, namespace, run_id, MetricSource(validation="eval_f1"), "f1")
    history = TrackingHistory(client, namespace)
    assert [(r.metric, r.final_score) for r in history.records("primary")] == [("f1", 0.5)]

    adopt_run(client, namespace, run_id, MetricSource(validation="eval_mcc"), "matthews")

    note = (
        "d is left out: its primary metric is unknown, since its adopted runs have f1, matthews: "
        "name one with --metric"
    )
    assert history.left_out("primary") == (note,)
    with pytest.raises(HistoryError, match=f"expected benchmark runs, {note}"):
        history.records("primary")
    assert [r.final_score for r in history.records("matthews")] == [0.25]
    assert history.left_out("matthews") == ()
