"""Facts of TransRate: its definition, unequal classes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, unequal

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import transrate
from mlflow_recall.errors import ScoreInputError


def slow_transrate(features: FloatArray, labels: AnyArray, distortion: float) -> float:
    """Definition with d x d determinants, class by class."""
    centered = features - features.mean(axis=0)

    def rate(rows: FloatArray) -> float:
        n, d = rows.shape
        return float(np.linalg.slogdet(np.eye(d) + rows.T @ rows / (n * distortion))[1]) / 2

    classes = [centered[labels == c] for c in set(labels.tolist())]
    return rate(centered) - sum(len(rows) / len(labels) * rate(rows) for rows in classes)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45), (60, 40)])
@pytest.mark.parametrize("distortion", [1e-4, 1.0])
def test_the_score_is_its_definition(n: int, d: int, distortion: float) -> None:
    for features, labels in (sample(n, d), unequal(n, d)):
        assert transrate(features, labels, distortion=distortion) == pytest.approx(
            slow_transrate(features, labels, distortion), rel=1e-8
        )


def test_features_that_are_the_labels_have_a_closed_form() -> None:
    """Of c classes at right angles: c - 1 directions, and one in each class."""
    labels = np.arange(40) % 4
    expected = 3 / 2 * np.log1p(1 / (4 * 1e-4)) - 1 / 2 * np.log1p(0.75 / 1e-4)

    assert transrate(np.eye(4)[labels], labels) == pytest.approx(expected)


def test_the_distance_of_two_classes_of_one_size_does_not_count() -> None:
    """Their centered means are opposite, so FᵀF of either is that of both."""
    labels = np.arange(40) % 2

    assert transrate(100.0 * labels[:, None], labels) == pytest.approx(0.0, abs=1e-9)


def test_constant_features_score_nothing() -> None:
    assert transrate(np.full((6, 2), 0.3), [0, 1, 0, 1, 0, 1]) == 0.0


@pytest.mark.parametrize("distortion", [0.0, -1.0, float("nan")])
def test_a_distortion_that_is_not_positive_is_refused(distortion: float) -> None:
    with pytest.raises(ScoreInputError, match="distortion: expected a positive number"):
        transrate(*sample(20, 3), distortion=distortion)
