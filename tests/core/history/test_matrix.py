"""Facts of ``core.matrix``: cells, means and strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError

NAN = math.nan


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i}" for i in range(models)), tuple(f"d{i}" for i in range(datasets)), array
    )


def holed(seed: int, models: int = 6, datasets: int = 5) -> FloatArray:
    rng = np.random.default_rng(seed)
    values = rng.random((models, datasets))
    values[rng.random(values.shape) < 0.3] = NAN
    return values


def test_repeats_are_averaged_and_the_incomplete_left_out() -> None:
    """A run that is short of its recipe's epochs, or untested, has no final score."""
    records = [
        Record(model="b", dataset="y", validation_scores=(0.1, 0.2), final_score=0.6, epochs=2),
        Record(model="b", dataset="y", validation_scores=(0.1, 0.2), final_score=0.8, epochs=2),
        Record(model="b", dataset="x", validation_scores=(0.1,), final_score=0.9, epochs=2),
        Record(model="a", dataset="x", validation_scores=(0.1, 0.2), final_score=NAN, epochs=2),
        Record(model="a", dataset="z", validation_scores=(), final_score=0.5, epochs=0),
    ]

    got = PerformanceMatrix.from_records(records)

    assert (got.models, got.datasets) == (("a", "b"), ("y", "z"))
    np.testing.assert_allclose(got.values, [[NAN, 0.5], [0.7, NAN]])


def test_no_records_make_an_empty_matrix_that_answers_everything() -> None:
    got = PerformanceMatrix.from_records([])

    assert (got.models, got.datasets, got.coverage) == ((), (), 0.0)
    assert got.mean_score.shape == got.mean_z_score.shape == got.mean_centered_score.shape == (0,)
    assert got.select_models([]).values.shape == got.without_dataset("x").values.shape == (0, 0)


def test_values_are_a_read_only_copy() -> None:
    source = np.ones((1, 2))
    got = matrix(source)

    source[:] = 0.0

    assert got.values.tolist() == [[1.0, 1.0]]
    with pytest.raises(ValueError, match="read-only"):
        got.values[0, 0] = 3.0


@pytest.mark.parametrize(
    ("models", "datasets", "message"),
    [
        (("a",), ("x", "y"), r"expected values \(1, 2\), got \(2, 2\)"),
        (("a", "a"), ("x", "y"), "every model once, got twice: a"),
        (("a", "b"), ("y", "y"), "every dataset once, got twice: y"),
    ],
)
def test_names_that_do_not_fit_are_refused(
    models: tuple[str, ...], datasets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(HistoryError, match=message):
        PerformanceMatrix(models, datasets, np.zeros((2, 2)))


def test_taking_keeps_the_order_asked_for_and_pads_the_unknown_with_nan() -> None:
    got = matrix([[1, 2], [3, 4]]).select_models(["m1", "new", "m0"])

    assert got.models == ("m1", "new", "m0")
    np.testing.assert_array_equal(got.values, [[3, 4], [NAN, NAN], [1, 2]])


def test_leaving_a_dataset_out_leaves_the_others_untouched() -> None:
    full = matrix([[1, 2, 3]])

    assert full.without_dataset("d1").datasets == ("d0", "d2")
    assert full.without_dataset("d1").values.tolist() == [[1.0, 3.0]]
    assert full.without_dataset("d0").without_dataset("d1").without_dataset("d2").values.shape == (
        1,
        0,
    )
    np.testing.assert_array_equal(full.without_dataset("nowhere").values, full.values)


def test_coverage_is_the_share_of_measured_cells() -> None:
    assert matrix([[1, NAN], [NAN, NAN]]).coverage == 0.25


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_strength_is_the_mean_z_score_over_measured_datasets(seed: int) -> None:
    values = holed(seed)
    expected = np.full(len(values), NAN)
    for i, row in enumerate(values):
        z = []
        for j, value in enumerate(row):
            column = [v for v in values[:, j] if not math.isnan(v)]
            if not math.isnan(value):
                spread = math.sqrt(
                    sum((v - sum(column) / len(column)) ** 2 for v in column) / len(column)
                )
                z.append((value - sum(column) / len(column)) / spread if spread > 1e-12 else 0.0)
        if z:
            expected[i] = sum(z) / len(z)

    np.testing.assert_allclose(matrix(values).mean_z_score, expected, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_strength_does_not_see_how_hard_or_how_spread_a_dataset_is(seed: int) -> None:
    """A z-score is free of the dataset's mean and unit."""
    values = holed(seed)
    rng = np.random.default_rng(seed)
    moved = values * np.exp(rng.normal(size=values.shape[1])) + rng.normal(size=values.shape[1])

    np.testing.assert_allclose(matrix(moved).mean_z_score, matrix(values).mean_z_score, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 123456.7, 1e9 + 0.3])
def test_a_dataset_on_which_all_agree_says_nothing(value: float) -> None:
    """The rounding of a mean is no spread, at whatever magnitude."""
    assert matrix([[value, 0.1], [value, 0.2], [value, 0.3]]).mean_z_score == pytest.approx(
        [-math.sqrt(3 / 8), 0.0, math.sqrt(3 / 8)]
    )


def test_advantage_orders_as_the_mean_where_every_cell_is_measured() -> None:
    full = matrix(np.random.default_rng(1).random((9, 4)))

    assert np.argsort(full.mean_centered_score).tolist() == np.argsort(full.mean_score).tolist()


def test_advantage_is_fair_to_a_model_that_met_only_hard_datasets() -> None:
    """m2 beats everyone on the hard dataset, though its mean is the lowest."""
    got = matrix([[0.9, 0.2], [0.8, 0.1], [NAN, 0.3]])

    assert got.mean_score.argmin() == 2
    assert got.mean_centered_score.argmax() == 2


def test_a_model_never_measured_has_no_summary() -> None:
    got = matrix([[0.5, 0.6], [NAN, NAN]])

    assert np.isnan([got.mean_score[1], got.mean_centered_score[1], got.mean_z_score[1]]).all()
    assert not np.isnan([got.mean_score[0], got.mean_centered_score[0], got.mean_z_score[0]]).any()
