"""Label-feature correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space, unit_rows
from mlflow_recall.core.scores.targets import ClassTargets, Targets


def lfc(embeddings: ArrayLike, labels: ArrayLike, *, task: str = CLASSIFICATION) -> float:
    """Return the label-feature correlation (Deshpande et al. 2021, arXiv:2102.00084).

    It is the cosine ⟨K, L⟩ / (|K| |L|) of the features' Gram matrix K = F Fᵀ and the similarity of
    labels L, which is 1 for two samples of one class and -1 for others, both double-centered. Rows
    of F are the centered embeddings at length one, so that neither the origin of the features nor a
    few long rows decide.

    Centered, L is 2 Y Yᵀ of the centered one-hot labels Y. That is how the score extends to other
    tasks than the paper's: Y are the centered label vectors of a multi-label dataset, or the
    centered numbers of a regression.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset; (n,) numbers of a regression.
        task: ``classification``, ``multilabel`` or ``regression``.

    Returns:
        In [0, 1], and 0 where all features are equal; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or all numbers are equal.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(lfc(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        1.0
    """
    return lfc_of(Features.from_embeddings(embeddings, labels, task=task))


def lfc_of(features: Features) -> float:
    """Return ``lfc`` on shared embeddings; what does not depend on labels is cached."""
    rows, length = features.space.cached("lfc", lambda: _centered_unit_rows(features.space))
    if length == 0.0:
        return 0.0
    aligned = (features.targets.sums(rows) ** 2).sum()  # ⟨K, Y Yᵀ⟩ for a centered K
    return float(np.clip(aligned / (length * _kernel_length(features.targets)), 0.0, 1.0))


def _kernel_length(targets: Targets) -> float:
    """Return the Frobenius norm of Y Yᵀ of the centered columns Y."""
    if not isinstance(targets, ClassTargets):
        return float(np.linalg.norm(Space.from_rows(targets.columns).gram))
    # that of Yᵀ Y = diag(counts) - counts countsᵀ / n
    n, counts = len(targets.labels), targets.counts
    squares = (counts**2).sum()
    return float(np.sqrt(squares - 2 * (counts**3).sum() / n + (squares / n) ** 2))


def _centered_unit_rows(space: Space) -> tuple[FloatArray, float]:
    """Return centered rows of length one, and the Frobenius norm of their Gram matrix."""
    unit = unit_rows(space.rows)
    rows = unit - unit.mean(axis=0)
    return rows, float(np.linalg.norm(Space(rows).gram))
