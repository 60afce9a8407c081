"""Facts of kNN: its definition, duplicates, its cap, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from labeled import sample, unequal

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import knn
from mlflow_recall.errors import ScoreInputError


def slow_knn(features: FloatArray, labels: AnyArray, k: int) -> float:
    """Each sample against all others, one by one."""
    right = 0
    for i, row in enumerate(features):
        others = [j for j in range(len(features)) if j != i]
        near = sorted(others, key=lambda j: float(np.linalg.norm(features[j] - row)))[:k]
        votes = [labels[j] for j in near]
        right += max(votes, key=lambda c: (votes.count(c), -votes.index(c))) == labels[i]
    return right / len(features)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 45), (520, 3)])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_score_is_its_definition(n: int, d: int, k: int) -> None:
    for features, labels in (sample(n, d), unequal(n, d)):
        assert knn(features, labels, neighbors=k) == slow_knn(features, labels, k)


def test_a_sample_is_not_its_own_neighbor_but_its_duplicate_is() -> None:
    features, labels = sample(40, 3, apart=0.0)
    twice = np.tile(features, (2, 1)) + 100.0

    assert knn(features, labels, neighbors=1) < 0.7
    assert knn(twice, np.tile(labels, 2), neighbors=1) == 1.0
    assert knn(twice, np.r_[labels, (labels + 1) % 3], neighbors=1) == 0.0


def test_sorted_labels_gain_nothing_from_equal_distances() -> None:
    """Neighbors at one distance are not taken in the order of the samples."""
    labels = np.repeat([0, 1, 2], 100)

    assert knn(np.zeros((300, 2)), labels) < 0.5


def test_more_neighbors_than_samples_are_all_the_others() -> None:
    features, labels = sample(9, 2)

    assert knn(features, labels, neighbors=50) == knn(features, labels, neighbors=8)


def test_samples_beyond_the_cap_are_drawn_by_seed() -> None:
    """Neighbors are sought among all; only those that are judged are drawn."""
    features, labels = sample(600, 5, apart=1.0)
    whole = knn(features, labels)
    drawn = np.sort(np.random.default_rng(3).choice(600, 300, replace=False))
    near = np.linalg.norm(features[drawn][:, None] - features, axis=2)
    near[np.arange(300), drawn] = np.inf
    votes = np.eye(3)[labels[np.argsort(near, axis=1)[:, :5]]].sum(axis=1)
    sure = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]  # no tie of two classes
    right = votes.argmax(axis=1) == labels[drawn]

    got = 300 * knn(features, labels, max_samples=300, seed=3)

    assert right[sure].sum() <= round(got) <= right[sure].sum() + (~sure).sum()
    assert knn(features, labels, max_samples=600) == whole
    assert knn(features, labels, max_samples=300, seed=3) == pytest.approx(whole, abs=0.08)


@pytest.mark.parametrize("wrong", [{"neighbors": 0}, {"max_samples": 0}])
def test_what_it_is_not_defined_for_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ScoreInputError, match="neighbors and max_samples: expected at least 1"):
        knn(*sample(20, 3), **wrong)
