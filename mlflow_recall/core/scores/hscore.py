"""Regularized H-score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features
from mlflow_recall.core.scores.targets import CLASS_TASKS, ClassTargets


def hscore(embeddings: ArrayLike, labels: ArrayLike, *, task: str = CLASSIFICATION) -> float:
    """Return the regularized H-score (Bao et al. 2019; Ibrahim et al. 2021, arXiv:2110.06893).

    It is tr(Σ_α⁻¹ (1 - α) Σ_B), with Σ_B the covariance of the class means and
    Σ_α = (1 - α) Σ + α tr(Σ) / d I the covariance of the embeddings, shrunk by Ledoit and Wolf's
    α as in Ibrahim et al. Without shrinkage it would be c - 1 for any labels where n <= d + 1.
    The covariance of a single dimension is not shrunk (α = 0), so the score is the share of the
    variance that lies between the classes. The score of a multi-label dataset is the mean over the
    labels that some samples have and others lack, each of which makes two classes.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset.
        task: ``classification`` or ``multilabel``.

    Returns:
        From 0 to one less than the number of classes; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, or no label tells two samples apart.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(hscore(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        0.96
    """
    return hscore_of(Features.from_embeddings(embeddings, labels, task=task, served=CLASS_TASKS))


def hscore_of(features: Features) -> float:
    """Return ``hscore`` on a shared decomposition."""
    (n, d), space = features.shape, features.space
    variances = space.values / n  # (k,) nonzero eigenvalues of Σ
    if not variances.size:
        return 0.0
    mean = variances.sum() / d
    distance = (variances**2).sum() - d * mean**2  # |Σ - mean I|²
    lengths = np.einsum("id,id->i", space.rows, space.rows)
    noise = ((lengths**2).sum() / n - (variances**2).sum()) / n  # expected |Σ - true Σ|²
    shrinkage = min(max(noise, 0.0) / distance, 1.0) if distance > 0 else 1.0
    if d == 1:
        shrinkage = 0.0  # Σ equals mean I, and |Σ - mean I|² is a rounding error
    squares, targets = features.projection**2, features.targets
    # (k,) share of each variance that lies between the classes, in [0, 1]
    if isinstance(targets, ClassTargets):
        between = (squares / targets.counts).sum(axis=1)
    else:  # of the two classes of a label, 1 / n_1 + 1 / n_0 = 1 / (n_1 (1 - n_1 / n))
        between = (squares / targets.totals).mean(axis=1)
    kept = (1.0 - shrinkage) * variances
    return float((between * kept / (kept + shrinkage * mean)).sum())
