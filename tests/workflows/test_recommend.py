"""Recommendations from the history of a zoo or from tables, and their explanation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import load_dict
from prepared import registry_for, services_for

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.adapters.export.transfer import HistoryTransfer
from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.config import RecommendConfig
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.recommend.constraints import Constraints
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.ports import StageResult
from mlflow_recall.workflows.explain import Explanation, explain_model
from mlflow_recall.workflows.recommend import (
    RecommendResult,
    recommend_from_tables,
    recommend_zoo,
)
from mlflow_recall.workflows.services import Services

#: model -> accuracy on x, y and z
SCORES: dict[str, tuple[float, ...]] = {
    "fox": (0.90, 0.80, 0.85),
    "owl": (0.70, 0.85, 0.80),
    "trout": (0.60, 0.50, 0.40),
    "worm": (0.30, 0.20, 0.10),
}
SIZES = {"fox": 90_000_000, "owl": 20_000_000, "trout": 10_000_000, "worm": 1_000_000}


def zoo(
    uri: str, namespace: str, modality: str, scores: Mapping[str, tuple[float, ...]]
) -> Services:
    """Registered models without weights, and their benchmark runs."""
    services, _ = services_for(uri, namespace)
    writer = RunWriter(services.client, f"{namespace}/benchmark")
    for model, values in scores.items():
        entry = ZooEntry(
            source=f"hf:/org/{model}", modality=modality, name=model, parameters=SIZES.get(model, 0)
        )
        name = registry_for(services).register(entry).name
        for dataset, value in zip("xyz", values, strict=False):
            run_tags = {
                tags.MODEL: name,
                tags.MODEL_VERSION: "1",
                tags.DATASET: dataset,
                tags.MODALITY: modality,
                tags.EPOCHS: "1",
                tags.RECIPE: Recipe(epochs=1).to_json(),
            }
            run = writer.open_run(f"{model} on {dataset}", "benchmark", run_tags)
            run.log_stage(
                StageResult(
                    stage=1, validation={"accuracy": value}, seconds=1.0, test={"accuracy": value}
                )
            )
            run.finish()
    writer.close()
    return services


def tables(folder: Path, rows: Mapping[str, tuple[float, ...]] = SCORES) -> FolderHistory:
    cells = [
        (model, dataset, "acc", value)
        for model, values in rows.items()
        for dataset, value in zip("xyz", values, strict=True)
    ]
    columns = ["model", "dataset", "metric", "value"]
    pd.DataFrame(cells, columns=columns).to_csv(folder / "matrix.csv", index=False)
    return FolderHistory(folder)


def with_scores(folder: Path, cells: Mapping[tuple[str, str], float]) -> None:
    """A score called ``knn`` on some cells."""
    rows = [(model, dataset, "knn", value) for (model, dataset), value in cells.items()]
    columns = ["model", "dataset", "score_name", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "proxy.csv", index=False)


def configure(**settings: Any) -> RecommendConfig:
    return RecommendConfig(metric="acc", **settings)


# --- from a zoo ----------------------------------------------------------------------------------


def test_a_recommendation_is_a_run_with_table_picture_and_tags(
    store: str, namespace: str, client: MlflowClient
) -> None:
    result = recommend_zoo(RecommendConfig(top_k=2), zoo(store, namespace, "text", SCORES))

    assert result.run_id is not None
    run = client.get_run(result.run_id)
    experiment = client.get_experiment_by_name(f"{namespace}/recommend")
    assert experiment is not None
    assert (run.info.experiment_id, run.info.status) == (experiment.experiment_id, "FINISHED")
    assert {artifact.path for artifact in client.list_artifacts(result.run_id, "recommend")} == {
        "recommend/ranking.json",
        "recommend/ranking.png",
    }
    table = load_dict(f"{run.info.artifact_uri}/recommend/ranking.json")
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    ranking = result.recommendation.ranking
    names = [f"{namespace}--{model}" for model in ("fox", "owl", "trout", "worm")]
    assert [row["model"] for row in rows] == list(ranking.models) == names
    assert [row["prior"] for row in rows] == pytest.approx(ranking.scores.tolist(), abs=1e-5)
    assert [row["recalled"] for row in rows].count("yes") == 2
    run_tags = run.data.tags
    assert (run_tags[tags.KIND], run_tags[tags.MODALITY]) == ("recommend", "text")
    assert (run_tags["recall.recommender"], run_tags["recall.set_selector"]) == (
        "blend",
        "portfolio",
    )
    assert run_tags["recall.recalled"] == ", ".join(result.recommendation.selected)
    assert run_tags["mlflow.note.content"].startswith(
        f"**{names[0]}** is recommended first for an unknown text dataset"
    )
    assert (result.dataset, result.modality, result.left_out) == (None, "text", {})


def test_models_that_break_a_constraint_are_left_out_with_the_reason(
    store: str, namespace: str
) -> None:
    services = zoo(store, namespace, "text", SCORES)

    result = recommend_zoo(
        RecommendConfig(constraints=Constraints(max_parameters=20_000_000)), services
    )

    fox = f"{namespace}--fox"
    assert result.left_out == {fox: "90,000,000 parameters, 20,000,000 are allowed"}
    assert fox not in result.recommendation.ranking.models
    assert len(result.recommendation.ranking.models) == 3


def test_constraints_that_no_model_satisfies_leave_no_run(
    store: str, namespace: str, client: MlflowClient
) -> None:
    services = zoo(store, namespace, "text", SCORES)

    with pytest.raises(ConfigError, match="model that satisfies them, got none of 4"):
        recommend_zoo(RecommendConfig(constraints=Constraints(licenses=("MIT",))), services)

    assert client.get_experiment_by_name(f"{namespace}/recommend") is None


def test_of_two_modalities_one_must_be_named(store: str, namespace: str) -> None:
    services = zoo(store, namespace, "text", SCORES)
    zoo(store, namespace, "image", {"eye": (0.5, 0.6), "lens": (0.4, 0.7)})

    with pytest.raises(
        ConfigError, match="modality: expected one of image, text, got none: name it with"
    ):
        recommend_zoo(RecommendConfig(), services)
    result = recommend_zoo(RecommendConfig(modality="image"), services)

    assert result.modality == "image"
    assert set(result.recommendation.ranking.models) == {f"{namespace}--eye", f"{namespace}--lens"}
    assert result.evidence.matrix.datasets == ("x", "y")


def test_an_export_is_read_by_modality_too(store: str, namespace: str, tmp_path: Path) -> None:
    services = zoo(store, namespace, "text", SCORES)
    zoo(store, namespace, "image", {"eye": (0.5, 0.6), "lens": (0.4, 0.7)})
    HistoryTransfer(services.client, namespace, registry_for(services)).export(
        tmp_path, services.reporter
    )
    export = ExportHistory(tmp_path)

    with pytest.raises(
        ConfigError, match="modality: expected one of image, text, got none: name it with"
    ):
        recommend_from_tables(RecommendConfig(), export)
    result = recommend_from_tables(RecommendConfig(modality="text"), export)

    assert result.recommendation.ranking.models == ("fox", "owl", "trout", "worm")


# --- from plain tables ---------------------------------------------------------------------------


def ranked(result: RecommendResult) -> tuple[str, ...]:
    return result.recommendation.ranking.models


def test_without_a_dataset_the_history_alone_ranks(tmp_path: Path) -> None:
    folder = tables(tmp_path)
    with_scores(tmp_path, {("worm", "x"): 1.0, ("fox", "x"): 0.0})

    result = recommend_from_tables(configure(), folder)

    assert ranked(result) == ("fox", "owl", "trout", "worm")
    assert result.evidence.matrix.datasets == ("x", "y", "z")
    assert result.evidence.scores == {}
    assert set(result.recommendation.ranking.parts) == {"prior"}
    assert result.run_id is None


def test_a_dataset_is_predicted_as_if_it_were_new(tmp_path: Path) -> None:
    """On z alone the worm is the best; its record there must not be read."""
    rows = {**SCORES, "worm": (0.30, 0.20, 1.0)}

    result = recommend_from_tables(configure(), tables(tmp_path, rows), "z")

    assert result.evidence.matrix.datasets == ("x", "y")
    assert ranked(result)[-1] == "worm"
    assert result.dataset == "z"


def test_scores_on_the_dataset_change_the_ranking(tmp_path: Path) -> None:
    """Of two models with the same history the one with the higher score comes first."""
    rows = {**SCORES, "elk": SCORES["owl"]}
    folder = tables(tmp_path, rows)
    neutral = dict.fromkeys([(model, "z") for model in rows], 0.5)

    with_scores(tmp_path, {**neutral, ("owl", "z"): 0.9})
    owl = recommend_from_tables(configure(), folder, "z")
    with_scores(tmp_path, {**neutral, ("elk", "z"): 0.9})
    elk = recommend_from_tables(configure(), FolderHistory(tmp_path), "z")

    assert set(owl.recommendation.ranking.parts) == {"prior", "knn"}
    assert ranked(owl).index("owl") < ranked(owl).index("elk")
    assert ranked(elk).index("elk") < ranked(elk).index("owl")


def test_a_dataset_of_which_only_scores_are_known_will_do(tmp_path: Path) -> None:
    folder = tables(tmp_path)
    with_scores(tmp_path, {(model, "new"): i for i, model in enumerate(SCORES)})

    result = recommend_from_tables(configure(), folder, "new")

    assert result.evidence.matrix.datasets == ("x", "y", "z")
    assert result.evidence.scores["knn"].tolist() == [0, 1, 2, 3]


def test_scores_of_the_past_teach_and_those_of_the_target_do_not(tmp_path: Path) -> None:
    folder = tables(tmp_path)
    cells = {(model, dataset): ord(dataset) for model in SCORES for dataset in "xz"}
    with_scores(tmp_path, cells)

    result = recommend_from_tables(configure(), folder, "z")

    recorded = result.evidence.recorded_scores["knn"]  # on x and y
    assert recorded[:, 0].tolist() == [ord("x")] * 4
    assert pd.isna(recorded[:, 1]).all()
    assert result.evidence.scores["knn"].tolist() == [ord("z")] * 4


def test_features_of_the_tables_are_evidence(tmp_path: Path) -> None:
    """Unknown is NaN among numbers and empty among words."""
    folder = tables(tmp_path)
    models = pd.DataFrame({"model": ["fox", "owl"], "size": [9, 2], "kind": ["a", "b"]})
    models.to_csv(tmp_path / "models.csv", index=False)
    datasets = pd.DataFrame({"dataset": ["x", "z"], "classes": [2, 5]})
    datasets.to_csv(tmp_path / "datasets.csv", index=False)

    evidence = recommend_from_tables(configure(), folder, "z").evidence

    assert list(evidence.model_features["kind"]) == ["a", "b", "", ""]
    assert list(evidence.model_features["size"])[:2] == [9, 2]
    assert pd.isna(list(evidence.model_features["size"])[2:]).all()
    assert next(iter(evidence.dataset_features["classes"])) == 2
    assert evidence.target_features == {"classes": 5}


def test_a_dropped_dataset_does_not_count(tmp_path: Path) -> None:
    """The matrix has no column of it."""
    result = recommend_from_tables(configure(drop_datasets=("y",)), tables(tmp_path))

    assert result.evidence.matrix.datasets == ("x", "z")


@pytest.mark.parametrize(
    ("drop", "dataset", "words"),
    [
        ((), "moon", "dataset: expected one of new, x, y, z, got 'moon'"),
        (("moon",), None, "drop-dataset: expected one of x, y, z, got 'moon'"),
        (("x",), "x", "dataset: expected one of new, y, z, got 'x'"),
    ],
)
def test_an_unknown_dataset_is_answered_with_the_known_ones(
    drop: tuple[str, ...], dataset: str | None, words: str, tmp_path: Path
) -> None:
    folder = tables(tmp_path)
    with_scores(tmp_path, {("fox", "new"): 1.0})

    with pytest.raises(HistoryError, match=words):
        recommend_from_tables(configure(drop_datasets=drop), folder, dataset)


# --- why -----------------------------------------------------------------------------------------


@pytest.fixture
def result(tmp_path: Path) -> RecommendResult:
    folder = tables(tmp_path)
    with_scores(tmp_path, {(model, "z"): i for i, model in enumerate(SCORES)})
    return recommend_from_tables(configure(top_k=1), folder, "z")


def explain(result: RecommendResult, model: str) -> Explanation:
    records = result.comparable.records
    return explain_model(result.recommendation, result.evidence, model, records)


@pytest.mark.parametrize("model", SCORES)
def test_what_the_parts_add_is_the_score(result: RecommendResult, model: str) -> None:
    explanation = explain(result, model)

    ranking = result.recommendation.ranking
    assert [row["part"] for row in explanation.parts] == ["prior", "knn"]
    added = [row["adds"] for row in explanation.parts]
    assert all(isinstance(value, float) for value in added)
    assert sum(map(float, map(str, added))) == pytest.approx(
        ranking.scores[ranking.models.index(model)], abs=1e-5
    )
    assert (explanation.model, explanation.rank, explanation.out_of) == (
        model,
        ranking.models.index(model) + 1,
        4,
    )
    assert explanation.is_selected == (model in result.recommendation.selected)


def test_ranks_by_each_part_are_those_of_the_tables(result: RecommendResult) -> None:
    """The fox leads by its history and comes last by the score; the worm the other way round."""
    fox = explain(result, "fox")
    worm = explain(result, "worm")

    assert [row["rank"] for row in fox.parts] == [1, 4]
    assert [row["rank"] for row in worm.parts] == [4, 1]


def test_gaps_and_ranks_of_the_record_by_hand(result: RecommendResult) -> None:
    """On x 0.70 where 0.90 is the best, on y 0.85, the best; z is the target."""
    explanation = explain(result, "owl")

    assert explanation.recorded == [
        {"dataset": "x", "score": 0.70, "gap": 0.20, "rank": 2},
        {"dataset": "y", "score": 0.85, "gap": 0.0, "rank": 1},
    ]


def test_a_model_is_explained_with_its_cluster(result: RecommendResult) -> None:
    explanation = explain(result, "owl")

    group = result.evidence.clustering.cluster_of("owl")
    assert group is not None
    assert (explanation.representative, explanation.cluster) == (
        group.representative,
        group.members,
    )
    assert "owl" in explanation.cluster


def test_datasets_without_a_record_of_the_model_are_not_listed(tmp_path: Path) -> None:
    rows = {**SCORES, "owl": (0.70, float("nan"), 0.80)}
    result = recommend_from_tables(configure(), tables(tmp_path, rows))

    explanation = explain(result, "owl")

    assert [row["dataset"] for row in explanation.recorded] == ["x", "z"]


def test_an_unknown_model_is_answered_with_the_known_ones(result: RecommendResult) -> None:
    with pytest.raises(ConfigError, match=r"explain: expected one of .*owl.*, got 'unicorn'"):
        explain(result, "unicorn")
