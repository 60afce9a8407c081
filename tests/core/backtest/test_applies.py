"""Facts of the test whether a history applies: its measures, slowly, and who counts."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.history.matrix import PerformanceMatrix

NAN = math.nan


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(models)), tuple(f"d{j}" for j in range(datasets)), array
    )


def slow_strength(values: list[list[float]], without: int) -> list[float]:
    """Mean z-score of each model over the other datasets."""
    found: list[list[float]] = [[] for _ in values]
    for j in range(len(values[0])):
        known = {i: row[j] for i, row in enumerate(values) if not math.isnan(row[j])}
        mean, spread = fmean(known.values()), pstdev(known.values())
        for i, value in known.items():
            if j != without:
                found[i].append((value - mean) / spread)
    return [fmean(row) if row else NAN for row in found]


def slow_gain(strength: list[float], truth: list[float], size: int) -> float:
    """Mean regret of the best of all sets of this size, less that of the strongest models."""
    known = [i for i, value in enumerate(truth) if not math.isnan(value)]
    best = max(truth[i] for i in known)
    first = sorted(known, key=lambda i: -strength[i])[:size]
    chance = fmean(best - max(truth[i] for i in some) for some in combinations(known, size))
    return chance - (best - max(truth[i] for i in first))


@given(seed=st.integers(0, 2**32 - 1), models=st.sampled_from([6, 9, 15]))
@settings(max_examples=10, deadline=None)
def test_agreement_and_gain_are_their_slow_definition(seed: int, models: int) -> None:
    """One, three and five picks count as far as they are no more than a third of the models."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(models, 1)) + rng.normal(size=(models, 5))
    if models > 6:
        values[rng.integers(models), rng.integers(5)] = NAN

    got = permutation_test(matrix(values))

    sizes = [k for k in (1, 3, 5) if k <= models / 3]
    assert got.sizes == tuple(sizes)
    for j in range(5):
        strength = slow_strength(values.tolist(), j)
        known = ~np.isnan(values[:, j])
        rho = spearmanr(np.array(strength)[known], values[known, j]).statistic
        gains = [slow_gain(strength, values[:, j].tolist(), k) for k in sizes]
        assert got.spearman[j] == pytest.approx(rho)
        assert got.gain[j] == pytest.approx(fmean(gains))


def test_only_datasets_with_enough_models_count_and_models_on_two_of_them() -> None:
    """Leaving out a dataset can leave a model with one, and the other way round."""
    values = np.random.default_rng(0).random((8, 4))
    values[5:, 3] = NAN  # five models
    values[4, :3] = NAN  # who is known there alone, so that four are left

    assert permutation_test(matrix(values)).datasets == ("d0", "d1", "d2")
    assert permutation_test(matrix(values), min_models=4).datasets == ("d0", "d1", "d2", "d3")


def test_a_dataset_on_which_all_agree_says_nothing() -> None:
    values = np.random.default_rng(1).random((8, 4))
    values[:, 2] = 0.5

    got = permutation_test(matrix(values))

    assert got.spearman[2] == 0.0
    assert got.gain[2] == 0.0


def test_the_unit_and_difficulty_of_datasets_do_not_matter_to_the_agreement() -> None:
    """And the same seed shuffles alike."""
    values = np.random.default_rng(2).random((9, 5))
    moved = values * [1.0, 2.0, 0.1, 5.0, 1.0] + [0.0, 1.0, -3.0, 0.5, 9.0]

    one, two = permutation_test(matrix(values)), permutation_test(matrix(moved))

    assert two.spearman == pytest.approx(one.spearman)
    assert two.p_value == one.p_value


def test_the_chance_is_a_share_of_all_shuffles_and_never_nothing() -> None:
    """The names as they are count as one of two hundred."""
    perfect = np.linspace(0, 1, 8)[:, None] + np.zeros(5)
    noise = np.random.default_rng(3).random((8, 5))

    assert permutation_test(matrix(perfect)).p_value == 1 / 200
    share = permutation_test(matrix(noise)).p_value
    assert 1 / 200 <= share <= 1
    assert round(share * 200) == pytest.approx(share * 200)
