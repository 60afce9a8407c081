"""Splits that a source does not have, cut from train; strata that keep their shares in them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from mlflow_recall.core.arrays import AnyArray, IntArray
from mlflow_recall.core.dataset_account import MIN_ROWS_TO_SPLIT

SPLITS = ("train", "validation", "test")
#: share of the rows in a split that the source does not have
_SPLIT_SHARE = 0.2
#: ranges of numbers that count as classes, and rows that each has at least
_MAX_RANGES, _MIN_ROWS_IN_RANGE = 10, 10


def strata(targets: AnyArray) -> IntArray:
    """Return (n,) strata of rows that samples and splits take an equal share of.

    They are the classes; of numbers, up to ten ranges with as many rows each; of labels, the rarest
    label of a row.

    Args:
        targets: (n,) class indices, (n,) numbers, or (n, c) zeros and ones of labels.

    Example:
        >>> strata(np.array([[1, 0], [1, 1], [1, 0], [1, 0], [0, 0]])).tolist()
        [1, 0, 1, 1, 0]
    """
    if targets.ndim == 2:
        counts = np.where(targets > 0, targets.sum(axis=0), np.inf)
        rarest = counts.argmin(axis=1) + 1 if targets.shape[1] else np.zeros(len(targets))
        labels = np.where(targets.any(axis=1), rarest, 0).astype(np.intp)
        # too few rows to cut one from are no stratum of their own
        return np.where(np.bincount(labels)[labels] < MIN_ROWS_TO_SPLIT, 0, labels)
    if np.issubdtype(targets.dtype, np.floating):
        ranges = min(_MAX_RANGES, max(1, len(targets) // _MIN_ROWS_IN_RANGE))
        edges = np.quantile(targets, np.linspace(0, 1, ranges + 1)[1:-1])
        return np.searchsorted(edges, targets, side="right")
    return targets.astype(np.intp)


def cut_splits(labels: IntArray, keys: Sequence[Hashable], missing: int, seed: int) -> IntArray:
    """Return which part every row belongs to: 0 stays, 1 and up are cut, each a fifth of all rows.

    A cut part has a fifth of every class as near as possible: rows with equal inputs are never
    parted, a class with fewer than three distinct inputs stays as a whole, and every other one has
    a row at least.

    Args:
        labels: (n,) strata, such as class indices.
        keys: n inputs, or keys that are equal for equal inputs.
        missing: Number of parts to cut, 0 to 2.
        seed: Decides which rows are cut.
    """
    numbers: dict[Hashable, int] = {}
    group = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)
    first = np.unique(group, return_index=True)[1]  # the first row of every group
    sizes = np.bincount(group)
    part_of_group = np.zeros(len(first), dtype=np.intp)
    classes = [np.flatnonzero(labels[first] == label) for label in np.unique(labels)]
    is_cut = [len(of_class) >= MIN_ROWS_TO_SPLIT for of_class in classes]
    rows = np.array([sizes[of_class].sum() for of_class in classes])
    counts = cut_counts(np.where(is_cut, rows, 0))
    rng = np.random.default_rng(seed)
    for part in range(1, missing + 1):
        for of_class, count in zip(classes, counts, strict=True):
            left = rng.permutation(of_class[part_of_group[of_class] == 0])
            if count:
                part_of_group[_take(left, sizes[left], count)] = part
    return part_of_group[group]


def cut_counts(rows: IntArray) -> IntArray:
    """Return how many rows of every class are cut: a fifth of all, by the largest remainders.

    Args:
        rows: (c,) rows of the classes; zero for those that stay as a whole.

    Example:
        >>> cut_counts(np.array([12, 12, 12])).tolist()
        [3, 2, 2]
    """
    shares = _SPLIT_SHARE * rows
    counts = np.floor(shares).astype(np.intp)
    left = round(float(shares.sum())) - int(counts.sum())
    largest = np.argsort(counts - shares, kind="stable")
    counts[largest[:left]] += 1
    return np.where(rows > 0, np.maximum(counts, 1), 0)


def _take(groups: IntArray, sizes: IntArray, count: int) -> IntArray:
    """Return groups, in their order, whose sizes add up to ``count`` or just less.

    Without any that is small enough, it is the smallest.
    """
    total, taken = 0, []
    for group, size in zip(groups, sizes, strict=True):
        if total + size <= count:
            taken.append(group)
            total += size
        if total == count:
            break
    return np.array(taken or [groups[sizes.argmin()]], dtype=np.intp)
