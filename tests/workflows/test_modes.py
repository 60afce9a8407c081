"""A history of two modes: each selection reads one of them."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.artifacts import download_artifacts
from prepared import RecordingReporter, Zoo, build_zoo, registry_for, services_for, write_text_zoo
from tiny import CLASSES

from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
from mlflow_recall.adapters.tracking.stored_defaults import write_defaults
from mlflow_recall.config import BenchmarkConfig, RecallConfig, RecommendConfig, SelectConfig
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.recipes import FROZEN, FULL, LORA
from mlflow_recall.core.policies.budget import Budget
from mlflow_recall.errors import ZooError
from mlflow_recall.workflows.benchmark import run_benchmark
from mlflow_recall.workflows.select import run_selection
from mlflow_recall.workflows.selection import SelectionResult

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zoo(store: str, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Three encoders, trained as a whole on three datasets, and frozen on two of them."""
    folder = tmp_path_factory.mktemp("modes")
    zoo = build_zoo(store, "modes", *write_text_zoo(folder, count=3))
    services, _ = services_for(store, zoo.namespace)
    datasets = tuple(read_benchmarks(folder / "benchmarks.yaml"))[:2]
    result = run_benchmark(
        BenchmarkConfig(datasets=datasets, recipe={"mode": FROZEN, "head_learning_rate": 0.05}),
        services,
    )
    assert (len(result.completed), result.failed) == (6, {})
    return zoo


def select(
    zoo: Zoo, mode: str | None, budget: Budget | None = None
) -> tuple[SelectionResult, RecordingReporter]:
    services, reporter = services_for(zoo.uri, zoo.namespace)
    recommend = RecommendConfig(mode=mode, models=(zoo.everyone,), top_k=2)
    config = SelectConfig(
        recall=RecallConfig(dataset=zoo.target, recommend=recommend),
        policy="fine_selection",
        register_as=f"{zoo.namespace}-winner",
        recipe={"mode": mode} if mode else {},
        budget=budget or Budget(),
    )
    return run_selection(config, services, registry_for(services)), reporter


def test_a_selection_by_mode_reads_that_part_of_the_history(zoo: Zoo) -> None:
    """Its recipes and curves are those of the mode, so its predictions hold."""
    result, reporter = select(zoo, FROZEN)

    assert {c.recipe.mode for c in result.candidates} == {FROZEN}
    assert {c.recipe.head_learning_rate for c in result.candidates} == {0.05}
    assert {record.dataset for record in result.recall.context.comparable.records} == {
        "set-0",
        "set-1",
    }
    notes = [line for line in reporter.warnings if "other modes" in line]
    assert notes == ["9 records of other modes are not used: full 9"]
    assert (result.policy, result.has_predictions) == ("fine_selection", True)


def test_the_winner_is_served_like_any_other(zoo: Zoo) -> None:
    result, _ = select(zoo, FROZEN)

    assert result.registered is not None
    model = mlflow.pyfunc.load_model(
        f"models:/{result.registered.name}/{result.registered.version}"
    )
    rows = pd.read_csv(zoo.target.path)
    right = (model.predict(rows[["text"]])["label"] == rows["label"]).mean()
    assert right > 0.45  # one in three by chance


def test_without_a_mode_that_of_most_records_decides(zoo: Zoo) -> None:
    result, reporter = select(zoo, None)

    assert {c.recipe.mode for c in result.candidates} == {FULL}
    assert "6 records of other modes are not used: frozen 6" in reporter.warnings


def test_what_a_back_test_preferred_holds_for_its_mode_alone(
    zoo: Zoo,
) -> None:
    services, _ = services_for(zoo.uri, zoo.namespace)
    preferred = Defaults(ranker="prior", set_selector="prior")
    write_defaults(services.client, zoo.namespace, "text", RecommendConfig().metric, preferred)
    ranked = {mode: select(zoo, mode)[0].recall.defaults for mode in (FROZEN, FULL)}

    assert ranked == {FROZEN: Defaults(), FULL: preferred}


@pytest.mark.skipif(find_spec("peft") is None, reason="the mode lora needs peft")
def test_a_winner_of_the_mode_lora_is_merged(store: str, tmp_path: Path) -> None:
    """Also where a budget ends the selection at a checkpoint that is an adapter."""
    zoo = build_zoo(store, "lora", *write_text_zoo(tmp_path, count=2))
    services, _ = services_for(store, zoo.namespace)
    datasets = tuple(read_benchmarks(tmp_path / "benchmarks.yaml"))[:2]
    recipe = {"mode": LORA, "learning_rate": 1e-2, "head_learning_rate": 5e-2}
    result = run_benchmark(BenchmarkConfig(datasets=datasets, recipe=recipe), services)
    assert (len(result.completed), result.failed) == (4, {})

    for epochs in (math.inf, 2):
        selected, _ = select(zoo, LORA, Budget(epochs, math.inf))
        assert (selected.budget_stop is None) == (epochs == math.inf)
        assert selected.registered is not None
        name, version = selected.registered.name, selected.registered.version
        folder = Path(download_artifacts(f"models:/{name}/{version}"))
        assert [*folder.rglob("config.json")]
        assert not [*folder.rglob("adapter*")]
        answers = mlflow.pyfunc.load_model(str(folder)).predict(
            pd.read_csv(zoo.target.path)[["text"]]
        )
        assert set(answers["label"]) <= set(CLASSES)


def test_the_mode_lora_without_peft_is_one_line_before_any_run(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow_recall.adapters.zoo.find_spec", lambda _: None)
    services, _ = services_for(zoo.uri, zoo.namespace)
    config = BenchmarkConfig(datasets=(zoo.target,), recipe={"mode": LORA})

    with pytest.raises(ZooError) as raised:
        run_benchmark(config, services)

    assert str(raised.value) == "mode lora needs peft: pip install mlflow-recall[lora]"


def test_numbers_are_selected_for_without_the_class_weights_of_the_zoo(
    store: str, tmp_path: Path
) -> None:
    """Weights of classes that a zoo file asks for are none of a number's recipe."""
    files = write_text_zoo(tmp_path, count=2)
    models = yaml.safe_load(files[0].read_text())
    for model in models["models"]:
        model["recipe"]["class_weight"] = "balanced"
    files[0].write_text(yaml.safe_dump(models))
    zoo = build_zoo(store, "weighed-classes", *files)
    table = pd.read_csv(zoo.target.path)
    table["label"] = [i % 7 + 0.5 for i in range(len(table))]
    table.to_csv(tmp_path / "numbers.csv", index=False)

    result, reporter = select(
        replace(zoo, target=replace(zoo.target, path=str(tmp_path / "numbers.csv"))), mode=None
    )

    assert {c.recipe.class_weight for c in result.candidates} == {"none"}
    assert not any("the recipe differs" in line for line in reporter.warnings)
