"""How well the nearest neighbors predict the target of a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space, sample_indices
from mlflow_recall.core.scores.targets import ClassTargets, Targets
from mlflow_recall.errors import ScoreInputError

#: queries whose distances are held in memory at once
_BLOCK = 512


def knn(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    task: str = CLASSIFICATION,
    neighbors: int = 5,
    max_samples: int = 2000,
    seed: int = 0,
) -> float:
    """Return the leave-one-out metric of k nearest neighbors (Cover and Hart 1967).

    A sample is left out of its own neighbors by its index, not by a distance of zero, so that its
    duplicates stay. The order of equal distances is drawn by ``seed``. The metric is the primary
    one of the task:

    - classification: accuracy. The most frequent class wins; of equally frequent ones, that of the
      nearest sample.
    - multilabel: average precision of the share of neighbors that have a label, the mean over the
      labels that some samples have and others lack.
    - regression: Spearman's correlation of the number with the neighbors' mean.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset; (n,) numbers of a regression.
        task: ``classification``, ``multilabel`` or ``regression``.
        neighbors: Number k of neighbors by Euclidean distance, at most n - 1.
        max_samples: Maximum number of samples that are predicted, with neighbors among all n
            samples; the time grows with n times this number.
        seed: Seed by which these samples and the order of equal distances are drawn.

    Returns:
        In [0, 1], and in [-1, 1] for a regression; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or all numbers are equal.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> knn(embeddings, ["cat", "cat", "dog", "dog"], neighbors=1)
        1.0
    """
    return knn_of(
        Features.from_embeddings(embeddings, labels, task=task),
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
    n = features.shape[0]
    k, queries = min(neighbors, n - 1), sample_indices(n, max_samples, seed)
    nearest = features.space.cached(
        ("knn", k, max_samples, seed), lambda: _nearest(features.space, queries, k, seed)
    )
    targets = features.targets
    if isinstance(targets, ClassTargets):
        return float((_vote(targets.labels[nearest]) == targets.labels[queries]).mean())
    return targets.evaluate(_mean_target(targets, nearest), queries)


def _vote(classes: IntArray) -> IntArray:
    """Return the (q,) most frequent of (q, k) classes; of equally frequent ones, the first."""
    same = classes[:, :, None] == classes[:, None, :]
    winner: IntArray = classes[np.arange(len(classes)), same.sum(axis=2).argmax(axis=1)]
    return winner


def _mean_target(targets: Targets, nearest: IntArray) -> FloatArray:
    """Return the (q, t) mean targets of the (q, k) neighbors."""
    columns = targets.columns
    total = np.zeros((len(nearest), columns.shape[1]))
    for neighbor in nearest.T:  # an array of all neighbors of all samples could be large
        total += columns[neighbor]
    mean: FloatArray = total / nearest.shape[1]
    return mean


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
