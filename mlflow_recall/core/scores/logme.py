"""Log of maximum evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.scores.inputs import check_samples

#: ln(α / β) searched, relative to the largest eigenvalue of FᵀF
_LOG_RATIO = (-28.0, 28.0)
_GRID, _HALVINGS = 113, 40
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
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
        features = features[:, np.ptp(features, axis=0) > 0]  # rounding is no feature
        features = features - features.mean(axis=0)
        indicators = indicators - indicators.mean(axis=0)
    # a free intercept takes one degree of freedom; n would leave no bound on β where d >= n - 1
    return float(log_evidence(features, indicators, len(features) - centre).mean())


def log_evidence(
    features: FloatArray, targets: FloatArray, samples: int | None = None
) -> FloatArray:
    """Maximum log evidence per sample of each target column, all columns at once.

    Integrated over w, y ~ N(0, (I + F Fᵀ / r) / β) with r = α / β, so the best β of a given r is
    known and the maximum is sought along r alone. On a grid first: there can be two peaks.

    Args:
        features: (n, d).
        targets: (n, c).
        samples: degrees of freedom, n unless the mean was taken out.

    Returns:
        (c,) nats per sample.
    """
    n = len(features) if samples is None else samples
    # the spectrum of F Fᵀ in units of its largest value, and the targets in its basis
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    spectrum = (singular[:, None] / max(singular.max(initial=0.0), _TINY)) ** 2  # (k, 1)
    spectrum = np.where(spectrum > 1e-14, spectrum, 0.0)
    projected = np.where(spectrum > 0, (left.T @ targets) ** 2, 0.0)  # (k, c)
    total = (targets**2).sum(axis=0)  # (c,)
    outside = np.maximum(total - projected.sum(axis=0), 0.0)  # what no w can explain

    def at(log_ratio: FloatArray) -> FloatArray:
        ratio = np.exp(log_ratio)  # (c,)
        grown = 1.0 + spectrum / ratio  # (k, c) eigenvalues of I + F Fᵀ / r
        square = np.maximum((projected / grown).sum(axis=0) + outside, 1e-12 * total + _TINY)
        evidence: FloatArray = n * np.log(n / (2 * np.pi * square)) - n - np.log(grown).sum(axis=0)
        return evidence / (2 * n)

    grid = np.linspace(*_LOG_RATIO, _GRID)
    peak = grid[np.argmax([at(np.full(len(total), x)) for x in grid], axis=0)]
    low, high = peak - (grid[1] - grid[0]), peak + (grid[1] - grid[0])
    for _ in range(_HALVINGS):  # golden section, of every column
        width = _GOLDEN * (high - low)
        rises = at(high - width) < at(low + width)
        low, high = np.where(rises, high - width, low), np.where(rises, high, low + width)
    return at((low + high) / 2)
