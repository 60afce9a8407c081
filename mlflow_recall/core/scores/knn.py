"""Accuracy of the nearest neighbors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.features import Features, Space, sample_indices
from mlflow_recall.errors import ScoreInputError

#: queries whose distances are held in memory at once
_BLOCK = 512


def knn(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    neighbors: int = 5,
    max_samples: int = 2000,
    seed: int = 0,
) -> float:
    """Return the leave-one-out accuracy of k nearest neighbors (Cover and Hart 1967).

    A sample is left out of its own neighbors by its index, not by a distance of zero, so that its
    duplicates stay. The most frequent class wins; of equally frequent ones, that of the nearest
    sample. The order of equal distances is drawn by ``seed``.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.
        neighbors: Number k of neighbors by Euclidean distance, at most n - 1.
        max_samples: Maximum number of samples that are classified, with neighbors among all n
            samples; the time grows with n times this number.
        seed: Seed by which these samples and the order of equal distances are drawn.

    Returns:
        Share of correctly classified samples, in [0, 1]; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, or no class
            has a second sample.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> knn(embeddings, ["cat", "cat", "dog", "dog"], neighbors=1)
        1.0
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
    """Return ``knn`` on shared embeddings; the neighbors are cached, since labels do not matter."""
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
    # votes for the class of each neighbor; of equal ones argmax takes the nearest
    predicted = votes[np.arange(len(votes)), same.sum(axis=2).argmax(axis=1)]
    return float((predicted == features.labels[queries]).mean())


def _nearest(space: Space, queries: IntArray, k: int, seed: int) -> IntArray:
    """Return the (q, k) indices of the neighbors of each query, nearest first."""
    n = len(space.rows)
    order = np.random.default_rng(seed).permutation(n)  # decides between equal distances
    squares = np.einsum("id,id->i", space.rows, space.rows)
    neighbors = np.empty((len(queries), k), dtype=np.intp)
    shuffled = None if space.is_wide else space.rows[order]
    for start in range(0, len(queries), _BLOCK):  # blocks bound the memory
        block = queries[start : start + _BLOCK]
        if shuffled is None:
            products: FloatArray = space.gram[np.ix_(block, order)]
        else:
            products = space.rows[block] @ shuffled.T
        distances = (
            squares[order] - 2.0 * products
        )  # without |x|² of the query, which changes no order
        distances[order == block[:, None]] = np.inf
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        ranked = np.argsort(np.take_along_axis(distances, near, axis=1), axis=1, kind="stable")
        neighbors[start : start + _BLOCK] = order[np.take_along_axis(near, ranked, axis=1)]
    return neighbors
