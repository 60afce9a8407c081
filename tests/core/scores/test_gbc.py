"""Facts of GBC: its definition and its closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labeled import sample, unequal
from sklearn.decomposition import PCA

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import gbc


def slow_gbc(features: FloatArray, labels: AnyArray) -> float:
    """Definition pair by pair, with k x k covariances and their determinants."""
    n, d = features.shape
    k = min(64, n - 1, d)
    rows = PCA(k).fit_transform(features)
    groups = [rows[labels == c] for c in np.unique(labels)]
    squares = [((group - group.mean(axis=0)) ** 2).sum() for group in groups]
    pooled = sum(squares) / sum(len(group) - 1 for group in groups) / k
    total = 0.0
    for a, first in enumerate(groups):
        for b, second in enumerate(groups):
            if a == b:
                continue
            S = [
                np.eye(k)
                * (squares[i] / (len(groups[i]) - 1) / k if len(groups[i]) > 1 else pooled)
                for i in (a, b)
            ]
            mean = (S[0] + S[1]) / 2
            apart = first.mean(axis=0) - second.mean(axis=0)
            logs = [np.linalg.slogdet(M)[1] for M in (mean, *S)]
            distance = apart @ np.linalg.inv(mean) @ apart / 8 + (logs[0] - sum(logs[1:]) / 2) / 2
            total -= math.exp(-distance)
    return total


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45), (100, 80)])
def test_the_score_is_its_definition(n: int, d: int) -> None:
    for features, labels in (sample(n, d, apart=0.3), unequal(n, d)):
        assert gbc(features, labels) == pytest.approx(slow_gbc(features, labels), rel=1e-8)


def test_classes_that_are_alike_overlap_wholly() -> None:
    """Each of the six ordered pairs counts one."""
    features, _ = sample(20, 3)

    assert gbc(np.tile(features, (3, 1)), np.repeat([0, 1, 2], 20)) == pytest.approx(-6.0)
    assert gbc(np.zeros((9, 2)), np.arange(9) % 3) == -6.0


def test_classes_without_variance_do_not_overlap() -> None:
    labels = np.arange(12) % 3

    assert gbc(np.eye(3)[labels], labels) == 0.0
