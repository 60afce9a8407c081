"""Splits that are cut are fifths of all rows, seeded, and never part equal inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.adapters.data.splits import cut_counts, cut_splits


def test_each_cut_part_is_a_fifth_of_every_class() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    parts = cut_splits(labels, range(100), missing=2, seed=0)

    for label, size in enumerate((50, 30, 20)):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert counts.tolist() == [size - 2 * size // 5, size // 5, size // 5]


@given(st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_counts_are_a_fifth_of_all_rows_and_one_of_every_class(rows: list[int]) -> None:
    counts = cut_counts(np.array(rows))

    assert ((counts > 0) == (np.array(rows) > 0)).all()
    assert (np.abs(counts - np.array(rows) / 5) <= 1).all()
    if min(rows) >= 5:
        assert counts.sum() == round(sum(rows) / 5)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(0, 2),
    st.integers(0, 5),
)
def test_equal_inputs_stay_together_and_train_keeps_some_of_each_class(
    rows: list[tuple[int, int]], missing: int, seed: int
) -> None:
    """Whatever the repeats, also where equal inputs have different labels."""
    labels, keys = np.array([row[0] for row in rows]), [row[1] for row in rows]
    parts = cut_splits(labels, keys, missing, seed)

    assert parts.shape == labels.shape
    assert set(parts) <= set(range(missing + 1))
    for key in set(keys):
        assert len({part for part, other in zip(parts, keys, strict=True) if other == key}) == 1
    first = {key: int(labels[keys.index(key)]) for key in keys}
    for label in set(first.values()):
        inputs = [key for key, of in first.items() if of == label]
        assert any(parts[keys.index(key)] == 0 for key in inputs)


def test_a_class_of_two_stays() -> None:
    labels = np.array([0] * 10 + [1, 1])

    assert cut_splits(labels, range(12), 2, seed=0)[10:].tolist() == [0, 0]


def test_repeats_of_one_input_count_as_one() -> None:
    """Three rows of two distinct texts cannot fill three splits."""
    labels = np.array([0] * 10 + [1, 1, 1])

    assert cut_splits(labels, [*range(10), "a", "a", "b"], 2, seed=0)[10:].tolist() == [0, 0, 0]


@pytest.mark.parametrize("repeats", [1, 3])
def test_parts_are_near_a_fifth_with_repeats_too(repeats: int) -> None:
    keys = np.arange(300) // repeats
    parts = cut_splits(np.zeros(300, dtype=int), keys.tolist(), 2, seed=1)

    assert np.bincount(parts).tolist() == [180, 60, 60]


def test_the_seed_decides() -> None:
    labels = np.zeros(50, dtype=int)
    first, again, other = (cut_splits(labels, range(50), 1, seed).tolist() for seed in (0, 0, 1))

    assert first == again
    assert first != other
    assert cut_splits(labels, range(50), 0, 0).tolist() == [0] * 50
