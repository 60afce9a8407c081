"""Accuracy of a linear probe."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.features import Features

#: ridge penalties that are tried, relative to the largest eigenvalue of FᵀF
_PENALTIES = np.logspace(-7.0, 2.0, 37)


def linear_probe(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Return the leave-one-out accuracy of a linear probe (Alain & Bengio 2016, arXiv:1610.01644).

    The probe is ridge regression on the one-hot labels. Its n leave-one-out predictions have a
    closed form: (ŷ - h y) / (1 - h) with h the leverage of a sample (Allen 1974). The penalty is
    the one with the least generalized cross-validation error (Golub et al. 1979). The mean of the
    features and the shares of the classes are those of all samples: if a sample were left out of
    them as well, uninformative features would score below chance.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.

    Returns:
        Share of correctly classified samples, in [0, 1]; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, or no class
            has a second sample.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> linear_probe(embeddings, ["cat", "cat", "dog", "dog"])
        1.0
    """
    return linear_probe_of(Features.from_embeddings(embeddings, labels))


def linear_probe_of(features: Features) -> float:
    """Return ``linear_probe`` on a shared decomposition."""
    n, y, values = len(features.labels), features.labels, features.space.values
    shares = features.counts / n
    if not values.size:
        return float(shares.max())
    power = (features.projection**2).sum(axis=1)  # (k,) squared labels in each direction
    outside = max(float(n * (1.0 - (shares**2).sum()) - power.sum()), 0.0)
    # (p, k) share of each direction that is not explained
    unexplained = 1.0 - 1.0 / (1.0 + _PENALTIES[:, None] * values[0] / values)
    freedom = np.maximum(n - 1 - len(values) + unexplained.sum(axis=1), np.finfo(np.float64).tiny)
    best = np.argmin((unexplained**2 @ power + outside) / freedom**2)
    kept = 1.0 - unexplained[best]  # (k,)
    basis = features.space.left
    leverage = np.minimum(basis**2 @ kept, 1.0 - 1e-9)
    fitted = basis @ (kept[:, None] * features.projection)  # (n, c) without the shares
    own = np.arange(n), y
    fitted += (leverage / (1.0 - leverage))[:, None] * (fitted + shares)
    fitted[own] -= leverage / (1.0 - leverage)
    return float(((fitted + shares).argmax(axis=1) == y).mean())
