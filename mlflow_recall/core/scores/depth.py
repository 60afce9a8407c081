"""The depth term that PARC's authors add to a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.errors import ScoreInputError

#: of a score's name: its values have the depth term
_SUFFIX = "+depth"


def base_of(name: str) -> str:
    """Name of the score itself: ``parc`` of ``parc+depth``."""
    return name.removesuffix(_SUFFIX)


def with_depth(scores: ArrayLike, layers: ArrayLike, *, weight: float = 1.0) -> FloatArray:
    """Scores of several models with their capacity to learn (Bolya et al. 2021, arXiv:2111.06977).

    A score sees features as they are, but fine-tuning changes them, and deeper networks change
    more. So the scores, at mean 0 and variance 1 over the models, and the numbers of layers are
    added. The authors divide layers by 50, the deepest network of theirs; here it is the deepest
    at hand, so that the term lies in (0, 1] whatever is called a layer.

    Args:
        scores: (m,) one score of m models on the same dataset, higher transfers better.
        layers: (m,) weight layers of each, 1 or more.
        weight: of the depth term.

    Returns:
        (m,) in standard deviations; where all scores are equal, depth alone.

    Raises:
        ScoreInputError: lengths differ, or a value is not finite, or a model has no layer.
    """
    values = np.asarray(scores, dtype=np.float64)
    depth = np.asarray(layers, dtype=np.float64)
    if values.ndim != 1 or values.shape != depth.shape or not len(values):
        raise ScoreInputError(
            f"expected scores (m,) and layers (m,), got {values.shape} and {depth.shape}"
        )
    if not np.isfinite(values).all() or not np.isfinite(depth).all() or depth.min() < 1:
        raise ScoreInputError(
            f"expected finite scores and at least one layer each, got scores from "
            f"{values.min():g} to {values.max():g} and layers from {depth.min():g}"
        )
    spread = values.std()
    centered = values - values.mean()
    told = centered / spread if spread > 1e-12 * max(1.0, float(np.abs(values).max())) else 0.0
    return np.asarray(told + weight * depth / depth.max())
