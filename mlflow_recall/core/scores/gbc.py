"""Gaussian Bhattacharyya coefficient."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.targets import CLASS_TASKS, ClassTargets

#: maximum number of principal components
_COMPONENTS = 64


def gbc(embeddings: ArrayLike, labels: ArrayLike, *, task: str = CLASSIFICATION) -> float:
    """Return the Gaussian Bhattacharyya coefficient (Pándy et al. 2022, arXiv:2111.12780).

    It is -Σ_{a ≠ b} exp(-D(a, b)) over ordered pairs of classes. Each class is a spherical Gaussian
    in the first k principal components, at most 64, and with s = (s_a + s_b) / 2 of the variances

        D(a, b) = |μ_a - μ_b|² / (8 s) + k / 2 log(s / √(s_a s_b)).

    A class of one sample has the variance within all classes together. The score of a multi-label
    dataset is the mean over the labels that some samples have and others lack, each of which makes
    two classes.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset.
        task: ``classification`` or ``multilabel``.

    Returns:
        From -c (c - 1), where all c classes are alike, to 0, where no two of them overlap; higher
        transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, or no label tells two samples apart.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.6, 0.4], [1.0, 0.0], [0.3, 0.8]]
        >>> round(gbc(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        -1.74
    """
    return gbc_of(Features.from_embeddings(embeddings, labels, task=task, served=CLASS_TASKS))


def gbc_of(features: Features) -> float:
    """Return ``gbc`` on a shared decomposition."""
    return features.mean_over_labels(_gbc_of_classes)


def _gbc_of_classes(space: Space, classes: ClassTargets) -> float:
    counts, c = classes.counts, len(classes.counts)
    if not space.values.size:
        return float(-c * (c - 1))
    rows = space.cached("gbc", lambda: space.components(_COMPONENTS))  # (n, k)
    k = rows.shape[1]
    means = classes.sums(rows) / counts[:, None]  # (c, k)
    squared = ((rows - means[classes.labels]) ** 2).sum(axis=1)
    squares = np.bincount(classes.labels, squared)  # (c,) squared distances from the mean
    # a class of one sample adds neither a distance nor a degree of freedom
    within = squares.sum() / ((counts - 1).sum() * k)
    variances = np.where(counts > 1, squares / (np.maximum(counts - 1, 1) * k), within)
    variances = np.maximum(
        variances, 1e-12 * space.values[0] / len(rows)
    )  # 0 for a class of duplicates
    lengths = (means**2).sum(axis=1)
    squared_distance = np.maximum(lengths[:, None] + lengths - 2.0 * means @ means.T, 0.0)  # (c, c)
    shared = (variances[:, None] + variances) / 2.0
    logs = np.log(variances) / 2.0
    distance = squared_distance / (8.0 * shared) + k / 2.0 * (np.log(shared) - logs[:, None] - logs)
    overlap = np.exp(-np.maximum(distance, 0.0))
    return float(-(overlap.sum() - np.trace(overlap)))
