"""Log of maximum evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.scores.inputs import check_samples

_ITERATIONS = 1000
_TINY = np.finfo(np.float64).tiny


def logme(embeddings: ArrayLike, labels: ArrayLike, *, centre: bool = True) -> float:
    """Log of maximum evidence (You et al. 2021, arXiv:2102.11005, eq. 2 and algorithm 1).

    For each class the indicator y of that class is regressed on the embeddings F by a Bayesian
    linear model with prior w ~ N(0, I / α) and noise N(0, 1 / β). With A = α I + β FᵀF and
    m = β A⁻¹ Fᵀ y the evidence is

        2 log p = n log β + d log α - n log 2π - β |Fm - y|² - α |m|² - log |A|,

    maximised over α and β; the score is its mean per sample and class. log |A| runs over all d
    dimensions, also where samples are fewer: the missing eigenvalues of FᵀF are zeros, and each
    contributes log α.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.
        centre: subtract the mean of embeddings and indicators first, since the model has no
            intercept; False is the letter of the paper, which then depends on the features' origin.

    Returns:
        Mean log evidence in nats per sample; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, or one class only.
    """
    features, y = check_samples("embeddings", embeddings, labels)
    indicators = np.eye(y.max() + 1)[y]  # (n, c)
    if centre:
        features = features - features.mean(axis=0)
        indicators = indicators - indicators.mean(axis=0)
    return float(log_evidence(features, indicators).mean())


def log_evidence(features: FloatArray, targets: FloatArray) -> FloatArray:
    """Maximum log evidence per sample of each target column, all columns at once.

    Args:
        features: (n, d).
        targets: (n, c).

    Returns:
        (c,) nats per sample.
    """
    n, d = features.shape
    # the spectrum of FᵀF, and the targets in its basis; the smaller side is decomposed
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    spectrum = (singular**2)[:, None]  # (r, 1)
    spectrum = np.where(spectrum > spectrum.max(initial=0.0) * 1e-14, spectrum, 0.0)
    projected = (left.T @ targets) ** 2  # (r, c) squared
    total = (targets**2).sum(axis=0)  # (c,)
    projected = np.where(spectrum > 0, projected, 0.0)
    outside = np.maximum(total - projected.sum(axis=0), 0.0)  # what no w can explain

    def terms(ratio: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Effective dimensions, |m|² and |Fm - y|² at α / β = ratio, each (c,)."""
        shrunk = spectrum + ratio  # (r, c)
        effective = (spectrum / shrunk).sum(axis=0)
        norm = (spectrum * projected / shrunk**2).sum(axis=0)
        residual = (ratio**2 * projected / shrunk**2).sum(axis=0) + outside
        return effective, np.maximum(norm, _TINY), np.maximum(residual, 1e-12 * total + _TINY)

    alpha, beta = np.ones((2, targets.shape[1]))
    for _ in range(_ITERATIONS):
        effective, norm, residual = terms(alpha / beta)
        new_alpha = np.clip(effective / norm, 1e-12, 1e12)
        new_beta = np.clip((n - effective) / residual, 1e-12, 1e12)
        settled = np.allclose(new_alpha / alpha, 1, rtol=0, atol=1e-11) and np.allclose(
            new_beta / beta, 1, rtol=0, atol=1e-11
        )
        alpha, beta = new_alpha, new_beta
        if settled:
            break
    _, norm, residual = terms(alpha / beta)
    # the min(n, d) eigenvalues of A that FᵀF reaches, and the rest, which are α
    determinant = np.log(alpha + beta * spectrum).sum(axis=0) + (d - len(spectrum)) * np.log(alpha)
    evidence: FloatArray = (
        n * np.log(beta)
        + d * np.log(alpha)
        - n * np.log(2 * np.pi)
        - beta * residual
        - alpha * norm
        - determinant
    ) / (2 * n)
    return evidence
