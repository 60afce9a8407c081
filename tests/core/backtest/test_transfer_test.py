"""Facts of the test whether a history applies: its measures, slowly, and what counts."""

from __future__ import annotations

import math
import os
from itertools import combinations
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.history.matrix import PerformanceMatrix

NAN = math.nan
RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data"))
recorded = pytest.mark.skipif(
    not (RECORDS / "transfergraph_nlp").exists(), reason="needs the records in RECALL_RECORDS"
)


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(models)), tuple(f"d{j}" for j in range(datasets)), array
    )


def strong(m: int = 12, d: int = 8, noise: float = 0.3) -> PerformanceMatrix:
    """Every model has a strength of its own."""
    rng = np.random.default_rng(0)
    return matrix(rng.normal(size=(m, 1)) + noise * rng.normal(size=(m, d)))


def shuffled(known: PerformanceMatrix, seed: int) -> PerformanceMatrix:
    """Permute the final scores of each dataset over the models measured on it."""
    rng, values = np.random.default_rng(seed), known.values.copy()
    for column in values.T:
        rows = np.flatnonzero(~np.isnan(column))
        column[rows] = column[rng.permutation(rows)]
    return PerformanceMatrix(known.models, known.datasets, values)


def slow_strength(values: list[list[float]], without: int) -> list[float]:
    """Mean z-score of each model over the other datasets."""
    z_scores: list[list[float]] = [[] for _ in values]
    for j in range(len(values[0])):
        known = {i: row[j] for i, row in enumerate(values) if not math.isnan(row[j])}
        mean, spread = fmean(known.values()), pstdev(known.values())
        for i, value in known.items():
            if j != without:
                z_scores[i].append((value - mean) / spread)
    return [fmean(row) if row else NAN for row in z_scores]


def slow_gain(strength: list[float], truth: list[float], size: int) -> float:
    """Mean regret of the best of all sets of this size, less that of the strongest models."""
    known = [i for i, value in enumerate(truth) if not math.isnan(value)]
    best = max(truth[i] for i in known)
    first = sorted(known, key=lambda i: -strength[i])[:size]
    chance = fmean(best - max(truth[i] for i in chosen) for chosen in combinations(known, size))
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
    """Leaving out a dataset can leave a model with one, and leaving out a model a small dataset."""
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


def test_a_history_with_strong_models_applies() -> None:
    got = permutation_test(strong())

    assert got.applies
    assert got.p_value == 1 / 200
    assert (got.spearman > 0.5).all()
    assert got.sizes == (1, 3)  # five of twelve would be over a third


@pytest.mark.slow
@pytest.mark.parametrize("models", [6, 20])
def test_shuffled_names_hardly_ever_apply(models: int) -> None:
    """One history in a hundred, at most: of twenty two or more are an accident of 1.7 %."""
    known = strong(models, 6)

    assert sum(permutation_test(shuffled(known, seed)).applies for seed in range(20)) <= 1


def test_agreement_that_finds_nothing_is_not_enough() -> None:
    """The order of the others is the same everywhere, but only who is best matters, and it varies.

    The prior prefers whoever won most often, which is who loses most when another one wins.
    """
    order = np.linspace(0.0, 1e-3, 20)[:, None] + np.zeros((20, 5))
    order[np.arange(5), np.arange(5)] = 1.0  # one of the five lowest wins, another each time

    got = permutation_test(matrix(order))

    assert not got.applies
    assert got.gain.mean() < 0


def test_missing_cells_and_models_on_one_dataset_are_left_out() -> None:
    values = strong(12, 6).values.copy()
    values[0, 1:] = NAN  # known on one dataset only
    values[5:, 5] = NAN  # too small without that model
    values[3, 2] = NAN

    got = permutation_test(matrix(values))

    assert got.datasets == ("d0", "d1", "d2", "d3", "d4")
    assert got.applies


@pytest.mark.parametrize("shape", [(0, 0), (3, 4), (10, 1)])
def test_a_history_too_small_for_the_test_does_not_apply(shape: tuple[int, int]) -> None:
    got = permutation_test(matrix(np.random.default_rng(0).random(shape)))

    assert (got.applies, got.p_value, got.datasets) == (False, 1.0, ())


@recorded
@pytest.mark.parametrize(
    ("folder", "metric"),
    [
        ("transfergraph_nlp", "eval_accuracy_lora"),
        ("two_phase_paper", "acc_CV"),
        ("two_phase_paper", "acc_NLP"),
        ("vtab", "test_acc_vtab1k"),
        ("sfda_zoo", "full_finetune_acc"),
    ],
)
def test_real_histories_apply_and_shuffled_ones_do_not(folder: str, metric: str) -> None:
    history = FolderHistory(RECORDS / folder)
    known = PerformanceMatrix.from_records(history.records(metric))

    assert permutation_test(known).applies
    assert not any(permutation_test(shuffled(known, seed)).applies for seed in range(3))
