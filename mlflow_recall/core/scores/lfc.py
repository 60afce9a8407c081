"""Label-feature correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.scores.features import Features, Space, unit_rows
from mlflow_recall.core.scores.inputs import class_sums


def lfc(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """Return the label-feature correlation (Deshpande et al. 2021, arXiv:2102.00084).

    It is the cosine ⟨K, L⟩ / (|K| |L|) of the features' Gram matrix K = F Fᵀ and the similarity of
    labels L, which is 1 for two samples of one class and -1 for others, both double-centered. Rows
    of F are the centered embeddings at length one, so that neither the origin of the features nor a
    few long rows decide.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.

    Returns:
        In [0, 1], and 0 where all features are equal; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, or no class
            has a second sample.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]]
        >>> round(lfc(embeddings, ["cat", "cat", "dog", "dog"]), 2)
        1.0
    """
    return lfc_of(Features.from_embeddings(embeddings, labels))


def lfc_of(features: Features) -> float:
    """Return ``lfc`` on shared embeddings; what does not depend on labels is cached."""
    rows, length = features.space.cached("lfc", lambda: _centered_unit_rows(features.space))
    if length == 0.0:
        return 0.0
    n, counts = len(features.labels), features.counts
    aligned = (class_sums(rows, features.labels) ** 2).sum()  # ⟨K, Y Yᵀ⟩ for a centered K
    # |L| / 2 = |Cᵀ C| of the centered one-hot labels C, Cᵀ C = diag(counts) - counts countsᵀ / n
    squares = (counts**2).sum()
    label_length = np.sqrt(squares - 2 * (counts**3).sum() / n + (squares / n) ** 2)
    return float(np.clip(aligned / (length * label_length), 0.0, 1.0))


def _centered_unit_rows(space: Space) -> tuple[FloatArray, float]:
    """Return centered rows of length one, and the Frobenius norm of their Gram matrix."""
    unit = unit_rows(space.rows)
    rows = unit - unit.mean(axis=0)
    return rows, float(np.linalg.norm(Space(rows).gram))
