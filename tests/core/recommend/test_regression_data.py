"""Facts of the data of a regression: its columns, and that no dataset describes itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from worlds import evidence, families, two_kinds

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.regression_data import (
    HISTORY_COLUMNS,
    encode_features,
    regression_data,
)

NAN = math.nan


def test_the_history_of_a_model_is_drawn_to_the_mean_by_one_dataset() -> None:
    """Z-scores of two models are 1 and -1; of d datasets the sum counts as of d + 1."""
    values = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]])
    matrix = PerformanceMatrix(("a", "b"), tuple("xyz"), values)

    got = regression_data(Evidence(matrix=matrix, clustering=cluster_models(matrix)))

    assert got.column_names[: len(HISTORY_COLUMNS)] == HISTORY_COLUMNS
    assert got.target_rows[:, 0] == pytest.approx([3 / 4, -3 / 4])
    assert got.target_rows[:, 2] == pytest.approx([1.0, -1.0])  # the median is not drawn
    for rows in got.recorded_rows:
        assert rows[:, 0] == pytest.approx([2 / 3, -2 / 3])


def test_the_median_is_not_moved_by_one_collapse() -> None:
    """A model that is best on four of five datasets and collapses on one keeps its median."""
    values = np.array([[0.9] * 5, [0.5] * 5, [0.1] * 5])
    values[0, 4] = 0.0
    matrix = PerformanceMatrix(tuple("abc"), tuple("vwxyz"), values)

    got = regression_data(Evidence(matrix=matrix, clustering=cluster_models(matrix)))

    assert got.target_rows[0, 2] > got.target_rows[1, 2] > got.target_rows[2, 2]
    assert got.target_rows[0, 0] < got.target_rows[0, 2]


@pytest.mark.parametrize("dataset", range(6))
def test_a_recorded_dataset_is_described_by_the_others_alone(dataset: int) -> None:
    """Its outcomes are what is to be predicted, so they must not be among the columns."""
    first = evidence()
    values = first.matrix.values.copy()
    values[:, dataset] = 2.0 * values[::-1, dataset]
    matrix = PerformanceMatrix(first.matrix.models, first.matrix.datasets, values)

    one, two = regression_data(first), regression_data(replace(first, matrix=matrix))

    np.testing.assert_allclose(one.recorded_rows[dataset], two.recorded_rows[dataset], atol=1e-12)
    assert (one.outcomes[dataset] != two.outcomes[dataset]).any()


def test_rows_of_a_dataset_are_centered_and_its_outcomes_are_z_scores() -> None:
    """How difficult a dataset is cannot order its models."""
    got = regression_data(evidence())

    for rows, outcomes in zip(got.recorded_rows, got.outcomes, strict=True):
        assert rows.mean(axis=0) == pytest.approx(np.zeros(rows.shape[1]), abs=1e-12)
        assert (outcomes.mean(), outcomes.std()) == pytest.approx((0.0, 1.0))


def test_weights_start_from_those_of_the_blend() -> None:
    """0.6 for the history and 0.3 for all scores together, on their z-scores."""
    first = evidence()
    two = replace(first, scores={"s": first.scores["s"], "t": first.scores["s"][::-1]})

    got = dict(
        zip(regression_data(two).column_names, regression_data(two).default_weights, strict=True)
    )

    assert {name: weight for name, weight in got.items() if weight} == pytest.approx(
        {"history": 0.6, "score s": 0.15, "score t": 0.15}
    )


def test_datasets_whose_score_nobody_computed_teach_nothing_where_scores_are_used() -> None:
    """A weight of the score cannot be learned from them; without scores all teach."""
    first = evidence()
    recorded = first.recorded_scores["s"].copy()
    recorded[:, :4] = NAN

    assert len(regression_data(replace(first, recorded_scores={"s": recorded})).recorded_rows) == 2
    assert len(regression_data(replace(first, scores={}, recorded_scores={})).recorded_rows) == 6


def test_models_of_which_nothing_is_known_are_marked() -> None:
    """One without history, score and features; a feature of any model makes all known."""
    values = np.array([[0.9, 0.1], [0.2, 0.5], [NAN, NAN]])
    matrix = PerformanceMatrix(tuple("abc"), ("x", "y"), values)
    bare = Evidence(matrix=matrix, clustering=cluster_models(matrix))

    assert regression_data(bare).is_known.tolist() == [1, 1, 0]
    scored = replace(bare, scores={"s": np.array([1.0, 2.0, 3.0])})
    assert regression_data(scored).is_known.tolist() == [1, 1, 1]
    described = replace(bare, model_features={"size": [1.0, 2.0, 3.0]})
    assert regression_data(described).is_known.tolist() == [1, 1, 1]


def test_labels_that_all_or_one_of_the_models_have_are_no_column() -> None:
    """They tell nobody apart, or one model from itself."""
    columns, names = encode_features({"kind": ["a", "a", "b", "b", "c"], "same": ["x"] * 5}, 5)

    assert names == ["kind=a", "kind=b"]
    assert columns.sum(axis=0) == pytest.approx([0.0, 0.0])


def test_no_more_than_the_eight_most_frequent_labels_are_columns() -> None:
    """Ties by name, so that the order of models does not matter."""
    labels = [letter for letter in "abcdefghij" for _ in range(2)] + ["j"]

    _, names = encode_features({"kind": [*labels]}, len(labels))

    assert names == [f"kind={letter}" for letter in "jabcdefg"]


def test_features_by_hand() -> None:
    """Labels become centered columns, wide numbers logarithms; unknown is the mean."""
    got, names = encode_features({"kind": ["a", "b", "a", ""], "size": [1.0, 1000.0, NAN, 1.0]}, 4)

    assert names == ["kind=a", "size"]
    np.testing.assert_allclose(got[:, 0], [0.5, -0.5, 0.5, -0.5])
    np.testing.assert_allclose(got[:, 1], np.array([-1, 2, 0, -1]) / math.sqrt(2))


def test_columns_without_difference_are_left_out() -> None:
    got, names = encode_features({"kind": ["a", "a"], "size": [3.0, 3.0], "none": [NAN, NAN]}, 2)

    assert (got.shape, names) == ((2, 0), [])


def test_features_of_models_do_not_bring_a_datasets_own_scores_in() -> None:
    """The rows of a recorded dataset do not change with its final scores."""
    first = families()
    values = first.matrix.values.copy()
    values[:, 2] = values[::-1, 2]
    other = Evidence(
        matrix=PerformanceMatrix(first.matrix.models, first.matrix.datasets, values),
        clustering=first.clustering,
        model_features=first.model_features,
    )

    np.testing.assert_allclose(
        regression_data(first).recorded_rows[2], regression_data(other).recorded_rows[2]
    )


def test_history_by_labels_is_the_mean_weighted_by_the_similarity_of_class_names() -> None:
    known = two_kinds()
    cells = regression_data(known)
    z = (known.matrix.values - known.matrix.values.mean(0)) / known.matrix.values.std(0)
    near = 1 - known.label_distance[-1, :-1]  # type: ignore[index]

    assert cells.column_names[-1] == "history by labels"
    np.testing.assert_allclose(cells.target_rows[:, -1], z @ near / near.sum())
    assert len(cells.column_names) == cells.target_rows.shape[1] == cells.recorded_rows[0].shape[1]
