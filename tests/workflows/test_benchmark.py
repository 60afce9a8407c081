"""A benchmark trains every missing cell of models x datasets, each as one run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prepared import (
    EPOCHS,
    RATES,
    RecordingReporter,
    Zoo,
    find_runs,
    registry_for,
    services_for,
    text_zoo,
    write_text_zoo,
)

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks, read_zoo
from mlflow_recall.adapters.tracking import ownership, tags
from mlflow_recall.adapters.tracking.ownership import (
    close_stale_runs,
    machine_id,
    start_time,
    take_over,
)
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.history.metrics import metrics_of, to_maximize
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import Target
from mlflow_recall.errors import ConfigError, DatasetError, ZooError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.benchmark import run_benchmark
from mlflow_recall.workflows.register import register_models
from mlflow_recall.workflows.services import Services

#: metrics of the three classes of the tiny texts
METRICS = metrics_of(Target(classes=("a", "b", "c")))


@pytest.fixture
def zoo(store: str) -> Zoo:
    """Five models on three datasets, all cells finished."""
    return text_zoo(store)


@pytest.fixture
def small(store: str, namespace: str, tmp_path: Path) -> Services:
    """Two registered models without any run."""
    zoo_file, _, _ = write_text_zoo(tmp_path, 2)
    services, reporter = services_for(store, namespace)
    register_models(read_zoo(zoo_file), registry_for(services), reporter)
    return services


@pytest.fixture
def config(tmp_path: Path, small: Services) -> BenchmarkConfig:
    """Two datasets, one epoch: four cells."""
    specs = read_benchmarks(tmp_path / "benchmarks.yaml")[:2]
    return BenchmarkConfig(datasets=tuple(specs), recipe={"epochs": 1})


def cells(services: Services) -> list[Run]:
    return find_runs(services.client.tracking_uri, services.namespace, "benchmark")


def states(services: Services) -> list[str]:
    return sorted(run.info.status for run in cells(services))


def owner_of(process: psutil.Process) -> str:
    """Return the owner as the tag of a run has it."""
    who = {"host": "here", "machine": machine_id(), "process": process.pid}
    return json.dumps({**who, "started": start_time(process.pid)})


def leave_running(services: Services, owner: str) -> str:
    """Replace the finished run of the first cell by a RUNNING one, as of another process."""
    done = cells(services)[0]
    experiment = done.info.experiment_id
    run_tags = {tags.KIND: "benchmark", tags.CELL: done.data.tags[tags.CELL], tags.OWNER: owner}
    services.client.delete_run(done.info.run_id)
    held = {tags.HEARTBEAT: "7", tags.TOKEN: "theirs", tags.CONFIRMED: "true"}
    return str(services.client.create_run(experiment, tags={**run_tags, **held}).info.run_id)


def test_every_cell_is_one_finished_run(zoo: Zoo) -> None:
    runs = find_runs(zoo.uri, zoo.namespace, "benchmark")

    assert {run.info.status for run in runs} == {"FINISHED"}
    result = {(run.data.tags[tags.MODEL], run.data.tags[tags.DATASET]) for run in runs}
    assert result == {(model, f"set-{i}") for model in zoo.models for i in range(3)}
    assert len(runs) == len(result)
    assert len({run.data.tags[tags.CELL] for run in runs}) == len(runs)


def curve(services: Services, run: Run, key: str) -> dict[int, float]:
    """Return step -> value of one metric."""
    points = services.client.get_metric_history(run.info.run_id, key)
    return {point.step: point.value for point in points}


def record_of(services: Services, run: Run, metric: str) -> Record:
    """Return the record of a run."""
    records = services.history.records(metric)
    return next(record for record in records if record.run_id == run.info.run_id)


def test_a_run_has_validation_and_test_by_epoch(zoo: Zoo) -> None:
    services, _ = services_for(zoo.uri, zoo.namespace)
    run = cells(services)[0]
    epochs = list(range(1, EPOCHS + 1))

    assert set(run.data.metrics) == {
        *(f"val/{metric}" for metric in METRICS),
        *(f"test/{metric}" for metric in METRICS),
        "time/seconds",
    }
    for key in run.data.metrics:
        assert list(curve(services, run, key)) == epochs, key


@pytest.mark.parametrize("metric", METRICS)
def test_a_record_tells_both_curves_and_ends_with_its_test_score(zoo: Zoo, metric: str) -> None:
    """Policies are back-tested on them: what stopping at an epoch would have brought."""
    services, _ = services_for(zoo.uri, zoo.namespace)
    run = cells(services)[0]

    record = record_of(services, run, metric)

    values = [
        to_maximize(metric, value) for value in curve(services, run, f"test/{metric}").values()
    ]
    assert record.test_scores == tuple(values)
    assert record.test_scores[-1] == record.final_score
    assert len(record.validation_scores) == len(record.seconds) == len(record.test_scores) == EPOCHS


def test_without_the_tag_the_metrics_tell_the_same(zoo: Zoo, client: MlflowClient) -> None:
    services, _ = services_for(zoo.uri, zoo.namespace)
    run = cells(services)[0]
    values = record_of(services, run, "accuracy")

    client.set_tag(run.info.run_id, tags.CURVE, '{"val/accuracy": [1], "test/accuracy": [1]}')
    fresh, _ = services_for(zoo.uri, zoo.namespace)
    logged = record_of(fresh, run, "accuracy")
    client.set_tag(run.info.run_id, tags.CURVE, run.data.tags[tags.CURVE])

    assert (logged.validation_scores, logged.test_scores) == (
        values.validation_scores,
        values.test_scores,
    )
    assert logged.final_score == values.final_score


def test_a_benchmark_that_tests_the_last_epoch_has_no_curve_of_tests(
    small: Services, config: BenchmarkConfig
) -> None:
    """The training is the same, so the final score is too."""
    config = replace(config, recipe={"epochs": 2}, limit=1)
    run_benchmark(replace(config, test="last"), small)
    (run,) = cells(small)

    assert list(curve(small, run, "test/accuracy")) == [2]
    assert list(curve(small, run, "val/accuracy")) == [1, 2]
    record = record_of(small, run, "accuracy")
    assert (record.test_scores, record.is_complete) == ((), True)
    small.client.delete_run(run.info.run_id)
    run_benchmark(config, small)
    (entry,) = cells(small)
    later, _ = services_for(small.client.tracking_uri, small.namespace)
    assert record_of(later, entry, "accuracy").final_score == record.final_score
    assert len(record_of(later, entry, "accuracy").test_scores) == 2


def test_another_time_to_test_is_refused(config: BenchmarkConfig) -> None:
    with pytest.raises(ConfigError, match="unknown value of test 'never': expected one of each, "):
        replace(config, test="never")  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["last", "each"])
def test_the_time_of_a_test_is_not_part_of_a_run_s_seconds(
    small: Services, config: BenchmarkConfig, when: Literal["last", "each"]
) -> None:
    """What a stage costs in a selection, which tests its winner alone."""
    reported = []

    def noting(task: TrainTask) -> Iterator[StageResult]:
        for result in small.train(task):
            reported.append(result.seconds)
            yield result

    run_benchmark(replace(config, limit=1, test=when), replace(small, train=noting))

    (run,) = cells(small)
    assert list(curve(small, run, "time/seconds").values()) == reported


def test_a_run_says_what_was_trained_on_what_and_how(zoo: Zoo) -> None:
    run = find_runs(zoo.uri, zoo.namespace, "benchmark")[0]
    run_tags = run.data.tags
    recipe = Recipe.from_json(run_tags[tags.RECIPE])

    assert recipe.learning_rate == RATES[run_tags[tags.MODEL].removeprefix("text--")]
    assert run.data.params["model"] == run_tags[tags.MODEL]
    assert run.data.params["dataset"] == run_tags[tags.DATASET]
    assert {k: v for k, v in run.data.params.items() if k.startswith("recipe.")} == {
        f"recipe.{key}": str(value) for key, value in recipe.__dict__.items()
    }
    assert run.inputs is not None
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == (
        run_tags[tags.DATASET],
        run_tags[tags.DIGEST],
    )
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "benchmark")]
    assert json.loads(run_tags[tags.CLASSES]) == ["cold", "mild", "warm"]
    assert Path(json.loads(run_tags[tags.SPEC])["path"]).stem == run_tags[tags.DATASET]
    assert run_tags[tags.MODEL_VERSION] == "1"
    assert run_tags[tags.MODALITY] == "text"
    assert run_tags[tags.FAMILY] == "tiny"
    assert run_tags[tags.EPOCHS] == run_tags[tags.STAGE] == str(EPOCHS)
    assert json.loads(run_tags[tags.OWNER])["process"] == os.getpid()
    assert int(run_tags[tags.HEARTBEAT]) >= 0


def test_the_curve_tag_is_the_metric_history(zoo: Zoo) -> None:
    run = find_runs(zoo.uri, zoo.namespace, "benchmark")[0]

    values = json.loads(run.data.tags[tags.CURVE])

    history = zoo.client.get_metric_history(run.info.run_id, "val/accuracy")
    assert values["val/accuracy"] == [point.value for point in history]


def test_run_again_it_does_nothing(small: Services, config: BenchmarkConfig) -> None:
    first = run_benchmark(config, small)
    before = cells(small)

    repeated = run_benchmark(config, small)

    assert (first.cells, len(first.completed), first.skipped) == (4, 4, 0)
    assert (repeated.cells, repeated.completed, repeated.skipped) == (4, [], 4)
    assert [run.info.run_id for run in cells(small)] == [run.info.run_id for run in before]


def test_a_limit_trains_so_many_and_the_next_call_goes_on(
    small: Services, config: BenchmarkConfig
) -> None:
    """A long benchmark in portions, each cell once."""
    limited = replace(config, limit=3)

    first, second, third = (run_benchmark(limited, small) for _ in range(3))

    assert [len(r.completed) for r in (first, second, third)] == [3, 1, 0]
    assert [r.remaining for r in (first, second, third)] == [1, 0, 0]
    assert [r.skipped for r in (first, second, third)] == [0, 3, 4]
    assert {r.cells for r in (first, second, third)} == {4}
    assert len({run.data.tags[tags.CELL] for run in cells(small)}) == 4 == len(cells(small))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [None, 4, 9])
def test_without_a_limit_below_their_number_all_are_trained(
    small: Services, config: BenchmarkConfig, limit: int | None
) -> None:
    result = run_benchmark(replace(config, limit=limit), small)

    assert (len(result.completed), result.remaining) == (4, 0)


def test_another_recipe_is_another_cell(small: Services, config: BenchmarkConfig) -> None:
    """Curves of different recipes are not comparable, so each has a cell of its own."""
    run_benchmark(config, small)

    result = run_benchmark(replace(config, recipe={"epochs": 1, "seed": 1}), small)

    assert (len(result.completed), result.skipped) == (4, 0)


def test_a_broken_model_is_failed_runs_and_the_rest_is_done(
    small: Services, config: BenchmarkConfig, tmp_path: Path
) -> None:
    """Weights may be damaged after a model was registered."""
    (tmp_path / "bert-0" / "model.safetensors").write_bytes(b"no tensors at all")
    registry = registry_for(small)
    broken, sound = (registry.register(entry).name for entry in read_zoo(tmp_path / "zoo.yaml"))

    result = run_benchmark(config, small)

    assert sorted(result.failed) == [f"{broken} on set-0", f"{broken} on set-1"]
    assert sorted(result.completed) == [f"{sound} on set-0", f"{sound} on set-1"]
    failed = [run for run in cells(small) if run.info.status == "FAILED"]
    assert {run.data.tags[tags.MODEL] for run in failed} == {broken}
    for run in failed:
        assert f"{broken}: cannot be loaded" in run.data.tags[tags.REASON]
        (artifact,) = small.client.list_artifacts(run.info.run_id)
        assert artifact.path == "traceback.txt"


def test_an_unreadable_dataset_is_one_failed_run_and_the_rest_is_done(
    small: Services, config: BenchmarkConfig, tmp_path: Path
) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    torn = DatasetSpec(path=str(tmp_path / "torn.parquet"))

    result = run_benchmark(replace(config, datasets=(torn, *config.datasets)), small)

    assert list(result.failed) == ["torn"]
    assert len(result.completed) == 4
    (run,) = [run for run in cells(small) if run.info.status == "FAILED"]
    assert run.data.tags[tags.DATASET] == "torn"
    assert "torn.parquet: cannot be read as a dataset" in run.data.tags[tags.REASON]


def test_an_only_dataset_that_is_unreadable_writes_nothing(small: Services, tmp_path: Path) -> None:
    torn = DatasetSpec(path=str(tmp_path / "torn.csv"))

    with pytest.raises(DatasetError, match=r"torn\.csv: expected a file, a folder or a hub id"):
        run_benchmark(BenchmarkConfig(datasets=(torn,)), small)

    assert cells(small) == []


def test_failed_cells_are_tried_again(small: Services, config: BenchmarkConfig) -> None:
    def refuse(task: TrainTask) -> Iterator[StageResult]:
        raise ZooError(f"{task.member.name}: not today")

    first = run_benchmark(config, replace(small, train=refuse))
    repeated = run_benchmark(config, small)

    assert len(first.failed) == 4
    assert (len(repeated.completed), repeated.failed) == (4, {})
    assert states(small) == ["FAILED"] * 4 + ["FINISHED"] * 4


def test_a_cell_of_a_living_process_is_left_to_it(small: Services, config: BenchmarkConfig) -> None:
    run_benchmark(config, small)
    running = leave_running(small, owner_of(psutil.Process(os.getppid())))

    assert close_stale_runs(small.client) == []
    result = run_benchmark(replace(config, wait=False), small)

    assert (result.elsewhere, result.skipped, result.completed) == (1, 3, [])
    assert small.client.get_run(running).info.status == "RUNNING"
    small.client.set_terminated(running)


def test_a_cell_of_a_dead_process_is_closed_and_done(
    small: Services, config: BenchmarkConfig
) -> None:
    run_benchmark(config, small)
    owner = json.loads(owner_of(psutil.Process()))
    left = leave_running(small, json.dumps({**owner, "started": 1.0}))  # its number, used anew

    (line,) = close_stale_runs(small.client)
    result = run_benchmark(config, small)

    assert left in line
    assert (result.elsewhere, result.skipped, len(result.completed)) == (0, 3, 1)
    run = small.client.get_run(left)
    assert run.info.status == "FAILED"
    assert run.data.tags[tags.REASON] == f"its process {os.getpid()} on here is gone"


def test_a_cell_of_a_worker_that_stands_still_is_taken_over(
    small: Services, config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is on another machine, as far as can be seen: only its heartbeat tells."""
    run_benchmark(config, small)
    left = leave_running(
        small, json.dumps({"host": "far", "machine": "?", "process": 1, "started": 2})
    )
    monkeypatch.setattr(ownership, "LEASE", 0.3)

    result = run_benchmark(config, small)

    assert (result.elsewhere, result.skipped, len(result.completed)) == (0, 3, 1)
    run = small.client.get_run(left)
    assert run.info.status == "FAILED"
    assert "the heartbeat of process 1 on far stood still for" in run.data.tags[tags.TAKEN_OVER]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_what_another_worker_trains_is_waited_for(
    small: Services, config: BenchmarkConfig, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    """Finished there, it is done; failed there, it has failed; left there, it is trained here."""
    run_benchmark(config, small)
    left = leave_running(small, owner_of(psutil.Process(os.getppid())))
    monkeypatch.setattr("time.sleep", lambda _: small.client.set_terminated(left, status))

    result = run_benchmark(config, small)

    ended = (result.elsewhere, len(result.failed), len(result.completed))
    assert ended == {"FINISHED": (1, 0, 0), "FAILED": (0, 1, 0), "KILLED": (0, 0, 1)}[status]
    assert all("in another worker: no reason given" in why for why in result.failed.values())


def test_a_result_that_another_worker_took_over_is_dropped(
    small: Services, config: BenchmarkConfig
) -> None:
    """While it was suspended, the other one trained the cell."""
    one = replace(config, datasets=config.datasets[:1], models=("*--tiny-0",))

    def suspended(task: TrainTask) -> Iterator[StageResult]:
        yield from small.train(task)
        (own,) = cells(small)
        take_over(small.client, own.info.run_id, "it stood still")
        run_benchmark(one, small)

    reporter = RecordingReporter()
    result = run_benchmark(one, replace(small, train=suspended, reporter=reporter))

    assert (result.completed, result.elsewhere) == ([], 1)
    assert states(small) == ["FAILED", "FINISHED"]
    assert any(line.startswith("dropped: ") for line in reporter.warnings)


def test_an_interrupt_marks_what_was_running_and_the_next_goes_on(
    small: Services, config: BenchmarkConfig
) -> None:
    trained: list[TrainTask] = []

    def interrupted(task: TrainTask) -> Iterator[StageResult]:
        trained.append(task)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return small.train(task)

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(config, replace(small, train=interrupted))

    assert states(small) == ["FINISHED", "FINISHED", "KILLED"]
    (killed,) = [run for run in cells(small) if run.info.status == "KILLED"]
    assert killed.data.tags[tags.REASON] == "interrupted: KeyboardInterrupt"
    result = run_benchmark(config, small)
    assert (result.skipped, len(result.completed)) == (2, 2)


def test_a_cell_that_is_trained_to_its_end_survives_an_interrupt(
    small: Services, config: BenchmarkConfig
) -> None:
    def interrupted(task: TrainTask) -> Iterator[StageResult]:
        yield from small.train(task)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(config, replace(small, train=interrupted))

    assert states(small) == ["FINISHED"]


def test_models_of_another_modality_are_not_trained(
    small: Services, config: BenchmarkConfig, client: MlflowClient
) -> None:
    for member in small.registry.members():
        client.set_model_version_tag(member.name, member.version, tags.MODALITY, "image")

    with pytest.raises(ConfigError, match="models of the datasets' modality in the registry"):
        run_benchmark(config, small)

    assert cells(small) == []


def test_a_diverged_cell_fails_with_the_reason_and_is_no_history(
    small: Services, config: BenchmarkConfig
) -> None:
    """A validation score that is not finite ends the cell, not the job."""

    def train(task: TrainTask) -> Iterator[StageResult]:
        broken = task.member.name.endswith("tiny-0")
        for stage in range(1, task.last + 1):
            value = math.nan if broken and stage == 2 else 0.5
            yield StageResult(
                stage=stage, validation={"accuracy": value}, seconds=0.1, test={"accuracy": 0.5}
            )

    services = replace(small, train=train)

    result = run_benchmark(replace(config, recipe={"epochs": 3}), services)

    why = "diverged: validation accuracy is nan after stage 2"
    assert list(result.failed.values()) == [why, why]
    assert states(services) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    reasons = [run.data.tags.get(tags.REASON) for run in cells(services)]
    assert sorted(filter(None, reasons)) == [why, why]
    assert {r.model for r in services.history.records("accuracy")} == {
        run.data.tags[tags.MODEL] for run in cells(services) if run.info.status == "FINISHED"
    }
