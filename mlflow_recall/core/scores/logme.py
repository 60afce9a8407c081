"""Log of maximum evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.inputs import check_rows
from mlflow_recall.errors import ScoreInputError

#: ln(α / β) searched, relative to the largest eigenvalue of FᵀF
_GRID = np.linspace(-28.0, 28.0, 113)
_HALVINGS = 24
_TINY = np.finfo(np.float64).tiny


def logme(embeddings: ArrayLike, labels: ArrayLike, *, center: bool = True) -> float:
    """Log of maximum evidence (You et al. 2021, arXiv:2102.11005, eq. 2 and algorithm 1).

    For each class the indicator y of that class is regressed on the embeddings F by a Bayesian
    linear model with prior w ~ N(0, I / α) and noise N(0, 1 / β). With A = α I + β FᵀF and
    m = β A⁻¹ Fᵀ y the evidence is

        2 log p = n log β + d log α - n log 2π - β |Fm - y|² - α |m|² - log |A|,

    maximized over α and β; the score is its mean per sample and class. log |A| runs over all d
    dimensions, also where samples are fewer: the missing eigenvalues of FᵀF are zeros, and each
    contributes log α.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.
        center: subtract the mean of embeddings and indicators first, since the model has no
            intercept; False is the letter of the paper, which then depends on the features' origin.

    Returns:
        Mean log evidence in nats per sample; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or no class has a
            second sample.
    """
    features = Features.from_embeddings(embeddings, labels, center=center)
    if center:
        return logme_of(features)
    counts, n = features.counts, len(features.labels)
    return float(_log_evidence(features.space.values, features.projection, counts, n).mean())


def logme_of(features: Features) -> float:
    """``logme`` on a shared decomposition."""
    n, counts = len(features.labels), features.counts
    total = counts * (1.0 - counts / n)  # |y - mean y|² of an indicator
    # a free intercept takes one degree of freedom; n would leave no bound on β where d >= n - 1
    evidence = _log_evidence(features.space.values, features.projection, total, n - 1)
    return float(evidence.mean())


def logme_regression(embeddings: ArrayLike, targets: ArrayLike, *, center: bool = True) -> float:
    """LogME of real-valued targets: ``logme`` with targets in place of the classes' indicators.

    Each target is brought to mean square one first (variance one, if centered): otherwise the
    evidence, a density of the targets, would change with their unit.

    Args:
        embeddings: (n, d) features of n target samples.
        targets: (n,) or (n, t) numbers.
        center: subtract the mean of embeddings and targets first.

    Returns:
        Mean log evidence in nats per sample; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, fewer than three samples, or a
            target that is constant.
    """
    rows = check_rows("embeddings", embeddings)
    numbers = np.asarray(targets)
    y = check_rows("targets", numbers[:, None] if numbers.ndim == 1 else numbers)
    if len(rows) != len(y):
        raise ScoreInputError(f"expected a target for each of {len(rows)} rows, got {len(y)}")
    if len(y) < 3:
        raise ScoreInputError(f"expected three samples or more, got {len(y)}")
    constant = np.flatnonzero(np.ptp(y, axis=0) == 0)
    if constant.size:
        raise ScoreInputError(f"target {int(constant[0])} is constant: nothing to regress")
    if center:
        y = y - y.mean(axis=0)
    y = y / np.sqrt((y**2).mean(axis=0))
    space = Space.from_rows(rows, center=center)
    total = (y**2).sum(axis=0)
    return float(_log_evidence(space.values, space.left.T @ y, total, len(y) - center).mean())


def _log_evidence(
    values: FloatArray, projection: FloatArray, total: FloatArray, samples: int
) -> FloatArray:
    """Maximum log evidence per sample of each target, all targets at once.

    Integrated over w, y ~ N(0, (I + F Fᵀ / r) / β) with r = α / β, so the best β of a given r is
    known and the maximum is sought along r alone. On a grid first: there can be two peaks.

    Args:
        values: (k,) nonzero eigenvalues of FᵀF.
        projection: (k, c) targets in the basis of the features.
        total: (c,) squared length of each target.
        samples: degrees of freedom, n unless the mean was taken out.

    Returns:
        (c,) nats per sample.
    """
    spectrum = values / max(values.max(initial=0.0), _TINY)  # (k,) in units of the largest
    power = projection.T**2  # (c, k)
    outside = np.maximum(total - power.sum(axis=1), 0.0)  # what no w can explain
    floor = 1e-12 * total + _TINY

    def evidence(square: FloatArray, log_left: FloatArray) -> FloatArray:
        fit: FloatArray = samples * np.log(samples / (2 * np.pi * square)) - samples + log_left
        return fit / (2 * samples)

    left = 1.0 / (1.0 + spectrum[:, None] / np.exp(_GRID))  # (k, g) what the prior leaves of y
    squares = np.maximum(power @ left + outside[:, None], floor[:, None])  # (c, g)
    peak = _GRID[evidence(squares, np.log(left).sum(axis=0)).argmax(axis=1)]
    step = _GRID[1] - _GRID[0]
    low, high = peak - step, peak + step
    for _ in range(_HALVINGS):  # bisection of the slope, of every target
        left = 1.0 / (1.0 + spectrum / np.exp((low + high) / 2)[:, None])  # (c, k)
        kept = power * left
        square = np.maximum(kept.sum(axis=1) + outside, floor)
        falls = kept.sum(axis=1) - np.einsum("ck,ck->c", kept, left)  # d square / d log r
        rises = (1.0 - left).sum(axis=1) > samples * falls / square
        low, high = np.where(rises, (low + high) / 2, low), np.where(rises, high, (low + high) / 2)
    left = 1.0 / (1.0 + spectrum / np.exp((low + high) / 2)[:, None])
    square = np.maximum((power * left).sum(axis=1) + outside, floor)
    return evidence(square, np.log(left).sum(axis=1))
