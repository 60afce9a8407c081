"""Gaussian Bhattacharyya coefficient."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.features import Features
from mlflow_recall.core.scores.inputs import class_sums

_COMPONENTS = 64


def gbc(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Gaussian Bhattacharyya coefficient (Pándy et al. 2022, arXiv:2111.12780).

    -Σ_{a ≠ b} exp(-D(a, b)) over ordered pairs of classes. Each class is a spherical Gaussian in
    the first 64 principal components (k of them), and with s = (s_a + s_b) / 2 of its variances

        D(a, b) = |μ_a - μ_b|² / (8 s) + k / 2 log(s / √(s_a s_b)).

    The variance of a class of one sample is unknown: it is the one within all classes together.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.

    Returns:
        Between -c (c - 1), all classes alike, and 0, none overlap; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or no class has a
            second sample.
    """
    return gbc_of(Features.from_embeddings(embeddings, labels))


def gbc_of(features: Features) -> float:
    """``gbc`` on a shared decomposition."""
    space, counts, c = features.space, features.counts, len(features.counts)
    if not space.values.size:
        return float(-c * (c - 1))
    rows = space.cached("gbc", lambda: space.components(_COMPONENTS))  # (n, k)
    k = rows.shape[1]
    means = class_sums(rows, features.labels) / counts[:, None]  # (c, k)
    off = ((rows - means[features.labels]) ** 2).sum(axis=1)
    squares = np.bincount(features.labels, off)  # (c,) squared distances from the mean
    # one sample: no distance from its mean, and nothing in the sum of degrees of freedom
    within = squares.sum() / ((counts - 1).sum() * k)
    variances = np.where(counts > 1, squares / (np.maximum(counts - 1, 1) * k), within)
    variances = np.maximum(variances, 1e-12 * space.values[0] / len(rows))  # duplicates only
    lengths = (means**2).sum(axis=1)
    apart = np.maximum(lengths[:, None] + lengths - 2.0 * means @ means.T, 0.0)  # (c, c)
    shared = (variances[:, None] + variances) / 2.0
    logs = np.log(variances) / 2.0
    distance = apart / (8.0 * shared) + k / 2.0 * (np.log(shared) - logs[:, None] - logs)
    overlap = np.exp(-np.maximum(distance, 0.0))
    return float(-(overlap.sum() - np.trace(overlap)))
