"""Facts of PARC: its definition, ties, its cap, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from labeled import sample, unequal
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import parc
from mlflow_recall.errors import ScoreInputError


def slow_parc(features: FloatArray, labels: AnyArray) -> float:
    """Definition pair by pair on the dense matrices."""
    n, d = features.shape
    reduced = PCA(min(32, n - 1, d)).fit_transform(features)
    reduced = StandardScaler().fit_transform(reduced)
    one_hot = (labels[:, None] == np.unique(labels)).astype(float)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    first, second = 1 - np.corrcoef(reduced), 1 - np.corrcoef(one_hot)
    return float(
        100 * spearmanr([first[p] for p in pairs], np.round([second[p] for p in pairs], 9))[0]
    )


@pytest.mark.parametrize(("n", "d"), [(50, 8), (60, 50), (30, 45)])
def test_the_score_is_its_definition(n: int, d: int) -> None:
    for features, labels in (sample(n, d), unequal(n, d)):
        assert parc(features, labels) == pytest.approx(slow_parc(features, labels), abs=1e-6)


def test_duplicates_tie() -> None:
    features, labels = sample(20, 6)
    twice = np.tile(features, (2, 1)), np.tile(labels, 2)
    order = np.random.default_rng(0).permutation(40)

    got = parc(*twice)

    assert parc(twice[0][order], twice[1][order]) == pytest.approx(got, abs=1e-9)


def test_classes_far_apart_have_a_closed_form() -> None:
    """All pairs of one class come first: 100 √(3 p (1 - p)) for a share p of the others."""
    features, labels = sample(80, 8, classes=40, apart=1e5)
    pairs = 80 * 79 / 2
    share = 1 - 40 / pairs

    expected = 100 * np.sqrt(3 * share * (1 - share) * pairs**2 / (pairs**2 - 1))

    assert parc(features, labels) == pytest.approx(expected)


@pytest.mark.parametrize("d", [1, 3])
def test_features_that_tell_no_pair_apart_score_nothing(d: int) -> None:
    """One dimension has no correlation across dimensions."""
    features = np.zeros((9, 3)) if d == 3 else np.arange(9.0)[:, None]

    assert parc(features, np.arange(9) % 3) == 0.0


def test_samples_beyond_the_cap_are_drawn_by_seed() -> None:
    features, labels = sample(300, 10, apart=1.0)
    whole = parc(features, labels)
    drawn = [parc(features, labels, max_samples=150, seed=seed) for seed in (0, 0, 1, 2)]

    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3
    assert parc(features, labels, max_samples=150, seed=1) == pytest.approx(whole, abs=5)
    assert parc(features, labels, max_samples=300) == whole


def test_what_it_is_not_defined_for_is_refused() -> None:
    features, labels = sample(40, 3)
    few = np.r_[np.zeros(2), np.arange(1, 39)]

    with pytest.raises(ScoreInputError, match="max_samples: expected at least 3, got 2"):
        parc(features, labels, max_samples=2)
    with pytest.raises(ScoreInputError, match="all pairs of the 5 compared samples differ"):
        parc(features, few, max_samples=5)
