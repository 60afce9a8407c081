"""The depth term that PARC's authors add to a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.errors import ScoreInputError

#: suffix of the name of a score with the depth term
_SUFFIX = "+depth"


def base_of(name: str) -> str:
    """Return the name of a score without the depth term.

    Example:
        >>> base_of("parc+depth")
        'parc'
    """
    return name.removesuffix(_SUFFIX)


def with_depth(scores: ArrayLike, layers: ArrayLike, *, weight: float = 1.0) -> FloatArray:
    """Add the depth of models to their scores (Bolya et al. 2021, arXiv:2111.06977).

    A score is computed on the features before fine-tuning, which changes those of deeper networks
    more. So the numbers of layers are added to the scores, which have mean 0 and variance 1 over
    the models. The authors divide the layers by 50, those of their deepest network; here they are
    divided by those of the deepest model at hand, so that the term is in (0, 1] whatever counts as
    a layer.

    Args:
        scores: (m,) one score of m models on the same dataset, higher transfers better.
        layers: (m,) weight layers of each model, 1 or more.
        weight: Weight of the depth term.

    Returns:
        (m,) sums in standard deviations; where all scores are equal, the depth term alone.

    Raises:
        ScoreInputError: Lengths differ, a value is not finite, or a model has no layer.

    Example:
        >>> with_depth([0.2, 0.4], [12, 24]).round(1).tolist()
        [-0.5, 2.0]
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
    varies = spread > 1e-12 * max(1.0, float(np.abs(values).max()))
    standardized = centered / spread if varies else 0.0
    return np.asarray(standardized + weight * depth / depth.max())
