"""Regularized H-score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.features import Features


def hscore(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Regularized H-score (Bao et al. 2019; Ibrahim et al. 2021, arXiv:2110.06893).

    tr(Σ_α⁻¹ (1 - α) Σ_B), with Σ_B the covariance of the class means and
    Σ_α = (1 - α) Σ + α tr(Σ) / d I the covariance of the embeddings, shrunk by Ledoit and Wolf's
    α, as Ibrahim et al. have it. Without shrinkage it is c - 1 whatever the labels wherever
    n <= d + 1. The covariance of a single dimension has nothing to be shrunk towards, so α is 0
    there, and the score is the share of the variance that lies between the classes.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.

    Returns:
        Between 0 and one less than the classes; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or no class has a
            second sample.
    """
    return hscore_of(Features.from_embeddings(embeddings, labels))


def hscore_of(features: Features) -> float:
    """``hscore`` on a shared decomposition."""
    (n, d), space = features.shape, features.space
    variances = space.values / n  # (k,) nonzero eigenvalues of Σ
    if not variances.size:
        return 0.0
    mean = variances.sum() / d
    apart = (variances**2).sum() - d * mean**2  # |Σ - mean I|²
    lengths = np.einsum("id,id->i", space.rows, space.rows)
    noise = ((lengths**2).sum() / n - (variances**2).sum()) / n  # expected |Σ - true Σ|²
    shrinkage = min(max(noise, 0.0) / apart, 1.0) if apart > 0 else 1.0
    if d == 1:
        shrinkage = 0.0  # Σ is its own mean I, whatever rounding makes of |Σ - mean I|²
    between = (features.projection**2 / features.counts).sum(axis=1)  # (k,) of Σ, in [0, 1]
    kept = (1.0 - shrinkage) * variances
    return float((between * kept / (kept + shrinkage * mean)).sum())
