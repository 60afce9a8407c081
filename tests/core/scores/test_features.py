"""Facts of the shared decomposition: it is one of the centered rows, whatever their shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import sample

from mlflow_recall.core.scores.features import Features, Space, sample_indices, unit_rows

SHAPES = pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30), (20, 20)])


@SHAPES
def test_the_parts_multiply_to_the_centered_rows(n: int, d: int) -> None:
    """F = U S Vᵀ: U is orthonormal, and U Uᵀ F is F again, also where n < d."""
    rows = np.random.default_rng(0).normal(size=(n, d)) + 5.0

    space = Space.from_rows(rows)

    centered = rows - rows.mean(axis=0)
    k = len(space.values)
    assert k == min(n - 1, d)  # centering takes a rank where samples are few
    assert space.left.T @ space.left == pytest.approx(np.eye(k), abs=1e-9)
    assert space.left @ (space.left.T @ centered) == pytest.approx(centered, abs=1e-9)
    singular = np.linalg.svd(centered, compute_uv=False)[:k]
    assert space.values == pytest.approx(singular**2)
    assert (np.diff(space.values) <= 0).all()


@SHAPES
def test_labels_are_projected_as_their_indicators(n: int, d: int) -> None:
    """Uᵀ Y without making U."""
    rows, labels = sample(n, d)
    features = Features.from_embeddings(rows, np.array([7, 3, 9])[labels])

    indicators = np.eye(3)[np.unique(np.array([7, 3, 9])[labels], return_inverse=True)[1]]
    assert features.projection == pytest.approx(features.space.left.T @ indicators)
    assert features.counts.tolist() == indicators.sum(axis=0).tolist()
    assert features.shape == (n, d)


@SHAPES
def test_components_are_the_scores_of_a_principal_component_analysis(n: int, d: int) -> None:
    """Up to their sign, which the largest loading fixes."""
    rows = np.random.default_rng(1).normal(size=(n, d))
    centered = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    signs = np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])

    got = Space.from_rows(rows).components(3)

    assert got == pytest.approx(centered @ (axes[:3] * signs[:, None]).T, abs=1e-8)


@given(seed=st.integers(0, 2**32 - 1), shape=st.sampled_from([(20, 5), (10, 25)]))
@settings(max_examples=15, deadline=None)
def test_some_of_the_samples_are_as_if_the_others_had_never_been(
    seed: int, shape: tuple[int, int]
) -> None:
    """Centered anew, though the Gram matrix of all is used again where it can be."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=shape) + 3.0
    index = rng.permutation(shape[0])[: rng.integers(3, shape[0] + 1)]

    part, fresh = Space.from_rows(rows).select_rows(index), Space.from_rows(rows[index])

    np.testing.assert_allclose(part.rows, fresh.rows, atol=1e-9)
    np.testing.assert_allclose(part.gram, fresh.gram, atol=1e-7)
    np.testing.assert_allclose(part.values, fresh.values, atol=1e-7)


def test_a_constant_column_is_exactly_zero() -> None:
    """A mean of 0.1 rounds, and what is left would be divided by its own spread."""
    rows = np.column_stack([np.full(7, 0.1), np.arange(7.0)])

    assert Space.from_rows(rows).rows[:, 0].tolist() == [0.0] * 7
    assert len(Space.from_rows(rows).values) == 1


def test_what_does_not_see_labels_is_made_once() -> None:
    """Several scores and relabelings share it."""
    features = Features.from_embeddings(*sample(20, 4))
    made = []

    def make() -> int:
        made.append(1)
        return 42

    other = features.with_labels(np.arange(20) % 2)

    assert features.space.cached("x", make) == other.space.cached("x", make) == 42
    assert len(made) == 1
    assert other.counts.tolist() == [10.0, 10.0]


def test_unit_rows_have_length_one_and_zeros_stay() -> None:
    got = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))

    assert got.tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_some_of_many_are_drawn_by_the_seed_and_of_few_all_are_taken() -> None:
    """In ascending order, none twice."""
    got = sample_indices(1000, 50, seed=3)

    assert sample_indices(50, 50, seed=3).tolist() == list(range(50))
    assert len(set(got.tolist())) == 50
    assert got.tolist() == sorted(got.tolist())
    assert got.tolist() != sample_indices(1000, 50, seed=4).tolist()
