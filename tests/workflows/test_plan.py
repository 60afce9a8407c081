"""A plan estimates what a selection costs and finds, and what to benchmark next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from prepared import Zoo, registry_for, services_for, text_zoo

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.cli import main
from mlflow_recall.config import PlanConfig, RecommendConfig
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.recommend.constraints import Constraints
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.ports import StageResult
from mlflow_recall.workflows.plan import SelectionPlan, plan_from_tables, plan_zoo
from mlflow_recall.workflows.services import Services

#: model -> accuracy on x, y and z
SCORES: dict[str, tuple[float, ...]] = {
    "fox": (0.90, 0.80, 0.85),
    "owl": (0.70, 0.85, 0.80),
    "trout": (0.60, 0.50, 0.40),
    "worm": (0.30, 0.20, 0.10),
}
#: seconds of an epoch
SECONDS = {"fox": 8.0, "owl": 4.0, "trout": 2.0, "worm": 1.0}
RECIPE = Recipe(epochs=2, train_samples=100, eval_samples=60)


def zoo(uri: str, namespace: str, *, but: Mapping[str, str] | None = None) -> Services:
    """Registered models with runs of two epochs on three datasets, some cells missing."""
    services, _ = services_for(uri, namespace)
    writer = RunWriter(services.client, f"{namespace}/benchmark")
    for model, values in SCORES.items():
        entry = ZooEntry(source=f"hf:/org/{model}", modality="text", name=model)
        name = registry_for(services).register(entry).name
        for dataset, value in zip("xyz", values, strict=True):
            if (but or {}).get(model) == dataset:
                continue
            run_tags = {
                tags.MODEL: name,
                tags.MODEL_VERSION: "1",
                tags.DATASET: dataset,
                tags.MODALITY: "text",
                tags.EPOCHS: "2",
                tags.RECIPE: RECIPE.to_json(),
            }
            run = writer.open_run(f"{model} on {dataset}", "benchmark", run_tags)
            for stage, share in ((1, 0.8), (2, 1.0)):
                reached = {"accuracy": share * value}
                run.log_stage(
                    StageResult(
                        stage=stage, validation=reached, seconds=SECONDS[model], test=reached
                    )
                )
            run.finish()
    writer.close()
    return services


def tables(folder: Path, but: tuple[str, str] = ("", "")) -> Path:
    cells = [
        (model, dataset, "acc", value)
        for model, values in SCORES.items()
        for dataset, value in zip("xyz", values, strict=True)
        if (model, dataset) != but
    ]
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(folder / "matrix.csv", index=False)
    return folder


def with_curves(folder: Path) -> Path:
    """Add curves in six steps of samples to a folder of tables."""
    cells = [
        (model, dataset, step, split, "acc", value * (0.6 + step / 150))
        for model, values in SCORES.items()
        for dataset, value in zip("xyz", values, strict=True)
        for step in (10, 20, 30, 40, 50, 60)
        for split in ("val", "test")
    ]
    columns = ["model", "dataset", "step", "split", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(folder / "curves.csv", index=False)
    return folder


def configure(metric: str = "accuracy", **settings: Any) -> PlanConfig:
    own = {f.name for f in fields(PlanConfig)}
    recommend = {name: settings.pop(name) for name in list(settings) if name not in own}
    return PlanConfig(recommend=RecommendConfig(metric=metric, **recommend), **settings)


def epochs(planned: SelectionPlan) -> dict[str, float]:
    """Return the epochs of every strategy, without the probes."""
    return {entry.name: entry.epochs - entry.probe_cost.epochs for entry in planned.strategies}


# --- from a zoo ----------------------------------------------------------------------------------


@pytest.fixture
def planned(store: str, namespace: str) -> SelectionPlan:
    """Two of four models are requested."""
    return plan_zoo(configure(top_k=2), zoo(store, namespace))


def test_strategies_by_hand(planned: SelectionPlan) -> None:
    """Four models, two stages: 8 epochs for all, 4 + 2 with halving; of two, 2 + 1."""
    assert planned.stages == 2
    assert {name: value for name, value in epochs(planned).items() if "cost_aware" not in name} == {
        "brute_force": 8,
        "halving": 6,
        "recall + halving": 3,
        "recall + fine_selection": 3,
    }


def test_hours_are_the_recorded_seconds(planned: SelectionPlan) -> None:
    """Fifteen seconds an epoch of everyone, twice, one after the other."""
    brute = planned.strategies[0]

    assert brute.hours * 3600 == pytest.approx(2 * sum(SECONDS.values()))
    assert planned.epoch_times is not None
    assert sorted(planned.epoch_times.seconds.values()) == pytest.approx(sorted(SECONDS.values()))


def test_brute_force_finds_the_best_that_validation_knows(planned: SelectionPlan) -> None:
    assert planned.strategies[0].regret == pytest.approx(0.0)
    assert planned.strategies[0].p_holds_best == 1.0


def test_a_plan_is_a_run_with_its_tables_and_costs(
    planned: SelectionPlan, client: MlflowClient, namespace: str
) -> None:
    assert planned.run_id is not None
    run = client.get_run(planned.run_id)
    experiment = client.get_experiment_by_name(f"{namespace}/plan")

    assert experiment is not None
    assert (run.info.experiment_id, run.info.status) == (experiment.experiment_id, "FINISHED")
    assert run.data.tags[tags.KIND] == "plan"
    assert run.data.metrics["plan/brute_force_epochs"] == 8
    assert "brute_force" in run.data.tags["mlflow.note.content"]
    assert "plan/strategies.json" in {
        artifact.path for artifact in client.list_artifacts(planned.run_id, "plan")
    }


def test_the_samples_of_the_target_scale_the_hours(store: str) -> None:
    """Five models, three stages; the target has more samples than the recipe uses."""
    prepared: Zoo = text_zoo(store)
    services, _ = services_for(store, prepared.namespace)

    typical = plan_zoo(configure(models=(prepared.everyone,)), services)
    known = plan_zoo(configure(models=(prepared.everyone,), dataset=prepared.target), services)

    assert known.dataset == "target"
    assert known.epoch_times is not None
    assert typical.epoch_times is not None
    assert known.epoch_times.is_scaled
    assert not typical.epoch_times.is_scaled
    assert [entry.epochs for entry in known.strategies[:2]] == [15, 5 + 2 + 1]
    assert any("retraining the winner on all" in note for note in known.notes)


def test_probes_cost_what_earlier_recalls_measured(store: str, namespace: str) -> None:
    """Three probes were worth 0.6 epochs once, so one is worth 0.2."""
    services = zoo(store, namespace)
    writer = RunWriter(services.client, f"{namespace}/recall")
    with writer.managed_run("recall", "recall") as run:
        run.log_metrics({"recall/epochs": 0.6, "recall/probes": 3})
    writer.close()

    result = plan_zoo(configure(), services).strategies[-1].probe_cost

    assert result.epochs_per_model == pytest.approx(0.2)
    assert result.basis == "as measured in earlier recalls"


def test_before_any_recall_probes_cost_their_forward_passes(planned: SelectionPlan) -> None:
    """Five hundred of them, over three for each of 100 samples and one for each of 60."""
    assert planned.strategies[-1].probe_cost.epochs_per_model == pytest.approx(500 / 360)


def test_the_missing_cell_is_the_one_to_measure(store: str, namespace: str) -> None:
    result = plan_zoo(configure(next_cells=5), zoo(store, namespace, but={"owl": "y"}))

    assert [(cell.model, cell.dataset) for cell in result.cells] == [(f"{namespace}--owl", "y")]
    assert result.subset is not None
    assert sorted(result.subset.order) == ["x", "y", "z"]


def test_a_registered_model_that_was_never_trained_is_measured_first(
    store: str, namespace: str
) -> None:
    services = zoo(store, namespace, but={"worm": "z"})
    name = (
        registry_for(services)
        .register(ZooEntry(source="hf:/org/new", modality="text", name="new"))
        .name
    )

    result = plan_zoo(configure(next_cells=2), services)

    assert result.cells[0].model == name
    assert result.epoch_times is not None
    assert name in result.epoch_times.estimated


def test_constraints_that_no_model_satisfies_leave_no_run(
    store: str, namespace: str, client: MlflowClient
) -> None:
    services = zoo(store, namespace)

    with pytest.raises(
        ConfigError, match="constraints: expected at least one model that satisfies"
    ):
        plan_zoo(configure(constraints=Constraints(where=("family=none",))), services)
    assert client.get_experiment_by_name(f"{namespace}/plan") is None


# --- from files ----------------------------------------------------------------------------------


def test_tables_without_curves_say_that_costs_are_bounds(tmp_path: Path) -> None:
    result = plan_from_tables(configure("acc", top_k=2), FolderHistory(tables(tmp_path)))

    assert result.run_id is None
    assert result.epoch_times is None
    assert not any(entry.is_replayed for entry in result.strategies)
    assert "no seconds are recorded: epochs only" in result.notes
    assert any(note.startswith("no curves are recorded") for note in result.notes)
    assert epochs(result)["brute_force"] == 4 * 5


def test_tables_with_curves_in_steps_are_replayed(tmp_path: Path) -> None:
    folder = with_curves(tables(tmp_path))

    result = plan_from_tables(configure("acc", stages=3), FolderHistory(folder))

    assert result.stages == 3
    assert all(entry.is_replayed for entry in result.strategies)
    assert epochs(result)["brute_force"] == 4 * 3
    assert any(note.startswith("with the curves of only") for note in result.notes)


def test_an_export_gives_the_plan_of_its_store(store: str, namespace: str, tmp_path: Path) -> None:
    services = zoo(store, namespace)
    own = plan_zoo(configure(top_k=2), services)
    _, reporter = services_for(store, namespace)
    HistoryTransfer(services.client, namespace, registry_for(services)).export(tmp_path, reporter)

    result = plan_from_tables(configure(top_k=2), ExportHistory(tmp_path))

    assert epochs(result) == epochs(own)
    assert [e.hours for e in result.strategies[:2]] == pytest.approx(
        [e.hours for e in own.strategies[:2]]
    )


def test_a_dataset_of_an_export_does_not_plan_for_itself(
    store: str, namespace: str, tmp_path: Path
) -> None:
    """Its seconds, curves and scores are unknown before it is selected for."""
    services = zoo(store, namespace)
    _, reporter = services_for(store, namespace)
    HistoryTransfer(services.client, namespace, registry_for(services)).export(tmp_path, reporter)
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]

    before = plan_from_tables(configure(next_cells=1), ExportHistory(tmp_path), "y")
    for run in runs:
        if run["tags"][tags.DATASET] == "y":
            run["metrics"]["time/seconds"] = [[1, 1e6], [2, 1e6]]
            for key in ("val/accuracy", "test/accuracy"):
                run["metrics"][key] = [[step, 1.0 - value] for step, value in run["metrics"][key]]
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, runs)) + "\n")
    after = plan_from_tables(configure(next_cells=1), ExportHistory(tmp_path), "y")

    assert before.strategies == after.strategies
    assert before.dataset == "y"


def test_a_target_beside_tables_is_known_by_its_samples(
    store: str, namespace: str, tmp_path: Path
) -> None:
    services = zoo(store, namespace)
    _, reporter = services_for(store, namespace)
    HistoryTransfer(services.client, namespace, registry_for(services)).export(tmp_path, reporter)
    target = Dataset(
        name="mine",
        digest="0",
        modality="text",
        classes=("a", "b"),
        sizes={"train": 50, "validation": 30, "test": 30},
        source="",
        folder="",
    )

    half = plan_from_tables(configure(), ExportHistory(tmp_path), target=target)

    assert half.dataset == "mine"
    assert half.strategies[0].hours * 3600 == pytest.approx(2 * sum(SECONDS.values()) / 2)


def test_an_unknown_dataset_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="dataset: expected one of x, y, z, got 'w'"):
        plan_from_tables(configure("acc"), FolderHistory(tables(tmp_path)), "w")


# --- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [6, 8, 20, 100])
def test_what_fits_stays_within_the_budget(tmp_path: Path, budget: float) -> None:
    folder = FolderHistory(with_curves(tables(tmp_path)))

    result = plan_from_tables(configure("acc", budget_epochs=budget, stages=3), folder)

    assert result.best_in_budget is not None
    assert result.best_in_budget.epochs <= budget
    assert result.best_in_budget.models >= 1


def test_a_budget_that_probes_would_use_up_is_spent_on_training(tmp_path: Path) -> None:
    """One model to the end fits the budget; probes beside it do not."""
    folder = FolderHistory(with_curves(tables(tmp_path)))

    result = plan_from_tables(configure("acc", budget_epochs=3, stages=3), folder)

    assert result.best_in_budget is not None
    assert (result.best_in_budget.epochs, result.best_in_budget.models) == (3, 1)
    assert not result.best_in_budget.probe_cost.models


def test_where_nothing_fits_the_cheapest_is_named(tmp_path: Path) -> None:
    result = plan_from_tables(configure("acc", budget_epochs=1), FolderHistory(tables(tmp_path)))

    assert result.best_in_budget is None
    assert result.cheapest is not None
    assert result.cheapest.epochs == 5


def test_hours_cannot_be_kept_where_none_are_known(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="budget_hours: expected a history with the seconds of its epochs"
    ):
        plan_from_tables(configure("acc", budget_hours=2.0), FolderHistory(tables(tmp_path)))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"budget_epochs": 0}, "budget_epochs: expected more than 0, got 0"),
        ({"budget_hours": float("nan")}, "budget_hours: expected more than 0, got nan"),
        ({"workers": 0}, "workers: expected 1 or more, got 0"),
        ({"next_cells": -1}, "next: expected 0 or more, got -1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        configure(**settings)


# --- the command ---------------------------------------------------------------------------------


def values(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([str(token) for token in argv])
    out, err = capfd.readouterr()
    return int(leaving.value.code or 0), out, err


def test_machines_get_one_object_with_the_keys_they_rely_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = with_curves(tables(tmp_path, but=("owl", "x")))

    code, out, _ = values(
        capfd, "plan", "--history", folder, "--metric", "acc", "--next", 3, "--json", "-",
        "--budget_epochs", 12, "--top_k", 2,
    )  # fmt: skip

    data = json.loads(out)
    assert code == 0
    assert {"name", "epochs", "hours", "expected_regret", "p_holds_best"} <= set(
        data["strategies"][0]
    )
    assert [entry["name"] for entry in data["strategies"]][:2] == ["brute_force", "halving"]
    assert data["strategies"][0]["hours"] is None
    assert data["budget"]["epochs"] == 12
    assert data["budget"]["fits"]["epochs"] <= 12
    assert [(cell["model"], cell["dataset"]) for cell in data["next"]] == [("owl", "x")]
    assert 0 < data["next"][0]["uncertainty_removed"] < 1
    assert set(data["subset"]["datasets"]) <= {"x", "y", "z"}
    assert {"agreement", "regret"} <= set(data["subset"])


def test_people_read_the_outcome_last(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tables(tmp_path)

    _, plain, _ = values(capfd, "plan", "--history", folder, "--metric", "acc")
    _, little, _ = values(
        capfd, "plan", "--history", folder, "--metric", "acc", "--budget-epochs", 2
    )
    _, full, _ = values(capfd, "plan", "--history", folder, "--metric", "acc", "--next", 2)

    assert plain.splitlines()[-1].endswith("where brute force takes 20 epochs")
    assert little.splitlines()[-1].startswith("nothing fits 2 epochs: the cheapest is history + ")
    assert "; no cell is missing; " in full.splitlines()[-1]


def test_tables_alone_have_datasets_to_drop(store: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = values(capfd, "plan", "--drop-dataset", "x", "--tracking-uri", store)

    assert code == 1
    assert "drop_dataset: expected only beside --history" in err
