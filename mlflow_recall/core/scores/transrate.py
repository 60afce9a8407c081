"""Coding rate that the features lose when the labels are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.scores.features import Features
from mlflow_recall.errors import ScoreInputError


def transrate(embeddings: ArrayLike, labels: ArrayLike, *, distortion: float = 1e-4) -> float:
    """Return TransRate (Huang et al. 2022, arXiv:2106.09362).

    It is R(F) - Σ_c n_c / n R(F_c), with F the centered embeddings, F_c those of class c and the
    coding rate R(F) = ½ log |I + FᵀF / (n ε)|. Classes count by their size.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.
        distortion: ε, in the squared unit of the features. The score depends on that unit: compare
            models on features at length one.

    Returns:
        Nats, at least 0; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, or the distortion is not positive.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(transrate(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        0.36
    """
    return transrate_of(Features.from_embeddings(embeddings, labels), distortion=distortion)


def transrate_of(features: Features, *, distortion: float = 1e-4) -> float:
    """Return ``transrate`` on a shared decomposition."""
    if not distortion > 0:
        raise ScoreInputError(f"distortion: expected a positive number, got {distortion}")
    space, n = features.space, len(features.labels)
    rate = 0.5 * np.log1p(space.values / (n * distortion)).sum()
    by_class = np.split(
        np.argsort(features.labels, kind="stable"), np.cumsum(features.counts)[:-1].astype(int)
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
