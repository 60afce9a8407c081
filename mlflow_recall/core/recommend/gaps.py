"""What choosing a model, or a set of models, has cost on the recorded datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, means
from mlflow_recall.core.matrix import PerformanceMatrix

#: a gap of exactly the tolerance is within it, whatever its binary digits
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gap to the best model of each dataset, summarised over the history; NaN: never measured."""

    models: tuple[str, ...]
    mean: FloatArray  # (m,)
    low: FloatArray  # (m,) 10 % quantile over the recorded datasets
    high: FloatArray  # (m,) 90 % quantile
    #: (m,) mean score, dominated by how hard the datasets were
    predicted: FloatArray
    within: FloatArray  # (m,) share of datasets on which the gap was within the tolerance
    gaps: FloatArray  # (m, d)
    tolerance: float

    def p_holds_best(self, chosen: Sequence[str]) -> float:
        """Share of datasets on which the *set* held a model within the tolerance of the best.

        Joint: the best member is taken dataset by dataset. NaN without a common dataset.
        """
        rows = [i for i, model in enumerate(self.models) if model in chosen]
        if not rows or not self.gaps.shape[1]:
            return float("nan")
        gaps = self.gaps[rows]
        known = ~np.isnan(gaps).all(axis=0)
        if not known.any():
            return float("nan")
        return float(np.mean(np.nanmin(gaps[:, known], axis=0) <= self.tolerance + _ROUNDING))


def gaps_to_best(matrix: PerformanceMatrix, tolerance: float = 0.01) -> Gaps:
    """Empirical gaps of every model to the best of each recorded dataset.

    Args:
        matrix: (m, d) history, higher is better.
        tolerance: gap that does not matter, in the unit of the scores.
    """
    values = matrix.values
    best = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    gaps = np.where(np.isnan(values), np.nan, best - values)
    low, high = np.full((2, len(matrix.models)), np.nan)
    measured = ~np.isnan(gaps).all(axis=1) if gaps.size else np.zeros(len(gaps), dtype=bool)
    if measured.any():
        low[measured], high[measured] = np.nanquantile(gaps[measured], [0.1, 0.9], axis=1)
    within = means(np.where(np.isnan(gaps), np.nan, gaps <= tolerance + _ROUNDING), axis=1)
    return Gaps(matrix.models, means(gaps, axis=1), low, high, matrix.mean, within, gaps, tolerance)
