"""Log of maximum evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.inputs import check_numbers
from mlflow_recall.core.scores.targets import NumberTargets

#: values of ln(α / β) on the grid, relative to the largest eigenvalue of FᵀF
_GRID = np.linspace(-28.0, 28.0, 113)
#: steps of the bisection around the best point of the grid
_HALVINGS = 24
_TINY = np.finfo(np.float64).tiny


def logme(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    task: str = CLASSIFICATION,
    center: bool = True,
) -> float:
    """Return the log of maximum evidence (You et al. 2021, arXiv:2102.11005, Eq. 2, algorithm 1).

    For each class the indicator y of that class is regressed on the embeddings F by a Bayesian
    linear model with prior w ~ N(0, I / α) and noise N(0, 1 / β). With A = α I + β FᵀF and
    m = β A⁻¹ Fᵀ y the evidence is

        2 log p = n log β + d log α - n log 2π - β |Fm - y|² - α |m|² - log |A|,

    maximized over α and β; the score is its mean per sample and class. log |A| is over all d
    dimensions, also where there are fewer samples: the missing eigenvalues of FᵀF are zeros, and
    each contributes log α.

    The indicators of a multi-label dataset are those of the labels that some samples have and
    others lack. Those of a regression are its numbers, as in ``logme_regression``.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset; (n,) numbers of a regression.
        task: ``classification``, ``multilabel`` or ``regression``.
        center: Whether the mean of embeddings and indicators is subtracted first, since the model
            has no intercept; False is as in the paper, where the origin of the features matters.

    Returns:
        Mean log evidence in nats per sample; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or all numbers are equal.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(logme(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        0.12
    """
    features = Features.from_embeddings(embeddings, labels, task=task, center=center)
    return logme_of(features, center=center)


def logme_of(features: Features, *, center: bool = True) -> float:
    """Return ``logme`` on a shared decomposition."""
    n, targets = features.shape[0], features.targets
    # an intercept takes one degree of freedom; with n, β would be unbounded where d >= n - 1
    total, freedom = (targets.totals, n - 1) if center else ((targets.columns**2).sum(axis=0), n)
    evidence = _log_evidence(features.space.values, features.projection, total, freedom)
    return float(evidence.mean())


def logme_regression(embeddings: ArrayLike, targets: ArrayLike, *, center: bool = True) -> float:
    """Return the LogME of real-valued targets, which replace the indicators of the classes.

    Each target is first scaled to mean square one (variance one, if centered), since the evidence
    is a density of the targets and would otherwise change with their unit.

    Args:
        embeddings: (n, d) features of n target samples.
        targets: (n,) or (n, t) numbers.
        center: Whether the mean of embeddings and targets is subtracted first.

    Returns:
        Mean log evidence in nats per sample; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there are fewer than three samples,
            or a target is constant.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(logme_regression(embeddings, [0.1, 0.2, 1.1, 0.9]), 2)
        3.8
    """
    rows, numbers = check_numbers(embeddings, targets)
    y = NumberTargets.encode(numbers, center=center)
    return logme_of(Features(Space.from_rows(rows, center=center), y), center=center)


def _log_evidence(
    values: FloatArray, projection: FloatArray, total: FloatArray, samples: int
) -> FloatArray:
    """Return the maximum log evidence per sample of each target, all targets at once.

    Integrated over w, y ~ N(0, (I + F Fᵀ / r) / β) with r = α / β. So the best β for a given r is
    known, and the maximum is searched along r alone, on a grid first since there can be two peaks.

    Args:
        values: (k,) nonzero eigenvalues of FᵀF.
        projection: (k, c) targets in the basis of the features.
        total: (c,) squared length of each target.
        samples: Degrees of freedom: n, or one less if the mean is subtracted.

    Returns:
        (c,) nats per sample.
    """
    spectrum = values / max(values.max(initial=0.0), _TINY)  # (k,) relative to the largest
    power = projection.T**2  # (c, k)
    outside = np.maximum(total - power.sum(axis=1), 0.0)  # what no w explains
    floor = 1e-12 * total + _TINY

    def evidence(square: FloatArray, log_remaining: FloatArray) -> FloatArray:
        fit: FloatArray = samples * np.log(samples / (2 * np.pi * square)) - samples + log_remaining
        return fit / (2 * samples)

    # (k, g) share of y that remains in the residual at each point of the grid
    remaining = 1.0 / (1.0 + spectrum[:, None] / np.exp(_GRID))
    squares = np.maximum(power @ remaining + outside[:, None], floor[:, None])  # (c, g)
    peak = _GRID[evidence(squares, np.log(remaining).sum(axis=0)).argmax(axis=1)]
    step = _GRID[1] - _GRID[0]
    low, high = peak - step, peak + step
    for _ in range(_HALVINGS):  # bisection by the sign of the slope, for every target
        remaining = 1.0 / (1.0 + spectrum / np.exp((low + high) / 2)[:, None])  # (c, k)
        residual = power * remaining
        square = np.maximum(residual.sum(axis=1) + outside, floor)
        # d square / d log r
        slope = residual.sum(axis=1) - np.einsum("ck,ck->c", residual, remaining)
        rises = (1.0 - remaining).sum(axis=1) > samples * slope / square
        low, high = np.where(rises, (low + high) / 2, low), np.where(rises, high, (low + high) / 2)
    remaining = 1.0 / (1.0 + spectrum / np.exp((low + high) / 2)[:, None])
    square = np.maximum((power * remaining).sum(axis=1) + outside, floor)
    return evidence(square, np.log(remaining).sum(axis=1))
