"""How well a linear probe predicts the target of a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features
from mlflow_recall.core.scores.targets import ClassTargets

#: ridge penalties that are tried, relative to the largest eigenvalue of FᵀF
_PENALTIES = np.logspace(-7.0, 2.0, 37)


def linear_probe(embeddings: ArrayLike, labels: ArrayLike, *, task: str = CLASSIFICATION) -> float:
    """Return the leave-one-out metric of a linear probe (Alain & Bengio 2016, arXiv:1610.01644).

    The probe is ridge regression on one-hot labels, label vectors or numbers. Its n leave-one-out
    predictions have a closed form: (ŷ - h y) / (1 - h) with h the leverage of a sample (Allen
    1974). The penalty is the one with the least generalized cross-validation error (Golub et al.
    1979). The means of the features and of the targets are those of all samples: if a sample were
    left out of them as well, uninformative features would score below chance. The metric is the
    primary one of the task:

    - classification: accuracy. One penalty serves all classes.
    - multilabel: average precision, the mean over the labels that some samples have and others
      lack. Each label has a penalty of its own.
    - regression: Spearman's correlation of the number with its prediction.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset; (n,) numbers of a regression.
        task: ``classification``, ``multilabel`` or ``regression``.

    Returns:
        In [0, 1], and in [-1, 1] for a regression; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or all numbers are equal.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> linear_probe(embeddings, ["cat", "cat", "dog", "dog"])
        1.0
    """
    return linear_probe_of(Features.from_embeddings(embeddings, labels, task=task))


def linear_probe_of(features: Features) -> float:
    """Return ``linear_probe`` on a shared decomposition."""
    n, targets, values = features.shape[0], features.targets, features.space.values
    means = targets.means
    if not values.size:
        return targets.evaluate(np.tile(means, (n, 1)))
    power = features.projection**2  # (k, t) squared targets in each direction
    total = targets.totals
    if isinstance(targets, ClassTargets):  # one penalty for all classes
        power, total = power.sum(axis=1, keepdims=True), n * (1.0 - (means**2).sum(keepdims=True))
    outside = np.maximum(total - power.sum(axis=0), 0.0)
    # (p, k) share of each direction that is not explained
    unexplained = 1.0 - 1.0 / (1.0 + _PENALTIES[:, None] * values[0] / values)
    freedom = np.maximum(n - 1 - len(values) + unexplained.sum(axis=1), np.finfo(np.float64).tiny)
    best = np.argmin((unexplained**2 @ power + outside) / freedom[:, None] ** 2, axis=0)
    kept = 1.0 - unexplained[best].T  # (k, t), or (k, 1) for classes
    basis = features.space.left
    leverage = np.minimum(basis**2 @ kept, 1.0 - 1e-9)
    odds = leverage / (1.0 - leverage)
    fitted = basis @ (kept * features.projection)  # (n, t) without the means
    fitted += odds * (fitted + means)
    fitted -= odds * targets.columns
    return targets.evaluate(fitted + means)
