"""Facts of targets: columns, their sums, distances between samples, and the metric of a task."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample_of

from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION
from mlflow_recall.core.scores.targets import ClassTargets, LabelTargets, NumberTargets, Targets
from mlflow_recall.errors import ScoreInputError

KINDS: dict[str, type[Targets]] = {
    CLASSIFICATION: ClassTargets,
    MULTILABEL: LabelTargets,
    REGRESSION: NumberTargets,
}
ALL_KINDS = pytest.mark.parametrize("task", KINDS)


def targets_of(task: str, n: int = 30) -> Targets:
    return KINDS[task].encode(sample_of(task, n, 2)[1])


@ALL_KINDS
def test_what_is_known_of_columns_is_that_of_the_dense_matrix(task: str) -> None:
    """Classes take a shorter way."""
    targets = targets_of(task)
    rows = np.random.default_rng(0).normal(size=(30, 4))
    Y = targets.columns

    assert targets.sums(rows) == pytest.approx(Y.T @ rows)
    assert targets.counts == pytest.approx(Y.sum(axis=0))
    assert targets.means == pytest.approx(Y.mean(axis=0))
    assert targets.totals == pytest.approx(30 * Y.var(axis=0))


@ALL_KINDS
def test_some_of_the_samples_are_as_if_the_others_had_never_been(task: str) -> None:
    """Classes and labels that are gone are no columns, numbers have the scale of those left."""
    values = sample_of(task, 30, 2)[1]
    index = np.array([7, 3, 20, 11, 29])

    part, fresh = targets_of(task).select_rows(index), KINDS[task].encode(values[index])

    np.testing.assert_allclose(part.columns, fresh.columns, atol=1e-12)


@ALL_KINDS
def test_the_targets_themselves_are_perfect_predictions(task: str) -> None:
    targets = targets_of(task)
    some = np.array([3, 4, 5, 6, 7, 8])

    assert targets.evaluate(targets.columns) == pytest.approx(1.0)
    assert targets.evaluate(targets.columns[some], some) == pytest.approx(1.0)


@ALL_KINDS
def test_distances_are_symmetric_and_zero_to_itself(task: str) -> None:
    distances = targets_of(task).distances(np.arange(30))

    np.testing.assert_array_equal(distances, distances.T)
    assert not distances.diagonal().any()
    assert distances.any()


def test_classes_are_one_hot() -> None:
    targets = ClassTargets.encode(np.array(["b", "a", "b"]))

    assert targets.labels.tolist() == [1, 0, 1]
    assert targets.columns.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert targets.distances(np.arange(3)).tolist() == [
        [False, True, False],
        [True, False, True],
        [False, True, False],
    ]
    assert targets.evaluate(np.array([[0.1, 0.9], [0.4, 0.6], [0.2, 0.3]])) == 2 / 3


def test_labels_that_do_not_vary_are_no_columns() -> None:
    labels = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 1]])

    assert LabelTargets.encode(labels).columns.tolist() == [[0.0], [1.0], [1.0]]
    with pytest.raises(ScoreInputError, match="got none of 2"):
        LabelTargets.encode(labels[:, :2])
    with pytest.raises(ScoreInputError, match="got none of 1"):
        LabelTargets.encode(labels).select_rows(np.array([1, 2]))


def test_distances_of_label_vectors_by_hand() -> None:
    """Two without any label are alike; one of all labels correlates with nothing."""
    labels = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0] * 4, [0] * 4, [1] * 4])
    some = 1 - 1 / np.sqrt(3)  # of (3, -1, -1, -1) / √12 and (1, 1, -1, -1) / 2

    got = LabelTargets(labels.astype(float)).distances(np.arange(6))

    assert got == pytest.approx(
        np.array(
            [
                [0, some, 2 - some, 1, 1, 1],
                [some, 0, 2, 1, 1, 1],
                [2 - some, 2, 0, 1, 1, 1],
                [1, 1, 1, 0, 0, 1],
                [1, 1, 1, 0, 0, 1],
                [1, 1, 1, 1, 1, 0],
            ]
        )
    )


def test_average_precision_by_hand() -> None:
    """Of the first label 1/1 and 2/3; of the second 1/2, since equal predictions have no order."""
    targets = LabelTargets.encode(np.array([[1, 0], [0, 1], [1, 0]]))
    predicted = np.array([[0.9, 0.1], [0.8, 0.4], [0.7, 0.4 + 1e-15]])

    assert targets.evaluate(predicted) == pytest.approx(((1 / 1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_samples_without_labels_have_no_precision() -> None:
    targets = LabelTargets.encode(np.array([[1], [0], [0]]))

    with pytest.raises(ScoreInputError, match="not defined for the 2 compared samples: pass more"):
        targets.evaluate(np.zeros((2, 1)), np.array([1, 2]))


def test_numbers_are_in_units_of_their_standard_deviation() -> None:
    """Whatever the unit, also one whose squares are not finite."""
    expected = np.array([-1.0, 0.0, 1.0]) / np.sqrt(2 / 3)

    for numbers in ([1.0, 2.0, 3.0], [-1e300, 0.0, 1e300], [1e-300, 2e-300, 3e-300]):
        assert NumberTargets.encode(np.array(numbers)).columns[:, 0] == pytest.approx(expected)
    uncentered = NumberTargets.encode(np.array([1.0, 2.0, 3.0]), center=False).columns[:, 0]
    assert uncentered == pytest.approx(np.array([1, 2, 3]) / np.sqrt(14 / 3))


def test_numbers_that_do_not_vary_are_refused() -> None:
    numbers = NumberTargets.encode(np.array([1.0, 1.0, 3.0]))

    with pytest.raises(ScoreInputError, match="target 0 is constant"):
        numbers.select_rows(np.array([0, 1]))
    with pytest.raises(ScoreInputError, match="target 1 is constant"):
        NumberTargets.encode(np.array([[1.0, 7.0], [2.0, 7.0]]))


def test_correlation_by_hand() -> None:
    """Ranks 1 2 3 4 and 1 3 2 4; a constant prediction correlates with nothing."""
    numbers = NumberTargets.encode(np.array([1.0, 2.0, 3.0, 10.0]))

    assert numbers.evaluate(np.array([[1.0], [3.0], [2.0], [4.0]])) == pytest.approx(0.8)
    assert numbers.evaluate(np.full((4, 1), 2.0)) == 0.0
    assert numbers.distances(np.array([0, 3]))[0, 1] == pytest.approx(9 / np.std([1, 2, 3, 10]))
