"""Accuracy of the nearest neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.features import Features, Space, sample_indices
from mlflow_recall.errors import ScoreInputError

_BLOCK = 512


def knn(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    neighbors: int = 5,
    max_samples: int = 2000,
    seed: int = 0,
) -> float:
    """Leave-one-out accuracy of k nearest neighbors (Cover and Hart 1967).

    A sample is left out of its own neighbors by its index, not by a distance of zero: duplicates
    of it stay. The most frequent class wins; of classes as frequent, the one with the nearest
    sample. Equal distances are put in an order by ``seed``.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.
        neighbors: k, by Euclidean distance; n - 1 if that is less.
        max_samples: of more samples than these only as many are classified, with neighbors
            among all: time grows with n times this.
        seed: draws them.

    Returns:
        Share of samples classified rightly, in [0, 1]; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or no class has a
            second sample.
    """
    return knn_of(
        Features.from_embeddings(embeddings, labels),
        neighbors=neighbors,
        max_samples=max_samples,
        seed=seed,
    )


def knn_of(
    features: Features, *, neighbors: int = 5, max_samples: int = 2000, seed: int = 0
) -> float:
    """``knn``; the neighbors are kept, they do not depend on labels."""
    if neighbors < 1 or max_samples < 1:
        raise ScoreInputError(
            f"neighbors and max_samples: expected at least 1, got {neighbors} and {max_samples}"
        )
    k = min(neighbors, len(features.labels) - 1)
    queries = sample_indices(len(features.labels), max_samples, seed)
    nearest = features.space.cached(
        ("knn", k, max_samples, seed), lambda: _nearest(features.space, queries, k, seed)
    )
    votes = features.labels[nearest]  # (q, k)
    same = votes[:, :, None] == votes[:, None, :]
    # votes for the class of each neighbor; the first of the best is the nearest
    elected = votes[np.arange(len(votes)), same.sum(axis=2).argmax(axis=1)]
    return float((elected == features.labels[queries]).mean())


def _nearest(space: Space, queries: IntArray, k: int, seed: int) -> IntArray:
    """(q, k) indices of the neighbors of each query, nearest first."""
    n = len(space.rows)
    order = np.random.default_rng(seed).permutation(n)  # of those at one distance
    squares = np.einsum("id,id->i", space.rows, space.rows)
    found = np.empty((len(queries), k), dtype=np.intp)
    shuffled = None if space.is_wide else space.rows[order]
    for start in range(0, len(queries), _BLOCK):  # blocks bound the memory
        block = queries[start : start + _BLOCK]
        if shuffled is None:
            products: FloatArray = space.gram[np.ix_(block, order)]
        else:
            products = space.rows[block] @ shuffled.T
        distances = squares[order] - 2.0 * products  # less |x|² of the query
        distances[order == block[:, None]] = np.inf
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        ranked = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        found[start : start + _BLOCK] = order[np.take_along_axis(near, ranked, axis=1)]
    return found
