"""Facts of ``core.overview``: coverage and the noise floor, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mlflow_recall.core.arrays import read_only
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.overview import coverage_map, noise_floor, summarize_history
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Record


def record(
    model: str = "a",
    dataset: str = "x",
    test: float = 0.5,
    seed: int = 0,
    modality: str = "text",
) -> Record:
    """A complete one, of version 1 of the model."""
    return Record(
        model=model,
        dataset=dataset,
        validation_scores=(0.1,),
        final_score=test,
        epochs=1,
        modality=modality,
        dataset_digest=f"{dataset}1",
        model_version="1",
        recipe=Recipe(seed=seed).to_json(),
    )


# --- how complete --------------------------------------------------------------------------------


def test_coverage_is_the_share_of_cells_that_were_measured_and_the_others_are_named() -> None:
    (overview,) = summarize_history(
        [record("a", "x"), record("a", "y"), record("b", "y")], "accuracy"
    )

    assert (overview.modality, overview.metric, overview.cells) == ("text", "accuracy", 3)
    assert (overview.matrix.models, overview.matrix.datasets) == (("a", "b"), ("x", "y"))
    assert overview.matrix.coverage == 0.75
    assert overview.missing == [("b", "x")]


def test_missing_cells_are_listed_model_by_model() -> None:
    (overview,) = summarize_history(
        [record(model, name) for model, name in ("ax", "by", "cz")], "accuracy"
    )

    assert overview.missing == [
        ("a", "y"), ("a", "z"), ("b", "x"), ("b", "z"), ("c", "x"), ("c", "y"),
    ]  # fmt: skip


def test_repeats_are_one_cell_with_their_mean() -> None:
    (overview,) = summarize_history([record(test=0.25), record(test=0.75, seed=1)], "accuracy")

    assert (overview.cells, overview.missing, overview.matrix.coverage) == (1, [], 1.0)
    assert overview.matrix.values.tolist() == [[0.5]]
    assert (overview.noise.cells, overview.noise.runs) == (1, 2)


def test_modalities_are_apart() -> None:
    """No text model will ever be measured on pictures: such cells are not missing."""
    records = [
        record("a", "x"),
        record("b", "p", 0.25, modality="image"),
        record("b", "p", 0.75, seed=1, modality="image"),
        record("c", "z", modality=""),
    ]

    overviews = summarize_history(records, "accuracy")

    assert [overview.modality for overview in overviews] == ["", "image", "text"]
    assert [overview.matrix.models for overview in overviews] == [("c",), ("b",), ("a",)]
    assert [overview.matrix.coverage for overview in overviews] == [1.0, 1.0, 1.0]
    assert [overview.noise.cells for overview in overviews] == [0, 1, 0]


def test_records_of_a_rarer_mode_are_no_repeats() -> None:
    """A score by LoRA is none of full fine-tuning: neither its mean nor its noise includes it."""
    lora = replace(record("a", "x", 0.1), recipe=Recipe(mode="lora").to_json())

    (overview,) = summarize_history([record("a", "x", 0.5), record("a", "y", 0.5), lora], "m")

    assert overview.matrix.values.tolist() == [[0.5, 0.5]]
    assert overview.noise.cells == 0
    assert overview.notes[-1] == "1 records of other modes are not used: lora 1"


@pytest.mark.parametrize("partial", [{"final_score": math.nan}, {"epochs": 2}])
def test_partial_records_are_no_cells(partial: dict[str, float]) -> None:
    """Neither one that was never tested, nor one that ended before its last epoch."""
    half = replace(record("b", "y"), **partial)  # type: ignore[arg-type]

    (overview,) = summarize_history([record(), half], "accuracy")

    assert (overview.matrix.models, overview.matrix.datasets) == (("a",), ("x",))
    assert summarize_history([half], "accuracy") == []


def test_no_records_are_no_overview() -> None:
    assert summarize_history([], "accuracy") == []


# --- noise ---------------------------------------------------------------------------------------


def test_the_noise_floor_is_the_pooled_deviation_of_repeats() -> None:
    """Squares around each cell's mean, over the degrees of freedom of all cells.

    (0.50, 0.54): mean 0.52, squares 2 x 0.02^2 = 0.0008, 1 degree of freedom;
    (0.70, 0.73, 0.76): mean 0.73, squares 2 x 0.03^2 = 0.0018, 2 degrees;
    so sqrt(0.0026 / 3). The cell that was trained once says nothing.
    """
    records = [
        *(record("a", "x", test, seed) for seed, test in enumerate((0.50, 0.54))),
        *(record("b", "x", test, seed) for seed, test in enumerate((0.70, 0.73, 0.76))),
        record("b", "y", 0.9),
    ]

    noise = noise_floor(records)

    assert noise.std == pytest.approx(math.sqrt(0.0026 / 3))
    assert (noise.cells, noise.runs) == (2, 5)


def test_the_same_score_twice_is_no_noise() -> None:
    assert noise_floor([record(seed=0), record(seed=1)]).std == 0.0


def test_repeats_with_the_same_seed_count() -> None:
    """Two processes that trained one cell at once, or a machine that is not deterministic."""
    assert noise_floor([record(test=0.4), record(test=0.6)]).std == pytest.approx(
        math.sqrt(2 * 0.1**2)
    )


@pytest.mark.parametrize(
    "other",
    [
        {"model_version": "2"},
        {"dataset_digest": "x2"},
        {"recipe": Recipe(learning_rate=0.5).to_json()},
        {"recipe": ""},
        {"dataset": "y"},
        {"model": "b"},
        {"final_score": math.nan},
        {"epochs": 2},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_more_than_the_seed_is_no_repeat(other: dict[str, object]) -> None:
    """Nor is a partial record: how far it got is not how far scores scatter."""
    different = replace(record(test=0.9), **other)  # type: ignore[arg-type]

    noise = noise_floor([record(), different])

    assert math.isnan(noise.std)
    assert (noise.cells, noise.runs) == (0, 0)


def test_without_records_the_noise_is_unknown() -> None:
    assert math.isnan(noise_floor([]).std)


# --- what is missing, and what cannot be learned --------------------------------------------------


def matrix(measured: np.ndarray) -> PerformanceMatrix:
    """Models ``m0``, ... and datasets ``d0``, ... with a score where measured."""
    rows, columns = measured.shape
    return PerformanceMatrix(
        tuple(f"m{i}" for i in range(rows)),
        tuple(f"d{j}" for j in range(columns)),
        read_only(np.where(measured, 0.5, np.nan)),
    )


def test_a_small_map_is_the_matrix_with_the_gaps_in_the_corner() -> None:
    """Rows and columns by how much is measured; models that lack nothing are one row."""
    blocks = coverage_map(matrix(np.array([[0, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1]], bool)))

    assert blocks.rows == (("m1", "m3"), ("m2",), ("m0",))
    assert blocks.columns == (("d1",), ("d2",), ("d0",))
    assert blocks.shares.tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


def test_a_large_map_has_every_name_once_and_the_same_coverage() -> None:
    """Blocks differ in size, so their shares count by their cells."""
    measured = np.random.default_rng(0).random((100, 37)) < 0.7
    measured[::5] = True

    blocks = coverage_map(matrix(measured), rows=7, columns=10)

    assert blocks.shares.shape == (7, 10)
    assert sorted(name for row in blocks.rows for name in row) == sorted(
        f"m{i}" for i in range(100)
    )
    assert sorted(name for column in blocks.columns for name in column) == sorted(
        f"d{j}" for j in range(37)
    )
    sizes = np.outer([len(row) for row in blocks.rows], [len(column) for column in blocks.columns])
    assert (blocks.shares * sizes).sum() == pytest.approx(measured.sum())
    assert (blocks.shares[0] == 1).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_map_of_nothing_and_of_everything(share: float) -> None:
    blocks = coverage_map(matrix(np.full((3, 2), bool(share))))

    assert (blocks.shares == share).all()


def test_a_history_that_can_teach_has_no_weakness() -> None:
    (overview,) = summarize_history([record(m, d) for m in "ab" for d in "xy"], "accuracy")

    assert overview.weaknesses == []


def test_weaknesses_are_named() -> None:
    def weaknesses(*cells: str) -> str:
        (overview,) = summarize_history([record(*cell) for cell in cells], "accuracy")
        return "; ".join(overview.weaknesses)

    assert "a is the only model" in weaknesses("ax", "ay")
    assert "x is the only dataset" in weaknesses("ax", "bx")
    assert weaknesses("ax", "bx", "by", "cz") == (
        "c share no dataset with any other model: they cannot be compared"
    )


def test_each_dataset_has_its_own_metric_by_the_primary_metrics() -> None:
    """Two accuracies and a correlation are scores as they are, and have the same noise floor."""
    records = [
        replace(record("a", "x", 0.50), metric="accuracy"),
        replace(record("a", "x", 0.54, seed=1), metric="accuracy"),
        replace(record("a", "y", 0.80), metric="spearman"),
    ]

    (overview,) = summarize_history(records, "primary", ["rmse"])

    assert (overview.metric, overview.label) == ("primary", "primary")
    assert overview.metrics == {"x": "accuracy", "y": "spearman"}
    assert overview.noise == noise_floor(records)
    accuracies = [summarize_history(records[:2], name)[0] for name in ("primary", "accuracy")]
    assert accuracies[0].label == "accuracy"
    assert accuracies[0].is_same(accuracies[1])
    assert not overview.is_same(accuracies[1])


def test_the_noise_of_metrics_without_a_common_unit_is_a_share_of_the_spread() -> None:
    """The noise of one dataset cannot be added to that of another in another unit.

    The means of the two models on x are 0.6 and 0.8: a spread of 0.1, and repeats of 0.4 and 0.8
    have a standard deviation of 0.4 / sqrt(2).
    """
    records = [
        replace(record("a", "x", 0.4), metric="accuracy"),
        replace(record("a", "x", 0.8, seed=1), metric="accuracy"),
        replace(record("b", "x", 0.8), metric="accuracy"),
        replace(record("a", "y", -3.0), metric="rmse"),
        replace(record("b", "y", -5.0), metric="rmse"),
    ]

    (overview,) = summarize_history(records, "primary", ["rmse"])

    assert overview.unit.is_share
    assert overview.noise.std == pytest.approx(0.4 / math.sqrt(2) / 0.1)
    assert overview.matrix.values[:, 1].tolist() == [-3.0, -5.0]  # scores stay as they are
    (by_name,) = summarize_history(records[3:], "rmse", ["rmse"])
    assert not by_name.unit.is_share


def test_records_that_no_analysis_compares_are_named() -> None:
    """Two recipes of one model stand in the overview, and in no matrix."""
    rare = replace(record("a", "z"), recipe=Recipe(learning_rate=0.5).to_json())

    (overview,) = summarize_history(
        [record("a", "x"), record("a", "y"), record("b", "x"), rare], "accuracy"
    )

    assert overview.notes[-1] == "1 records of rarer recipes are not used: a 1 of 3"
    assert overview.weaknesses == []
