"""Facts of ``core.similarity``: equation 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters import similarity
from mlflow_recall.core.clusters.similarity import INCOMPARABLE, released_difference, top_difference

NAN = math.nan


def slow_difference(values: FloatArray, top: int, shared: int) -> FloatArray:
    """Equation 1, pair by pair."""
    models, datasets = values.shape
    distance = np.zeros((models, models))
    for i in range(models):
        for j in range(models):
            both = [
                abs(values[i, k] - values[j, k])
                for k in range(datasets)
                if not math.isnan(values[i, k]) and not math.isnan(values[j, k])
            ]
            largest = sorted(both, reverse=True)[:top]
            if i != j:
                distance[i, j] = (
                    sum(largest) / len(largest) if len(both) >= shared else INCOMPARABLE
                )
    return distance


def holed(rng: np.random.Generator) -> FloatArray:
    values = rng.choice([rng.random(), *rng.random(30)], (rng.integers(1, 9), rng.integers(1, 9)))
    values[rng.random(values.shape) < rng.choice([0.0, 0.3, 0.8])] = NAN
    return values


@given(seed=st.integers(0, 2**32 - 1), top=st.integers(1, 10))
@settings(max_examples=60)
def test_distance_equals_the_slow_double_loop(seed: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    values = holed(rng)
    shared = int(rng.integers(1, 6))

    np.testing.assert_allclose(
        top_difference(values, top=top, shared=shared), slow_difference(values, top, shared)
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_half_of_the_datasets_must_be_shared_by_default(seed: int) -> None:
    values = holed(np.random.default_rng(seed))

    np.testing.assert_allclose(
        top_difference(values), slow_difference(values, 5, math.ceil(values.shape[1] / 2))
    )


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_distance_is_symmetric_and_ignores_the_order_of_datasets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = holed(rng)
    distance = top_difference(values)

    np.testing.assert_array_equal(distance, distance.T)
    np.testing.assert_allclose(distance, top_difference(rng.permutation(values, axis=1)))


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_make_no_difference(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((23, 6)) < 0.2, NAN, rng.random((23, 6)))
    whole = top_difference(values)

    monkeypatch.setattr(similarity, "_BLOCK", block)

    np.testing.assert_array_equal(top_difference(values), whole)


def test_released_distance_counts_positive_cells_only_and_wants_six() -> None:
    """The authors' code drops a Matthews correlation of 0 or less, and then needs more than 5."""
    base = np.full(7, 0.5)
    values = np.array([base, base + 0.1, np.r_[base[:6] + 0.2, -0.9], np.r_[base[:5], 0.0, -0.1]])

    got = released_difference(values)

    np.testing.assert_allclose(got[:3, :3], [[0, 0.1, 0.2], [0.1, 0, 0.1], [0.2, 0.1, 0]])
    assert (got[3, :3] == INCOMPARABLE).all()


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nothing_measured_is_far_apart(shape: tuple[int, int]) -> None:
    expected = np.full((shape[0], shape[0]), INCOMPARABLE)
    np.fill_diagonal(expected, 0.0)

    np.testing.assert_array_equal(top_difference(np.empty(shape)), expected)
