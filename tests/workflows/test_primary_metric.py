"""A history that mixes tasks, by each dataset's own metric."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from prepared import registry_for, services_for, text_zoo

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tables.table_export import TableExport
from mlflow_recall.adapters.tables.table_import import TableImport
from mlflow_recall.adapters.tables.validation import ImportOptions
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.run_history import TrackingHistory
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.cli import main
from mlflow_recall.cli.backtest import backtest_json
from mlflow_recall.cli.output import recommendation_json
from mlflow_recall.config import BacktestConfig, ClusterConfig, PlanConfig, RecommendConfig
from mlflow_recall.core.history.records import Record
from mlflow_recall.ports import History, StageResult
from mlflow_recall.workflows.backtest import backtest_history, backtest_zoo
from mlflow_recall.workflows.cluster import cluster_history, cluster_zoo
from mlflow_recall.workflows.plan import plan_from_tables, plan_zoo
from mlflow_recall.workflows.recommend import recommend_zoo
from mlflow_recall.workflows.services import Services

RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[3] / "shared" / "data"))
PAPER = RECORDS / "two_phase_paper"
#: dataset -> its tags, and the metrics that its runs have
MIXED: Mapping[str, tuple[Mapping[str, str], Mapping[str, float]]] = {
    "sst2": ({}, {"accuracy": 0.9, "matthews": 0.8}),
    "imdb": ({}, {"accuracy": 0.8, "matthews": 0.6}),
    "cola": ({tags.METRIC: "matthews"}, {"accuracy": 0.7, "matthews": 0.4}),
    "stsb": ({tags.TASK: "regression"}, {"spearman": 0.8, "rmse": 1.0}),
}
PRIMARY_OF = {"sst2": "accuracy", "imdb": "accuracy", "cola": "matthews", "stsb": "spearman"}
#: the same with an error of numbers as the metric of the regression
WITH_RMSE = {**MIXED, "stsb": ({tags.TASK: "regression", tags.METRIC: "rmse"}, MIXED["stsb"][1])}
MODELS = 6


def score_of(best: float, metric: str, model: int) -> float:
    """Return the score of a model; the later ones are worse, by the same gap everywhere."""
    return best + 0.25 * model if metric == "rmse" else best - 0.0625 * model


def record_history(
    services: Services, datasets: Mapping[str, tuple[Mapping[str, str], Mapping[str, float]]]
) -> None:
    """Register models without weights, and record two stages of each on every dataset."""
    client, writer = services.client, RunWriter(services.client, f"{services.namespace}/benchmark")
    for model in range(MODELS):
        name = registry_for(services).name_of(f"m{model}")
        client.create_registered_model(name, tags={tags.NAMESPACE: services.namespace})
        version_tags = {
            tags.ARCH: "transformers/bert",
            tags.MODALITY: "text",
            tags.NAMESPACE: services.namespace,
            tags.WEIGHTS: "absent",
        }
        client.create_model_version(name, f"absent:/m{model}", tags=version_tags)
        for dataset, (dataset_tags, metrics) in datasets.items():
            own = {
                tags.MODEL: name,
                tags.DATASET: dataset,
                tags.DIGEST: f"{dataset}1",
                tags.MODALITY: "text",
                tags.EPOCHS: "2",
                **dataset_tags,
            }
            run = writer.open_run(f"{name} on {dataset}", "benchmark", own)
            for stage in (1, 2):
                scores = {
                    metric: score_of(best, metric, model) + 0.01 * (stage - 2)
                    for metric, best in metrics.items()
                }
                result = StageResult(stage=stage, validation=scores, seconds=1.0, test=scores)
                run.log_stage(result)
            run.finish()
    writer.close()


def services_with(store: str, namespace: str, datasets: Any) -> Services:
    services, _ = services_for(store, namespace)
    if client_has_no_runs(services):
        record_history(services, datasets)
    return services


def client_has_no_runs(services: Services) -> bool:
    return services.client.get_experiment_by_name(f"{services.namespace}/benchmark") is None


@pytest.fixture
def mixed(store: str) -> Services:
    """Six models on two accuracies, a Matthews correlation and a rank correlation."""
    return services_with(store, "mixed-points", MIXED)


@pytest.fixture
def errors(store: str) -> Services:
    """The same, with the error of the numbers as the metric of the regression."""
    return services_with(store, "mixed-units", WITH_RMSE)


def by_cell(records: list[Record], prefix: str = "") -> dict[tuple[str, str], tuple[str, float]]:
    return {
        (r.model.removeprefix(prefix), r.dataset): (r.metric, round(r.final_score, 9))
        for r in records
    }


def run_cli(capfd: pytest.CaptureFixture[str], *argv: object) -> tuple[str, str]:
    capfd.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([str(token) for token in argv])
    out, err = capfd.readouterr()
    assert leaving.value.code == 0, err
    return out, err


# --- one history, wherever it is kept ------------------------------------------------------------


def test_an_export_and_tables_have_the_same_primary_metrics(
    mixed: Services, client: MlflowClient, namespace: str, tmp_path: Path
) -> None:
    """Also after they were imported, by whatever way they went."""
    registry = registry_for(mixed)
    HistoryTransfer(client, mixed.namespace, registry).export(tmp_path / "runs", mixed.reporter)
    table_export = TableExport(client, mixed.namespace, registry)
    table_export.export(tmp_path / "tables", ".csv", mixed.reporter)
    imported, reporter = services_for(mixed.client.tracking_uri, namespace)
    table_import = TableImport(client, namespace, registry_for(imported))
    table_import.import_history(tmp_path / "tables", ImportOptions(), reporter)
    prefix = registry.name_of("")

    there = by_cell(mixed.history.records("primary"), prefix)  # type: ignore[arg-type]

    assert {dataset: metric for (_, dataset), (metric, _) in there.items()} == PRIMARY_OF
    assert by_cell(ExportHistory(tmp_path / "runs").records("primary")) == there
    assert by_cell(FolderHistory(tmp_path / "tables").records("primary")) == there
    again = TrackingHistory(client, namespace)
    assert by_cell(again.records("primary"), registry_for(imported).name_of("")) == there
    table = pd.read_csv(tmp_path / "tables" / "datasets.csv").set_index("dataset")
    assert table["metric"].to_dict() == PRIMARY_OF
    assert table.loc["stsb", "task"] == "regression"


# --- what analyses make of it --------------------------------------------------------------------


def test_clusters_by_the_primary_metrics_are_named_so(mixed: Services) -> None:
    (result,) = cluster_zoo(ClusterConfig(clusters=2), mixed)

    members = mixed.registry.members()
    assert {member.cluster for member in members} == {"text-primary-1", "text-primary-2"}
    assert {member.tags[tags.CLUSTER_METRIC] for member in members} == {"primary"}
    assert result.matrix.datasets == ("cola", "imdb", "sst2", "stsb")
    assert result.run_id is not None
    description = mixed.client.get_run(result.run_id).data.tags["mlflow.note.content"]
    assert "by accuracy, matthews, spearman on 4 datasets" in description
    (named,) = cluster_history(ClusterConfig(metric="accuracy", clusters=2), mixed.history)
    assert [cluster.id for cluster in named.clustering.clusters] == ["text-1", "text-2"]
    assert named.matrix.datasets == ("cola", "imdb", "sst2")  # those that have it


def test_points_of_several_metrics_are_one_unit(mixed: Services) -> None:
    """All gaps between two models are equal, whichever metric a dataset has."""
    result = recommend_zoo(RecommendConfig(), mixed)

    gaps = result.recommendation.gaps
    assert result.options.tolerance == gaps.tolerance == 0.01
    assert result.options.unit.metrics == ("accuracy", "matthews", "spearman")
    assert gaps.mean.tolist() == pytest.approx([0.0625 * model for model in range(MODELS)])
    assert not any("spread" in note for note in result.recommendation.notes)


def test_gaps_of_metrics_without_a_common_unit_are_shares_of_the_spread(errors: Services) -> None:
    """Scores at equal distances g have the standard deviation g sqrt((n^2 - 1) / 12)."""
    spread = math.sqrt((MODELS**2 - 1) / 12)
    result = recommend_zoo(RecommendConfig(), errors)

    gaps = result.recommendation.gaps
    assert gaps.tolerance == 0.1
    assert gaps.mean.tolist() == pytest.approx([model / spread for model in range(MODELS)])
    (note,) = (note for note in result.recommendation.notes if "spread" in note)
    assert note.endswith("because the best value of rmse is not 1")
    given = recommend_zoo(RecommendConfig(tolerance=0.5), errors)
    assert given.recommendation.gaps.tolerance == 0.5


def test_a_plan_and_a_back_test_say_what_regrets_are_shares_of(
    errors: Services, tmp_path: Path
) -> None:
    (result,) = backtest_zoo(BacktestConfig(), errors)
    transfer = HistoryTransfer(errors.client, errors.namespace, registry_for(errors))
    transfer.export(tmp_path, errors.reporter)
    plan = plan_from_tables(PlanConfig(), ExportHistory(tmp_path))

    assert (result.metric, result.unit.metric, result.tolerance) == ("primary", "primary", 0.1)
    assert result.unit.notes[0] in errors.reporter.warnings  # type: ignore[attr-defined]
    assert result.unit.notes[0] in plan.notes
    assert read_defaults(errors.client, errors.namespace, "text", "primary").run_id
    assert read_defaults(errors.client, errors.namespace, "text", "accuracy").run_id is None
    policies = result.policies
    assert policies is not None
    # random picks lose something, and the best on validation, which is the best here, nothing
    assert policies.table["brute_force of all"].regrets.tolist() == [0.0] * 4


def test_tables_for_people_have_real_names_of_one_metric_and_primary_of_several(
    capfd: pytest.CaptureFixture[str], errors: Services
) -> None:
    where = ["--tracking-uri", errors.client.tracking_uri, "--namespace", errors.namespace]

    out, _ = run_cli(capfd, "history", "show", *where)
    data = json.loads(run_cli(capfd, "history", "show", "--json", "-", *where)[0])
    by_name, _ = run_cli(capfd, "history", "show", "--metric", "rmse", *where)

    assert set(data["text"]) == {"primary", "accuracy", "matthews", "rmse", "spearman"}
    assert data["text"]["primary"]["datasets"] == 4
    assert "text primary" in out
    row = next(line for line in out.splitlines() if line.startswith("│ stsb"))
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:2] == ["stsb", "rmse"]
    assert cells[4] == "1.000"  # the lowest error is the best, with its own sign
    assert "text rmse" in by_name


# --- the same as before where there is one metric ------------------------------------------------


def test_a_history_of_accuracies_gives_the_same_by_either_name(store: str) -> None:
    zoo = text_zoo(store)
    services, reporter = services_for(store, zoo.namespace)

    def everything(metric: str) -> dict[str, Any]:
        clusters = cluster_history(ClusterConfig(metric=metric), services.history)
        recommended = recommend_zoo(RecommendConfig(metric=metric, models=zoo.models), services)
        plan = plan_zoo(PlanConfig(recommend=RecommendConfig(metric=metric)), services)
        (backtest,) = backtest_history(BacktestConfig(metric=metric), services.history, reporter)
        return {
            "clusters": [
                (cluster.representative, cluster.members)
                for result in clusters
                for cluster in result.clustering.clusters
            ],
            "silhouettes": [result.clustering.silhouette for result in clusters],
            "ranking": recommendation_json(recommended.recommendation),
            "plan": [vars(strategy) for strategy in plan.strategies],
            "backtest": {**backtest_json(backtest), "metric": ""},
        }

    by_primary, by_name = everything("primary"), everything("accuracy")

    np.testing.assert_equal(by_primary, by_name)
    assert services.history.records("primary") == services.history.records("accuracy")


# --- the paper -----------------------------------------------------------------------------------


def non_singletons(history: History, cut: float) -> dict[str, tuple[int, int]]:
    """Return modality -> number of clusters with several models, and of these models."""
    results = cluster_history(ClusterConfig(cut=cut), history)
    sizes = {
        result.modality: [
            len(cluster.members)
            for cluster in result.clustering.clusters
            if not cluster.is_singleton
        ]
        for result in results
    }
    return {modality: (len(counts), sum(counts)) for modality, counts in sizes.items()}


@pytest.mark.skipif(not PAPER.exists(), reason="the records are not here")
def test_the_paper_s_clusters_are_those_of_its_mixed_matrix(tmp_path: Path) -> None:
    """It has the Matthews correlation of CoLA and a correlation of STS-B beside accuracies."""
    table = pd.read_csv(PAPER / "matrix.csv")
    text = table[table["metric"] == "acc_NLP"]
    own = text["dataset"].map({"cola": "matthews", "stsb": "spearman"}).fillna("accuracy")
    text.assign(metric=own).to_csv(tmp_path / "matrix.csv", index=False)

    assert non_singletons(FolderHistory(tmp_path), 0.09) == {"": (8, 31)}
    assert non_singletons(FolderHistory(PAPER), 0.09)["acc_NLP"] == (8, 31)
    assert non_singletons(FolderHistory(PAPER), 0.03)["acc_CV"] == (5, 29)
