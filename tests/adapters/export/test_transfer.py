"""An export that is imported elsewhere gives the same records and models."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from logged import log_hf
from mlflow import MlflowClient
from prepared import RecordingReporter

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.export.summaries import ExportSummary, ImportSummary
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tables.table_import import TableImport
from mlflow_recall.adapters.tables.validation import ImportOptions
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns
from mlflow_recall.adapters.tracking.client import ensure_experiment
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.core.external_runs.rules import InterpretedRun, MetricSource
from mlflow_recall.core.history.records import Dataset, Record
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import StageResult


def portable(client: MlflowClient, namespace: str) -> HistoryTransfer:
    return HistoryTransfer(client, namespace, MlflowRegistry(client, namespace))


@pytest.fixture
def zoo(client: MlflowClient, namespace: str) -> HistoryTransfer:
    """Two models, one of them fine-tuned twice, and a run that failed."""
    registry = MlflowRegistry(client, namespace)
    names = [
        registry.register(
            ZooEntry(source=f"hf:/org/{name}", modality="text", family="bert", license="MIT")
        ).name
        for name in "ab"
    ]
    writer = RunWriter(client, f"{namespace}/benchmark")
    dataset = Dataset(
        name="d",
        digest="d1",
        modality="text",
        classes=("no", "yes"),
        sizes={"train": 9},
        source="d.csv",
        folder="/nowhere",
    )
    for name, place in ((names[0], "d"), (names[0], "e"), (names[1], "d")):
        run_tags = {
            tags.MODEL: name,
            tags.MODEL_VERSION: "1",
            tags.DATASET: place,
            tags.DIGEST: f"{place}1",
            tags.SPEC: '{"path": "/home/of/somebody/d.csv"}',
            tags.MODALITY: "text",
            tags.RECIPE: '{"epochs": 2}',
            tags.EPOCHS: "2",
        }
        run = writer.open_run(f"{name} on {place}", "benchmark", run_tags)
        run.log_params({"model": name, "dataset": place})
        run.log_dataset_input(dataset, "benchmark")
        for stage in (1, 2):
            run.log_stage(
                StageResult(
                    stage=stage,
                    validation={"accuracy": stage / 7, "log_loss": 1 / stage},
                    seconds=0.5,
                )
            )
        run.log_metrics({"test/accuracy": 1 / 3, "test/log_loss": 0.25})
        run.finish()
    writer.open_run("broken", "benchmark", {tags.MODEL: names[1]}).finish("FAILED", "why")
    writer.close()
    return portable(client, namespace)


def test_what_arrives_are_the_same_records_and_members(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    other_namespace = f"{namespace}-2"

    assert zoo.export(tmp_path, RecordingReporter()) == ExportSummary(runs=3, models=2)
    assert "/home/of/somebody" not in (tmp_path / "runs.jsonl").read_text()
    assert portable(client, other_namespace).import_history(
        tmp_path, RecordingReporter()
    ) == ImportSummary(runs=3, models=2, known=0)

    for metric in ("accuracy", "log_loss"):
        here, arrived = (
            sorted(
                (
                    replace(r, run_id="", dataset_spec="", model=r.model.removeprefix(f"{name}--"))
                    for r in TrackingHistory(client, name).records(metric)
                ),
                key=lambda r: (r.model, r.dataset),
            )
            for name in (namespace, other_namespace)
        )
        assert here == arrived
        assert all(r.is_complete for r in arrived)
    members = {
        name: MlflowRegistry(client, name).members() for name in (namespace, other_namespace)
    }
    assert [m.name for m in members[other_namespace]] == [
        f"{other_namespace}--org--a",
        f"{other_namespace}--org--b",
    ]
    assert [(m.arch, m.family, m.modality) for m in members[namespace]] == [
        (m.arch, m.family, m.modality) for m in members[other_namespace]
    ]


def test_taking_in_again_adds_nothing(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    zoo.export(tmp_path, RecordingReporter())
    other = portable(client, f"{namespace}-2")
    other.import_history(tmp_path, RecordingReporter())

    assert other.import_history(tmp_path, RecordingReporter()) == ImportSummary(
        runs=0, models=2, known=3
    )
    assert len(TrackingHistory(client, f"{namespace}-2").records("accuracy")) == 3
    assert [m.version for m in MlflowRegistry(client, f"{namespace}-2").members()] == ["1", "1"]


def test_an_import_that_was_cut_short_is_completed(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    zoo.export(tmp_path / "all", RecordingReporter())
    shutil.copytree(tmp_path / "all", tmp_path / "some")
    runs = tmp_path / "some" / "runs.jsonl"
    runs.write_text("".join(runs.read_text().splitlines(keepends=True)[:1]))
    other = portable(client, f"{namespace}-2")

    assert other.import_history(tmp_path / "some", RecordingReporter()).runs == 1
    assert other.import_history(tmp_path / "all", RecordingReporter()) == ImportSummary(
        runs=2, models=2, known=1
    )


def test_an_export_of_an_import_is_the_export(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Under version control, nothing changes where nothing was added."""
    zoo.export(tmp_path / "1", RecordingReporter())
    other = portable(client, f"{namespace}-2")
    other.import_history(tmp_path / "1", RecordingReporter())
    other.export(tmp_path / "2", RecordingReporter())

    for file in ("runs.jsonl", "models.jsonl"):
        one, two = ((tmp_path / i / file).read_text().splitlines() for i in "12")
        assert sorted(one) == sorted(two), file


def test_an_export_tells_nothing_of_the_machine_that_wrote_it(
    zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    zoo.export(tmp_path, RecordingReporter())

    for file in ("runs.jsonl", "models.jsonl"):
        text = (tmp_path / file).read_text()
        ours = (tags.OWNER, tags.HEARTBEAT, tags.TOKEN, tags.CONFIRMED)
        for private in (namespace, *ours, "mlflow.user", "mlflow.source"):
            assert private not in text, file
        assert all(isinstance(json.loads(line), dict) for line in text.splitlines())


def test_an_imported_run_is_as_old_as_it_was(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    zoo.export(tmp_path, RecordingReporter())
    portable(client, f"{namespace}-2").import_history(tmp_path, RecordingReporter())

    ends = [
        sorted(
            client.get_run(record.run_id).info.end_time
            for record in TrackingHistory(client, name).records("accuracy")
        )
        for name in (namespace, f"{namespace}-2")
    ]
    assert ends[0] == ends[1]


def test_curves_of_tests_arrive_too(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """As the tag and as metrics, at the step where they were."""
    add_run(client, namespace, "a", "tested")
    zoo.export(tmp_path, RecordingReporter())
    portable(client, f"{namespace}-2").import_history(tmp_path, RecordingReporter())

    here, arrived = (
        {r.dataset: r for r in TrackingHistory(client, name).records("accuracy") if r.test_scores}
        for name in (namespace, f"{namespace}-2")
    )
    assert here["tested"].test_scores == arrived["tested"].test_scores == (0.25, 0.5)
    run_id = arrived["tested"].run_id
    points = client.get_metric_history(run_id, "test/accuracy")
    assert [(point.step, point.value) for point in points] == [(1, 0.25), (2, 0.5)]
    curve = json.loads(client.get_run(run_id).data.tags[tags.CURVE])
    assert curve["test/accuracy"] == [0.25, 0.5]


# --- an export into the folder of an earlier one -------------------------------------------------


class Counting(MlflowClient):
    """A client that keeps the runs whose metric histories were requested."""

    def __init__(self, tracking_uri: str) -> None:
        super().__init__(tracking_uri=tracking_uri)
        self.requests: list[str] = []

    def get_metric_history(self, run_id: str, key: str, *args: Any) -> Any:
        self.requests.append(run_id)
        return super().get_metric_history(run_id, key, *args)


def add_run(client: MlflowClient, namespace: str, title: str, dataset: str) -> str:
    """One more finished run, tested after each of two stages."""
    writer = RunWriter(client, f"{namespace}/benchmark")
    name = MlflowRegistry(client, namespace).name_of(f"org--{title}")
    run_tags = {tags.MODEL: name, tags.DATASET: dataset, tags.MODALITY: "text", tags.EPOCHS: "2"}
    run = writer.open_run("new", "benchmark", run_tags)
    for stage in (1, 2):
        run.log_stage(
            StageResult(
                stage=stage, validation={"accuracy": 0.5}, seconds=0.5, test={"accuracy": stage / 4}
            )
        )
    run.finish()
    writer.close()
    return run.run_id


def test_an_export_keeps_the_lines_that_are_there_and_adds_the_new_runs(
    store: str, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Of thousands of runs each is requested once: a new export reads the new ones alone."""
    counting = Counting(store)
    path = tmp_path / "runs.jsonl"
    portable(counting, namespace).export(tmp_path, RecordingReporter())
    assert len(set(counting.requests)) == 3
    first = path.read_text().splitlines()
    counting.requests.clear()

    assert portable(counting, namespace).export(tmp_path, RecordingReporter()) == ExportSummary(
        runs=3, models=2
    )
    assert counting.requests == []
    assert path.read_text().splitlines() == first

    new = add_run(counting, namespace, "b", "f")
    assert portable(counting, namespace).export(tmp_path, RecordingReporter()) == ExportSummary(
        runs=4, models=2
    )
    assert set(counting.requests) == {new}
    lines = path.read_text().splitlines()
    assert [line for line in lines if line in first] == first
    (added,) = set(lines) - set(first)
    assert json.loads(added)["run"] == new


def test_an_export_to_another_folder_or_after_a_loss_is_the_same(
    zoo: HistoryTransfer, tmp_path: Path
) -> None:
    """A line does not depend on when it is written."""
    zoo.export(tmp_path / "1", RecordingReporter())
    zoo.export(tmp_path / "2", RecordingReporter())
    path = tmp_path / "2" / "runs.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    zoo.export(tmp_path / "2", RecordingReporter())

    assert path.read_text() == (tmp_path / "1" / "runs.jsonl").read_text()


def test_the_line_of_a_run_that_was_deleted_goes(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    zoo.export(tmp_path, RecordingReporter())
    gone = TrackingHistory(client, namespace).records("accuracy")[0].run_id
    client.delete_run(gone)

    assert zoo.export(tmp_path, RecordingReporter()) == ExportSummary(runs=2, models=2)
    assert gone not in (tmp_path / "runs.jsonl").read_text()


def test_an_import_is_exported_into_the_folder_that_it_came_from(
    store: str, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Its runs have other ids in that store; their first ids identify them."""
    zoo.export(tmp_path, RecordingReporter())
    before = sorted((tmp_path / "runs.jsonl").read_text().splitlines())
    counting = Counting(store)
    other = portable(counting, f"{namespace}-2")
    other.import_history(tmp_path, RecordingReporter())

    assert other.export(tmp_path, RecordingReporter()) == ExportSummary(runs=3, models=2)
    assert counting.requests == []
    assert sorted((tmp_path / "runs.jsonl").read_text().splitlines()) == before


def test_a_file_that_is_no_export_is_not_overwritten(zoo: HistoryTransfer, tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("mine\n")

    with pytest.raises(HistoryError, match=r"runs\.jsonl, line 1: expected JSON, cannot be read"):
        zoo.export(tmp_path, RecordingReporter())

    assert [file.name for file in tmp_path.iterdir()] == ["runs.jsonl"]
    assert (tmp_path / "runs.jsonl").read_text() == "mine\n"


# --- weights that no other machine can fetch -----------------------------------------------------

MADE = ZooEntry(
    source="hf:/org/a", modality="text", family="bert", license="MIT", rebuild="make a --again"
)


def test_a_model_that_can_be_made_again_is_absent_elsewhere_until_it_was(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Then it is the same version, so that its history stays its own."""
    MlflowRegistry(client, namespace).register(MADE)
    zoo.export(tmp_path, RecordingReporter())
    lines = (tmp_path / "models.jsonl").read_text().splitlines()
    data = {line["title"]: line["tags"] for line in map(json.loads, lines)}
    assert data["org--a"][tags.WEIGHTS] == "absent"
    assert data["org--a"][tags.REBUILD] == "make a --again"
    assert tags.WEIGHTS not in data["org--b"]

    other_registry = MlflowRegistry(client, f"{namespace}-2")
    portable(client, f"{namespace}-2").import_history(tmp_path, RecordingReporter())
    assert [(m.is_available, m.version) for m in other_registry.members()] == [
        (False, "1"),
        (True, "1"),
    ]
    assert other_registry.members()[0].tags[tags.REBUILD] == "make a --again"

    done = other_registry.register(MADE)
    assert (done.version, done.action) == ("1", "updated")
    assert [(m.is_available, m.version) for m in other_registry.members()] == [
        (True, "1"),
        (True, "1"),
    ]
    assert other_registry.register(MADE).action == "unchanged"


def test_an_export_takes_no_weights_away_from_who_has_them(
    client: MlflowClient, zoo: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Export and import leave the runs of other teams as they are, and are repeatable."""
    registry = MlflowRegistry(client, namespace)
    registry.register(MADE)
    zoo.export(tmp_path / "1", RecordingReporter())
    other_registry, other = (
        MlflowRegistry(client, f"{namespace}-2"),
        portable(client, f"{namespace}-2"),
    )
    other.import_history(tmp_path / "1", RecordingReporter())
    other_registry.register(MADE)
    other.import_history(tmp_path / "1", RecordingReporter())
    other.export(tmp_path / "2", RecordingReporter())

    assert all(member.is_available for member in (*registry.members(), *other_registry.members()))
    one, two = ((tmp_path / i / "models.jsonl").read_text() for i in "12")
    assert one == two


def test_nothing_to_export_is_refused(client: MlflowClient, namespace: str, tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=f"'{namespace}/benchmark': expected finished runs"):
        portable(client, namespace).export(tmp_path, RecordingReporter())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_no_export_is_one_line_and_nothing_is_written(
    client: MlflowClient, namespace: str, tmp_path: Path
) -> None:
    other = portable(client, namespace)

    with pytest.raises(HistoryError, match=r"runs\.jsonl: expected an export that"):
        other.import_history(tmp_path, RecordingReporter())
    (tmp_path / "runs.jsonl").write_text("{")
    with pytest.raises(HistoryError, match=r"runs\.jsonl, line 1: expected JSON, cannot be read"):
        other.import_history(tmp_path, RecordingReporter())
    (tmp_path / "runs.jsonl").write_text('{"run": "1"}\n')
    (tmp_path / "models.jsonl").write_text("")
    with pytest.raises(HistoryError, match=r"runs\.jsonl, line 1: expected the keys"):
        other.import_history(tmp_path, RecordingReporter())
    assert client.get_experiment_by_name(f"{namespace}/benchmark") is None


# --- runs of others, and runs made of tables -----------------------------------------------------


@pytest.fixture
def foreign(client: MlflowClient, namespace: str) -> HistoryTransfer:
    """Runs of two teams, adopted by two metrics, in their own experiments."""
    source = MetricSource(validation="eval_accuracy", test="test_accuracy", epochs=3)
    loss = MetricSource(validation="eval_loss", validation_scale=0.5, minimize=True, epochs=3)
    store = AdoptedRuns(client, namespace)
    for team, model in (("red", "bert"), ("blue", "owl")):
        for dataset in ("x", "y"):
            experiment = f"{namespace}-{team}"
            log_hf(client, experiment, model, dataset, [0.5, 0.625, 0.75], test=0.7, team=team)
        experiments = store.experiments([f"{namespace}-{team}"])
        store.record_experiments(experiments)
        for run in store.read_runs(experiments):
            values = {"model": f"{namespace}--{model}", "dataset": run.params["finetuning_task"]}
            for metric, where in (("accuracy", source), ("loss", loss)):
                (fresh,) = (r for r in store.read_runs(experiments) if r.run_id == run.run_id)
                candidate = InterpretedRun(
                    run=fresh,
                    model=values["model"],
                    dataset=values["dataset"],
                    modality="text",
                    source=where,
                    raw_model=model,
                    is_registered=False,
                )
                store.write(candidate, metric)
        store.record_experiments(experiments)
    client.set_tag(run.run_id, "team", "blue")
    return portable(client, namespace)


def same_records(client: MlflowClient, one: str, other: str, metric: str) -> list[Record]:
    """Records of two namespaces but for ids and prefixes; equal."""
    here, other_namespace = (
        sorted(
            (
                replace(r, run_id="", model=r.model.removeprefix(f"{name}--"))
                for r in TrackingHistory(client, name).records(metric)
            ),
            key=lambda r: (r.model, r.dataset, r.final_score),
        )
        for name in (one, other)
    )
    assert here == other_namespace
    return here


def test_adopted_runs_travel_and_arrive_the_same(
    client: MlflowClient, foreign: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    other_namespace = f"{namespace}-2"

    assert foreign.export(tmp_path, RecordingReporter()) == ExportSummary(runs=4, models=0)
    assert portable(client, other_namespace).import_history(
        tmp_path, RecordingReporter()
    ) == ImportSummary(runs=4, models=0, known=0)
    assert portable(client, other_namespace).import_history(
        tmp_path, RecordingReporter()
    ) == ImportSummary(runs=0, models=0, known=4)

    accuracy = same_records(client, namespace, other_namespace, "accuracy")
    assert [(r.model, r.dataset, r.validation_scores, r.final_score) for r in accuracy[:1]] == [
        ("bert", "x", (0.5, 0.625, 0.75), 0.7)
    ]
    loss = same_records(client, namespace, other_namespace, "loss")
    assert loss[0].validation_scores == (-0.25, -0.1875, -0.125)  # half of it, and turned
    assert TrackingHistory(client, other_namespace).is_loss("loss")


def test_where_adopted_runs_come_from_is_kept(
    client: MlflowClient, foreign: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """Name, params, tags and whole curves of the team's own, its experiment, and the first id."""
    foreign.export(tmp_path / "1", RecordingReporter())
    other = portable(client, f"{namespace}-2")
    other.import_history(tmp_path / "1", RecordingReporter())
    other.export(tmp_path / "2", RecordingReporter())

    first, second = ((tmp_path / i / "runs.jsonl").read_text() for i in "12")
    assert first == second
    runs = [json.loads(line) for line in first.splitlines()]
    assert {run["tags"][tags.ORIGIN] for run in runs} == {f"{namespace}-red", f"{namespace}-blue"}
    blue = next(run for run in runs if run["tags"].get("team") == "blue")
    assert (blue["params"]["team"], blue["params"]["model_type"]) == ("blue", "bert")
    assert blue["metrics"]["eval_loss"] == [[50, 0.5], [100, 0.375], [150, 0.25]]
    assert namespace not in blue["tags"][tags.MODEL]


def test_a_folder_of_adopted_runs_is_the_history_of_their_store(
    client: MlflowClient, foreign: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    foreign.export(tmp_path, RecordingReporter())
    store, folder = TrackingHistory(client, namespace), ExportHistory(tmp_path)

    assert folder.metrics() == store.metrics() == ("accuracy", "loss")
    assert (folder.is_loss("loss"), folder.is_loss("accuracy")) == (True, False)
    for metric in ("accuracy", "loss"):
        values = sorted(
            (
                replace(r, model=r.model.removeprefix(f"{namespace}--"))
                for r in store.records(metric)
            ),
            key=lambda r: r.run_id,
        )
        assert sorted(folder.records(metric), key=lambda r: r.run_id) == values


def test_an_import_never_turns_a_metric_around(
    client: MlflowClient, foreign: HistoryTransfer, namespace: str, tmp_path: Path
) -> None:
    """A loss of the export that is a score here is refused before a run is written."""
    foreign.export(tmp_path, RecordingReporter())
    other_namespace = f"{namespace}-2"
    ensure_experiment(client, f"{other_namespace}/benchmark")
    run_id = log_hf(client, f"{other_namespace}-own", "bert", "z", [0.5])
    store = AdoptedRuns(client, other_namespace)
    experiments = store.experiments([f"{other_namespace}-own"])
    (run,) = store.read_runs(experiments)
    store.record_experiments(experiments)
    store.write(
        InterpretedRun(
            run=run,
            model="m",
            dataset="z",
            modality="text",
            source=MetricSource(validation="eval_loss"),
            raw_model="bert",
            is_registered=False,
        ),
        "loss",
    )

    with pytest.raises(HistoryError, match=f"metric 'loss': expected a score .*{run_id}.* mixed"):
        portable(client, other_namespace).import_history(tmp_path, RecordingReporter())
    assert [r.run_id for r in TrackingHistory(client, other_namespace).records("loss")] == [run_id]


def tables(folder: Path) -> Path:
    cells = [(m, d, "auc", 0.5) for m in "ab" for d in "xy"]
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(folder / "matrix.csv", index=False)
    points = [("a", "x", step, "val", "auc", step / 100) for step in (10, 20, 40)]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(points, columns=columns).to_csv(folder / "curves.csv", index=False)
    return folder


def test_runs_that_were_made_of_tables_travel_and_stay_made_of_them(
    client: MlflowClient, namespace: str, tmp_path: Path
) -> None:
    """The same tables, or an export of them, then add nothing to that store."""
    wanted, other_namespace = ImportOptions(modality="text"), f"{namespace}-2"

    def take_in(where: str) -> ImportSummary:
        registry = MlflowRegistry(client, where)
        return TableImport(client, where, registry).import_history(
            tables(tmp_path), wanted, RecordingReporter()
        )

    assert take_in(namespace).runs == 4
    assert portable(client, namespace).export(
        tmp_path / "runs", RecordingReporter()
    ) == ExportSummary(runs=4, models=2)
    assert portable(client, other_namespace).import_history(
        tmp_path / "runs", RecordingReporter()
    ) == ImportSummary(runs=4, models=2, known=0)

    (curve,) = (
        r for r in same_records(client, namespace, other_namespace, "auc") if r.validation_scores
    )
    assert curve.validation_scores == (0.1, 0.2, 0.4)
    assert take_in(other_namespace) == ImportSummary(runs=0, models=2, known=4)
    assert [m.is_available for m in MlflowRegistry(client, other_namespace).members()] == [
        False,
        False,
    ]
    third = f"{namespace}-3"
    assert take_in(third).runs == 4
    assert portable(client, third).import_history(
        tmp_path / "runs", RecordingReporter()
    ) == ImportSummary(runs=0, models=2, known=4)


def test_an_export_adds_nothing_to_the_history_that_it_was_made_of(
    client: MlflowClient, zoo: HistoryTransfer, tmp_path: Path
) -> None:
    zoo.export(tmp_path, RecordingReporter())

    assert zoo.import_history(tmp_path, RecordingReporter()) == ImportSummary(
        runs=0, models=2, known=3
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "runs.jsonl: expected fine-tunings, got none"),
        (["recall.model"], "line 1: expected the keys run, name, .* and the tag recall.model"),
        (
            {tags.MODEL: "a", tags.SOURCES: "nonsense"},
            "line 1: tag recall.adopted_metrics: expected JSON .*, got 'nonsense'",
        ),
    ],
)
def test_a_damaged_export_is_named_by_file_and_line(
    tmp_path: Path, values: object, message: str
) -> None:
    line = {
        "run": "1",
        "name": "x",
        "start": 0,
        "end": 1,
        "params": {},
        "metrics": {},
        "tags": values,
    }
    text = "" if values is None else f"{json.dumps(line)}\n"
    (tmp_path / "runs.jsonl").write_text(text)

    with pytest.raises(HistoryError, match=message):
        ExportHistory(tmp_path).records("accuracy")
