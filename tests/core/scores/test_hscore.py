"""Facts of the regularized H-score: its definition and its closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, unequal
from sklearn.covariance import LedoitWolf

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import hscore


def slow_hscore(features: FloatArray, labels: AnyArray) -> float:
    """Definition with dense covariances, class by class; α as scikit-learn has it."""
    n, d = features.shape
    estimate = LedoitWolf().fit(features)
    between = np.zeros((d, d))
    for c in set(labels.tolist()):
        rows = features[labels == c]
        off = rows.mean(axis=0) - features.mean(axis=0)
        between += len(rows) / n * np.outer(off, off)
    inverse = np.linalg.inv(estimate.covariance_)
    return float(np.trace(inverse @ ((1 - estimate.shrinkage_) * between)))


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45), (45, 45)])
@pytest.mark.parametrize("make", [sample, unequal])
def test_the_score_is_its_definition(n: int, d: int, make: object) -> None:
    features, labels = make(n, d)  # type: ignore[operator]

    assert hscore(features, labels) == pytest.approx(slow_hscore(features, labels), rel=1e-9)


def test_one_dimension_scores_the_share_of_variance_between_the_classes() -> None:
    """A single variance has nothing to be shrunk towards, so the score is the correlation ratio."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (labels + 0.5 * rng.normal(size=60))[:, None]
    means = np.array([features[labels == c].mean() for c in range(3)])

    got = hscore(features, labels)

    assert got == pytest.approx(means.var() / features.var())
    assert got == pytest.approx(slow_hscore(features, labels))
    assert hscore(1e-6 * features + 7.0, labels) == pytest.approx(got)


def test_one_dimension_that_is_the_label_scores_one_less_than_the_classes() -> None:
    labels = np.arange(40) % 2

    assert hscore(labels[:, None].astype(float), labels) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_shrinkage_never_exceeds_all_of_the_covariance(seed: int) -> None:
    """Few samples of a sphere: noise is more than what tells the axes apart, so nothing is left.

    Uncapped, the shrunk covariance would have eigenvalues below zero.
    """
    rng = np.random.default_rng(seed)
    corners = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    features = np.repeat(corners, 2, axis=0) + 0.02 * rng.normal(size=(8, 2))
    labels = np.arange(8) // 2 > 0  # the first corner against the others

    assert LedoitWolf().fit(features).shrinkage_ == 1.0
    assert hscore(features, labels) == slow_hscore(features, labels) == 0.0
    assert hscore(np.repeat(corners, 2, axis=0), labels) == 0.0  # as of all its neighbors


def test_it_is_no_constant_where_samples_are_few() -> None:
    """Without shrinkage it is c - 1 = 2 for any labels as soon as n <= d + 1."""
    features, labels = sample(40, 60, apart=1.0)
    centered = features - features.mean(axis=0)
    plain = []
    for y in (labels, np.random.default_rng(0).permutation(labels)):
        means = np.array([centered[y == c].mean(axis=0) for c in range(3)])[y]
        plain.append(np.trace(np.linalg.pinv(centered.T @ centered) @ means.T @ means))

    assert plain == pytest.approx([2.0, 2.0])
    assert hscore(features, labels) > hscore(features, y) + 0.5


def test_features_that_are_the_labels_come_close_to_one_less_than_the_classes() -> None:
    labels = np.arange(4000) % 4

    assert hscore(np.eye(4)[labels], labels) == pytest.approx(3.0, abs=0.01)


def test_constant_features_score_nothing() -> None:
    assert hscore(np.full((6, 2), 0.3), [0, 1, 0, 1, 0, 1]) == 0.0
