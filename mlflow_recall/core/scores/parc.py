"""Pairwise annotation representation comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space, sample_indices
from mlflow_recall.errors import ScoreInputError

#: maximum number of principal components
_COMPONENTS = 32


def parc(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    task: str = CLASSIFICATION,
    max_samples: int = 2000,
    seed: int = 0,
) -> float:
    """Return PARC (Bolya et al. 2021, arXiv:2111.06977).

    Pairwise annotation representation comparison is 100 times Spearman's correlation, over all
    pairs of samples, of one minus the correlation of their features (first 32 principal components,
    each at unit variance) with one minus the correlation of their one-hot labels. The latter has
    two values only; ties share their mean rank. A constant row correlates with nothing. Components
    are signed so that their largest loading is positive, since the correlation of two rows depends
    on the signs.

    Beyond the paper, the label vectors of a multi-label dataset stand in the place of one-hot
    labels, without the labels that all or no samples have. A constant vector, such as that of a
    sample without labels, correlates with nothing either, but equals another of its kind: their
    distance is 0, so that one label alone is two classes. The distance of two numbers of a
    regression is their difference.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset; (n,) numbers of a regression.
        task: ``classification``, ``multilabel`` or ``regression``.
        max_samples: Maximum number of samples that are compared; time and memory grow with its
            square.
        seed: Seed by which these samples are drawn.

    Returns:
        In [-100, 100], and 0 where the features of all pairs are alike; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, or the
            targets of all compared pairs are equally far apart: all differ in class, or none does.

    Example:
        >>> embeddings = [[1.0, 0.0, 0.1], [0.9, 0.1, 0.0], [0.0, 1.0, 0.1], [0.0, 0.8, 0.2]]
        >>> embeddings += [[0.1, 0.0, 1.0], [0.0, 0.1, 0.9]]
        >>> round(parc(embeddings, ["cat", "cat", "dog", "dog", "elk", "elk"]), 1)
        30.9
    """
    features = Features.from_embeddings(embeddings, labels, task=task)
    return parc_of(features, max_samples=max_samples, seed=seed)


def parc_of(features: Features, *, max_samples: int = 2000, seed: int = 0) -> float:
    """Return ``parc`` on shared embeddings; the ranks are cached, since labels do not matter."""
    if max_samples < 3:
        raise ScoreInputError(f"max_samples: expected at least 3, got {max_samples}")
    chosen = sample_indices(features.shape[0], max_samples, seed)
    ranks = features.space.cached(
        ("parc", max_samples, seed), lambda: _ranks(features.space, chosen)
    )  # (pairs,)
    distances = features.targets.distances(chosen)[_pairs(len(chosen))]
    if distances.dtype == np.bool_:  # ranks of two values correlate as the values do
        other = distances
        mean = float(other.mean())
        other_spread = float(np.sqrt(mean * (1.0 - mean)))
    else:
        other = _mean_ranks(distances)
        mean, other_spread = float(other.mean()), float(other.std())
    if other_spread == 0.0:
        raise ScoreInputError(
            f"all pairs of the {len(chosen)} compared samples {_alike(distances)}: "
            "pass more samples"
        )
    spread = float(ranks.std())
    if spread == 0.0:
        return 0.0
    covariance = float(ranks @ other) / len(ranks) - mean * float(ranks.mean())
    return float(np.clip(100.0 * covariance / (spread * other_spread), -100.0, 100.0))


def _alike(distances: AnyArray) -> str:
    """Say what all pairs have in common whose distances are equal."""
    if distances.dtype != np.bool_:
        return "are equally far apart"
    return "differ in class" if distances.all() else "are of one class"


def _ranks(space: Space, chosen: IntArray) -> FloatArray:
    """Return the ranks of the pairs of ``_pairs`` by the distance of their features."""
    rows = space.components(_COMPONENTS)
    if rows.shape[1] < 2:  # a row of one number is constant
        return np.ones(len(chosen) * (len(chosen) - 1) // 2)
    rows = rows / rows.std(axis=0)
    rows = rows[chosen] - rows[chosen].mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-9)
    return _mean_ranks((1.0 - rows @ rows.T)[_pairs(len(rows))].round(12))  # duplicates tie


def _mean_ranks(distances: FloatArray) -> FloatArray:
    """Return ranks from 1; ties share their mean rank."""
    order = np.argsort(distances)
    ordered = distances[order]
    ends = np.append(np.flatnonzero(ordered[1:] > ordered[:-1]) + 1, len(ordered))
    starts = np.r_[0, ends[:-1]]
    ranks = np.empty(len(ordered))
    ranks[order] = np.repeat((starts + ends + 1) / 2.0, ends - starts)
    return ranks


def _pairs(n: int) -> AnyArray:
    """Return an (n, n) mask that has each pair once."""
    return np.tri(n, k=-1, dtype=np.bool_)
