"""Models x datasets -> one run a cell."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prepared import (
    EPOCHS,
    RATES,
    Zoo,
    bench_of,
    registry_of,
    runs_of,
    text_zoo,
    write_text_zoo,
)

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.datasets import DatasetSpec
from mlflow_recall.adapters.manifests import read_benchmarks, read_zoo
from mlflow_recall.adapters.ownership import sweep
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.metrics import METRICS
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.errors import DatasetError, SettingError, ZooError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.benchmark import benchmark
from mlflow_recall.workflows.register import register


@pytest.fixture
def zoo(store: str) -> Zoo:
    """Five models on three datasets, all of it done."""
    return text_zoo(store)


@pytest.fixture
def small(store: str, namespace: str, tmp_path: Path) -> Bench:
    """Two registered models, and nothing done yet."""
    zoo_file, _, _ = write_text_zoo(tmp_path, 2)
    bench, voice = bench_of(store, namespace)
    register(read_zoo(zoo_file), registry_of(bench), voice)
    return bench


@pytest.fixture
def config(tmp_path: Path, small: Bench) -> BenchmarkConfig:
    """Two datasets, one epoch: four cells."""
    specs = read_benchmarks(tmp_path / "benchmarks.yaml")[:2]
    return BenchmarkConfig(tuple(specs), recipe={"epochs": 1})


def cells(bench: Bench) -> list[Run]:
    return runs_of(bench.client.tracking_uri, bench.namespace, "benchmark")


def states(bench: Bench) -> list[str]:
    return sorted(run.info.status for run in cells(bench))


def owner_of(process: psutil.Process) -> str:
    """As a run carries it."""
    who = {"host": socket.gethostname(), "process": process.pid, "started": process.create_time()}
    return json.dumps(who)


def leave_running(bench: Bench, owner: str) -> str:
    """As if another process had begun the first cell: its finished run, copied as a RUNNING one."""
    done = cells(bench)[0]
    experiment = done.info.experiment_id
    told = {tags.KIND: "benchmark", tags.CELL: done.data.tags[tags.CELL], tags.OWNER: owner}
    bench.client.delete_run(done.info.run_id)
    beat = {tags.HEARTBEAT: f"{time.time():.0f}"}
    return str(bench.client.create_run(experiment, tags={**told, **beat}).info.run_id)


def test_every_cell_is_one_finished_run(zoo: Zoo) -> None:
    runs = runs_of(zoo.uri, zoo.namespace, "benchmark")

    assert {run.info.status for run in runs} == {"FINISHED"}
    found = {(run.data.tags[tags.MODEL], run.data.tags[tags.DATASET]) for run in runs}
    assert found == {(model, f"set-{i}") for model in zoo.models for i in range(3)}
    assert len(runs) == len(found)
    assert len({run.data.tags[tags.CELL] for run in runs}) == len(runs)


def test_a_run_has_validation_by_epoch_and_test_at_step_zero(zoo: Zoo) -> None:
    run = runs_of(zoo.uri, zoo.namespace, "benchmark")[0]

    def steps(key: str) -> list[int]:
        return [point.step for point in zoo.client.get_metric_history(run.info.run_id, key)]

    assert set(run.data.metrics) == {
        *(f"val/{metric}" for metric in METRICS),
        *(f"test/{metric}" for metric in METRICS),
        "time/seconds",
    }
    for metric in METRICS:
        assert steps(f"val/{metric}") == list(range(1, EPOCHS + 1))
        assert steps(f"test/{metric}") == [0]
    assert steps("time/seconds") == list(range(1, EPOCHS + 1))


def test_a_run_says_what_was_trained_on_what_and_how(zoo: Zoo) -> None:
    run = runs_of(zoo.uri, zoo.namespace, "benchmark")[0]
    told = run.data.tags
    recipe = Recipe.from_json(told[tags.RECIPE])

    assert recipe.learning_rate == RATES[told[tags.MODEL].removeprefix("text--")]
    assert run.data.params["model"] == told[tags.MODEL]
    assert run.data.params["dataset"] == told[tags.DATASET]
    assert {k: v for k, v in run.data.params.items() if k.startswith("recipe.")} == {
        f"recipe.{key}": str(value) for key, value in recipe.__dict__.items()
    }
    assert run.inputs is not None
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == (told[tags.DATASET], told[tags.DIGEST])
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "benchmark")]
    assert told[tags.MODEL_VERSION] == "1"
    assert told[tags.MODALITY] == "text"
    assert told[tags.FAMILY] == "tiny"
    assert told[tags.EPOCHS] == told[tags.STAGE] == str(EPOCHS)
    assert json.loads(told[tags.OWNER])["process"] == os.getpid()
    assert float(told[tags.HEARTBEAT]) == pytest.approx(run.info.start_time / 1000, abs=60)


def test_the_curve_tag_is_the_metric_history(zoo: Zoo) -> None:
    run = runs_of(zoo.uri, zoo.namespace, "benchmark")[0]

    told = json.loads(run.data.tags[tags.CURVE])

    history = zoo.client.get_metric_history(run.info.run_id, "val/accuracy")
    assert told["val/accuracy"] == [point.value for point in history]


def test_run_again_it_does_nothing(small: Bench, config: BenchmarkConfig) -> None:
    first = benchmark(config, small)
    before = cells(small)

    again = benchmark(config, small)

    assert (first.cells, len(first.done), first.done_before) == (4, 4, 0)
    assert (again.cells, again.done, again.done_before) == (4, [], 4)
    assert [run.info.run_id for run in cells(small)] == [run.info.run_id for run in before]


def test_another_recipe_is_another_cell(small: Bench, config: BenchmarkConfig) -> None:
    """Curves of different recipes do not compare, so none stands for the other."""
    benchmark(config, small)

    result = benchmark(replace(config, recipe={"epochs": 1, "seed": 1}), small)

    assert (len(result.done), result.done_before) == (4, 0)


def test_a_broken_model_is_failed_runs_and_the_rest_is_done(
    small: Bench, config: BenchmarkConfig, tmp_path: Path
) -> None:
    """Corrupt safetensors of a model that could be registered."""
    (tmp_path / "bert-0" / "model.safetensors").write_bytes(b"no tensors at all")
    entries = read_zoo(tmp_path / "zoo.yaml")
    broken, sound = (model.name for model in register(entries, registry_of(small), small.voice))

    result = benchmark(config, small)

    assert sorted(result.failed) == [f"{broken} on set-0", f"{broken} on set-1"]
    assert sorted(result.done) == [f"{sound} on set-0", f"{sound} on set-1"]
    failed = [run for run in cells(small) if run.info.status == "FAILED"]
    assert {run.data.tags[tags.MODEL] for run in failed} == {broken}
    for run in failed:
        assert f"{broken}: cannot be loaded" in run.data.tags[tags.REASON]
        (artifact,) = small.client.list_artifacts(run.info.run_id)
        assert artifact.path == "traceback.txt"


def test_an_unreadable_dataset_is_one_failed_run_and_the_rest_is_done(
    small: Bench, config: BenchmarkConfig, tmp_path: Path
) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    torn = DatasetSpec(str(tmp_path / "torn.parquet"))

    result = benchmark(replace(config, datasets=(torn, *config.datasets)), small)

    assert list(result.failed) == ["torn"]
    assert len(result.done) == 4
    (run,) = [run for run in cells(small) if run.info.status == "FAILED"]
    assert run.data.tags[tags.DATASET] == "torn"
    assert "torn.parquet: cannot be read as a dataset" in run.data.tags[tags.REASON]


def test_an_only_dataset_that_is_unreadable_writes_nothing(small: Bench, tmp_path: Path) -> None:
    torn = DatasetSpec(str(tmp_path / "torn.csv"))

    with pytest.raises(DatasetError, match=r"torn\.csv: expected a file, a folder or a hub id"):
        benchmark(BenchmarkConfig((torn,)), small)

    assert cells(small) == []


def test_failed_cells_are_tried_again(small: Bench, config: BenchmarkConfig) -> None:
    def refuse(task: TrainTask) -> Iterator[StageResult]:
        raise ZooError(f"{task.member.name}: not today")

    first = benchmark(config, replace(small, train=refuse))
    again = benchmark(config, small)

    assert len(first.failed) == 4
    assert (len(again.done), again.failed) == (4, {})
    assert states(small) == ["FAILED"] * 4 + ["FINISHED"] * 4


def test_a_cell_of_a_living_process_is_left_to_it(small: Bench, config: BenchmarkConfig) -> None:
    benchmark(config, small)
    running = leave_running(small, owner_of(psutil.Process(os.getppid())))

    assert sweep(small.client) == []
    result = benchmark(config, small)

    assert (result.elsewhere, result.done_before, result.done) == (1, 3, [])
    assert small.client.get_run(running).info.status == "RUNNING"
    small.client.set_terminated(running)


def test_a_cell_of_a_dead_process_is_closed_and_done(small: Bench, config: BenchmarkConfig) -> None:
    benchmark(config, small)
    who = {"host": socket.gethostname(), "process": os.getpid(), "started": 1.0}  # pid, used anew
    left = leave_running(small, json.dumps(who))

    (line,) = sweep(small.client)
    result = benchmark(config, small)

    assert left in line
    assert (result.elsewhere, result.done_before, len(result.done)) == (0, 3, 1)
    run = small.client.get_run(left)
    assert run.info.status == "FAILED"
    assert run.data.tags[tags.REASON] == f"its process {os.getpid()} on {who['host']} is gone"


def test_an_interrupt_marks_what_was_running_and_the_next_goes_on(
    small: Bench, config: BenchmarkConfig
) -> None:
    trained: list[TrainTask] = []

    def interrupted(task: TrainTask) -> Iterator[StageResult]:
        trained.append(task)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return small.train(task)

    with pytest.raises(KeyboardInterrupt):
        benchmark(config, replace(small, train=interrupted))

    assert states(small) == ["FINISHED", "FINISHED", "KILLED"]
    (killed,) = [run for run in cells(small) if run.info.status == "KILLED"]
    assert killed.data.tags[tags.REASON] == "interrupted: KeyboardInterrupt"
    result = benchmark(config, small)
    assert (result.done_before, len(result.done)) == (2, 2)


def test_models_of_another_modality_are_not_trained(
    small: Bench, config: BenchmarkConfig, client: MlflowClient
) -> None:
    for member in small.registry.members():
        client.set_model_version_tag(member.name, member.version, tags.MODALITY, "image")

    with pytest.raises(SettingError, match="models of the datasets' modality in the registry"):
        benchmark(config, small)

    assert cells(small) == []
