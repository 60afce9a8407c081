"""Pairwise annotation representation comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.scores.features import Features, Space, sample_indices
from mlflow_recall.errors import ScoreInputError

_COMPONENTS = 32


def parc(
    embeddings: ArrayLike, labels: ArrayLike, *, max_samples: int = 2000, seed: int = 0
) -> float:
    """Pairwise annotation representation comparison (Bolya et al. 2021, arXiv:2111.06977).

    100 times Spearman's correlation, over all pairs of samples, of one minus the correlation of
    their features (first 32 principal components, each at unit variance) with one minus the
    correlation of their one-hot labels. The latter takes two values only: ties share their mean
    rank. A row that is constant correlates with nothing. Components are signed so that their
    largest loading is positive, since the correlation of two rows depends on it.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.
        max_samples: of more samples than these only as many are compared: time and memory grow
            with their square.
        seed: draws them.

    Returns:
        In [-100, 100]; higher transfers better. 0 where the features tell no pair apart.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or no two compared
            samples are of one class.
    """
    return parc_of(Features.from_embeddings(embeddings, labels), max_samples=max_samples, seed=seed)


def parc_of(features: Features, *, max_samples: int = 2000, seed: int = 0) -> float:
    """``parc`` on a shared decomposition; ranks are kept, they do not depend on labels."""
    if max_samples < 3:
        raise ScoreInputError(f"max_samples: expected at least 3, got {max_samples}")
    chosen = sample_indices(len(features.labels), max_samples, seed)
    ranks = features.space.cached(
        ("parc", max_samples, seed), lambda: _ranks(features.space, chosen)
    )  # (pairs,)
    y = features.labels[chosen]
    differ = (y[:, None] != y)[_pairs(len(y))]
    share = float(differ.mean())
    if share in (0.0, 1.0):
        what = "differ in class" if share else "are of one class"
        raise ScoreInputError(
            f"all pairs of the {len(y)} compared samples {what}: pass more samples"
        )
    spread = float(ranks.std())
    if spread == 0.0:
        return 0.0
    apart = float(ranks @ differ) / len(ranks) - share * float(ranks.mean())  # covariance
    return float(np.clip(100.0 * apart / (spread * np.sqrt(share * (1.0 - share))), -100.0, 100.0))


def _ranks(space: Space, chosen: IntArray) -> FloatArray:
    """Ranks of the pairs by the distance of their features, pairs as in ``_pairs``."""
    rows = space.components(_COMPONENTS)
    if rows.shape[1] < 2:  # one number correlates with nothing
        return np.ones(len(chosen) * (len(chosen) - 1) // 2)
    rows = rows / rows.std(axis=0)
    rows = rows[chosen] - rows[chosen].mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-9)
    distances = (1.0 - rows @ rows.T)[_pairs(len(rows))].round(12)  # duplicates tie
    order = np.argsort(distances)
    ordered = distances[order]
    ends = np.append(np.flatnonzero(ordered[1:] > ordered[:-1]) + 1, len(ordered))
    starts = np.r_[0, ends[:-1]]
    ranks = np.empty(len(ordered))
    ranks[order] = np.repeat((starts + ends + 1) / 2.0, ends - starts)  # ties share their mean
    return ranks


def _pairs(n: int) -> AnyArray:
    """(n, n) mask of each pair once."""
    return np.tri(n, k=-1, dtype=np.bool_)
