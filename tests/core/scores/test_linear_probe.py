"""Facts of the linear probe: leave-one-out in closed form is leave-one-out."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, unequal

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import linear_probe


def slow_linear(features: FloatArray, labels: AnyArray) -> float:
    """The best penalty by generalized cross-validation, then n fits that lack one sample each."""
    n, d = features.shape
    X = features - features.mean(axis=0)
    Y = (labels[:, None] == np.unique(labels)).astype(float)
    shares = Y.mean(axis=0)
    largest = float(np.linalg.eigvalsh(X.T @ X)[-1])

    def error(penalty: float) -> float:
        hat = X @ np.linalg.solve(X.T @ X + penalty * np.eye(d), X.T)
        residual = ((Y - shares - hat @ (Y - shares)) ** 2).sum()
        return float(residual / (n - 1 - np.trace(hat)) ** 2)

    best = min((largest * 10.0**x for x in np.linspace(-7, 2, 37)), key=error)
    right = 0
    for i in range(n):
        rest = np.arange(n) != i
        weights = np.linalg.solve(
            X[rest].T @ X[rest] + best * np.eye(d), X[rest].T @ (Y - shares)[rest]
        )
        right += int((X[i] @ weights + shares).argmax() == Y[i].argmax())
    return float(right / n)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45), (40, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_its_definition(n: int, d: int, seed: int) -> None:
    for features, labels in (sample(n, d, apart=0.4, seed=seed), unequal(n, d, seed=seed)):
        assert linear_probe(features, labels) == slow_linear(features, labels)


def test_features_that_are_the_labels_score_one() -> None:
    labels = np.arange(40) % 4

    assert linear_probe(np.eye(4)[labels], labels) == 1.0


def test_constant_features_score_the_largest_share() -> None:
    """Not zero, as leave-one-out with the left-out sample's class share would have it."""
    assert linear_probe(np.ones((10, 3)), [0, 0, 0, 0, 0, 0, 1, 1, 1, 2]) == pytest.approx(0.6)


@pytest.mark.parametrize("d", [20, 400])
def test_features_that_know_nothing_score_chance(d: int) -> None:
    got = [linear_probe(*sample(200, d, classes=4, apart=0.0, seed=seed)) for seed in range(10)]

    assert np.mean(got) == pytest.approx(0.25, abs=0.04)
