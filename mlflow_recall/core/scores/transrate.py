"""Coding rate that the features lose when the labels are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.targets import CLASS_TASKS, ClassTargets
from mlflow_recall.errors import ScoreInputError


def transrate(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    task: str = CLASSIFICATION,
    distortion: float = 1e-4,
) -> float:
    """Return TransRate (Huang et al. 2022, arXiv:2106.09362).

    It is R(F) - Σ_c n_c / n R(F_c), with F the centered embeddings, F_c those of class c and the
    coding rate R(F) = ½ log |I + FᵀF / (n ε)|. Classes count by their size. The score of a
    multi-label dataset is the mean over the labels that some samples have and others lack, each of
    which makes two classes.

    F_c keeps the mean of its class. So how far apart two classes of one size are does not count:
    their centered means are opposite, and equal in FᵀF. Labels that half of the samples have are
    better judged by another score.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset.
        task: ``classification`` or ``multilabel``.
        distortion: ε, in the squared unit of the features. The score depends on that unit: compare
            models on features at length one.

    Returns:
        Nats, at least 0; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or the distortion is not positive.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(transrate(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        0.36
    """
    features = Features.from_embeddings(embeddings, labels, task=task, served=CLASS_TASKS)
    return transrate_of(features, distortion=distortion)


def transrate_of(features: Features, *, distortion: float = 1e-4) -> float:
    """Return ``transrate`` on a shared decomposition."""
    if not distortion > 0:
        raise ScoreInputError(f"distortion: expected a positive number, got {distortion}")
    return features.mean_over_labels(
        lambda space, classes: _transrate_of_classes(space, classes, distortion)
    )


def _transrate_of_classes(space: Space, classes: ClassTargets, distortion: float) -> float:
    n = len(classes.labels)
    rate = 0.5 * np.log1p(space.values / (n * distortion)).sum()
    by_class = np.split(
        np.argsort(classes.labels, kind="stable"), np.cumsum(classes.counts)[:-1].astype(int)
    )
    for members in by_class:
        size = len(members)
        if space.is_wide:
            gram = space.gram[np.ix_(members, members)]
        else:
            rows = space.rows[members]
            gram = rows @ rows.T if size < rows.shape[1] else rows.T @ rows
        rate -= size / n * _log_det(gram / (size * distortion))
    return float(max(rate, 0.0))


def _log_det(gram: FloatArray) -> float:
    """Return ½ log |I + gram|."""
    return float(np.log(np.diag(np.linalg.cholesky(np.eye(len(gram)) + gram))).sum())
