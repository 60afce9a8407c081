"""Facts of LFC: its definition and its closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, unequal

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import lfc


def slow_lfc(features: FloatArray, labels: AnyArray) -> float:
    """Definition with n x n matrices and the centering matrix."""
    n = len(labels)
    centering = np.eye(n) - 1 / n
    rows = [row / np.linalg.norm(row) for row in centering @ features]
    kernel = np.array([[a @ b for b in rows] for a in rows])
    similar = np.array([[1.0 if a == b else -1.0 for b in labels] for a in labels])
    kernel, similar = centering @ kernel @ centering, centering @ similar @ centering
    return float((kernel * similar).sum() / np.linalg.norm(kernel) / np.linalg.norm(similar))


@pytest.mark.parametrize(("n", "d"), [(40, 8), (30, 45)])
def test_the_score_is_its_definition(n: int, d: int) -> None:
    for features, labels in (sample(n, d), unequal(n, d)):
        assert lfc(features, labels) == pytest.approx(slow_lfc(features, labels), rel=1e-9)


def test_features_that_are_the_labels_score_one() -> None:
    labels = np.arange(40) % 5

    assert lfc(np.eye(5)[labels], labels) == pytest.approx(1.0)


def test_a_long_row_does_not_decide() -> None:
    """Once centered, a row tells by its direction only."""
    features, labels = sample(200, 10, apart=1.0)
    base = lfc(features, labels)
    features[np.flatnonzero(labels == 0)[0]] *= 50

    assert lfc(features, labels) == pytest.approx(base, rel=0.35)


def test_constant_features_score_nothing() -> None:
    assert lfc(np.full((6, 2), 0.3), [0, 1, 0, 1, 0, 1]) == 0.0
