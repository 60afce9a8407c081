"""Facts of the checks: what every score accepts, and the one line that it refuses others with."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.scores.inputs import (
    check_probabilities,
    check_repeated,
    check_rows,
    check_samples,
    class_sums,
    label_entropy,
)
from mlflow_recall.errors import ScoreInputError


def test_labels_are_encoded_in_their_order_whatever_they_are() -> None:
    """Gaps, strings and booleans; rows become float64."""
    for labels in ([30, -1, 30, 7], ["c", "a", "c", "b"], [2.5, 0.0, 2.5, 1.0]):
        rows, encoded = check_samples("embeddings", np.eye(4, dtype=np.float16), labels)

        assert encoded.tolist() == [2, 0, 2, 1]
        assert rows.dtype == np.float64


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (np.eye(3), [0, 1], r"expected embeddings \(n, d\) and labels \(n,\), got \(3, 3\) and"),
        (np.eye(2), [[0], [1]], r"got \(2, 2\) and \(2, 1\)"),
        (np.eye(2), [0, math.nan], "labels of 1 samples are missing: leave such samples out"),
        (np.eye(3), ["a", None, None], "labels of 2 samples are missing"),
        (np.eye(2), [0, 0], "expected labels of two classes or more, got 1"),
        (np.array([["x"], ["y"]]), [0, 1], "expected numbers as embeddings, got"),
        (np.array([[1j], [2j]]), [0, 1], "expected real numbers as embeddings, got complex ones"),
        (np.array([[0.0], [math.inf]]), [0, 1], "row 1 of embeddings is not finite"),
    ],
)
def test_other_samples_are_refused(rows: object, labels: object, message: str) -> None:
    with pytest.raises(ScoreInputError, match=message):
        check_samples("embeddings", rows, labels)  # type: ignore[arg-type]


def test_labels_of_two_kinds_are_refused() -> None:
    """Numbers and strings have no common order."""
    labels = np.array([0, "a"], dtype=object)

    with pytest.raises(ScoreInputError, match="expected labels of one kind"):
        check_samples("embeddings", np.eye(2), labels)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (2, 0)])
def test_rows_are_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScoreInputError, match=r"expected targets \(n, d\), got"):
        check_rows("targets", np.zeros(shape))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.7, 0.2], "sum 0.900, min 0.200; pass softmax outputs, not logits"),
        ([1.2, -0.2], "sum 1.000, min -0.200"),
        ([3.0, 1.0], "sum 4.000, min 1.000"),
    ],
)
def test_logits_are_no_probabilities(row: list[float], message: str) -> None:
    """Accepted silently, they give LEEP above its greatest value, 0."""
    rows = [[0.5, 0.5], [0.5, 0.5], row]

    with pytest.raises(
        ScoreInputError, match=f"row 2 of probabilities is no distribution: {message}"
    ):
        check_probabilities(rows, [0, 1, 1])


def test_rounding_of_single_precision_is_no_reason_to_refuse() -> None:
    rows = np.array([[0.3337, 0.6667], [0.5, 0.5], [0.0, 1.0]])

    checked, labels = check_probabilities(rows, [5, 5, 2])

    assert checked.tolist() == rows.tolist()
    assert labels.tolist() == [1, 1, 0]


def test_some_class_must_occur_twice() -> None:
    """Nothing can be learned from classes of one sample."""
    check_repeated(np.array([0, 1, 1]))
    with pytest.raises(ScoreInputError, match="got 3 samples of as many classes: pass more"):
        check_repeated(np.array([2, 0, 1]))


def test_sums_by_class_are_those_of_their_rows() -> None:
    """Classes that do not occur get a row of zeros where their number is given."""
    rows = np.arange(8.0).reshape(4, 2)

    assert class_sums(rows, np.array([1, 0, 1, 1])).tolist() == [[2, 3], [10, 13]]
    assert class_sums(rows, np.array([1, 0, 1, 1]), classes=3)[2].tolist() == [0, 0]


def test_entropy_of_labels_by_hand() -> None:
    """Of k equal classes log k; of one class nothing."""
    assert label_entropy([0, 1, 2, 3]) == pytest.approx(math.log(4))
    assert label_entropy(["a", "a", "b", "a"]) == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )
    assert label_entropy([1, 1]) == 0
