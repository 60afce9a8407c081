"""What to benchmark next: the cells whose measurement says most about the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray, IntArray
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.planning.belief import fit_belief

#: relative difference below which two gains are equal
_ROUNDING = 1e-9
#: variance of a dataset's unknown level, relative to that of the models on a dataset
_LEVEL_VARIANCE = 1e4


@dataclass(frozen=True)
class NextCell:
    """A cell to benchmark, and what its measurement says."""

    model: str
    dataset: str
    #: share of the uncertainty about the models' strengths that it removes, in [0, 1]
    uncertainty_removed: float


def next_cells(
    matrix: PerformanceMatrix,
    count: int,
    *,
    noise: float = 0.0,
    available: Sequence[str] | None = None,
) -> list[NextCell]:
    """Choose the cells whose measurement leaves the least uncertainty about the models' order.

    They are chosen one by one. Each lowers the mean posterior variance of the strengths around
    their common mean the most (A-optimal design), given those before it. The variance of a normal
    belief does not depend on the score that a cell will have, so this is exact under the model of
    ``fit_belief``, and has a closed form. A model without history is proposed on the datasets where
    the others are best known.

    Args:
        matrix: (m, d) history; a row of NaN is a new model.
        count: Number of cells, at least 1; fewer where fewer are missing.
        noise: Standard deviation of one score between repeats; 0 where it is unknown.
        available: Models that can be trained; None: all.

    Raises:
        HistoryError: No dataset has two measured models.
    """
    belief = fit_belief(matrix, noise)
    can_train = np.array([available is None or model in available for model in matrix.models])
    measured, covariance = belief.is_measured.copy(), np.array(belief.covariance)
    missing = [
        _MissingCells(belief.residual_covariance, measured[:, j], can_train, covariance)
        for j in range(measured.shape[1])
    ]
    total, chosen = belief.uncertainty, list[NextCell]()
    while len(chosen) < count and any(len(cells.rows) for cells in missing):
        gains = [cells.gains() for cells in missing]
        largest = max(float(values.max(initial=0.0)) for values in gains)
        # equal gains are ordered by name, so that neither the input's order nor rounding decides
        model, dataset, j, best = min(
            (matrix.models[missing[j].rows[k]], matrix.datasets[j], j, k)
            for j, values in enumerate(gains)
            for k in np.flatnonzero(values >= largest * (1.0 - _ROUNDING)).tolist()
        )
        update = missing[j].update_for(best)
        chosen.append(NextCell(model, dataset, float(gains[j][best]) / total))
        covariance -= np.outer(update, update)
        measured[missing[j].rows[best], j] = True
        for cells in missing:
            cells.apply(update)
        missing[j] = _MissingCells(
            belief.residual_covariance, measured[:, j], can_train, covariance
        )
    return chosen


class _MissingCells:
    """The c missing cells of one dataset, and what the measurement of each would say.

    A cell observes the model's strength less what the measured models predict on the dataset.

    Args:
        deviation: (m, m) covariance of the models' deviations on one dataset.
        measured: (m,) whether a model is measured on it.
        can_train: (m,) whether a model can be trained.
        covariance: (m, m) covariance of the strengths.
    """

    def __init__(
        self,
        deviation: FloatArray,
        measured: BoolArray,
        can_train: BoolArray,
        covariance: FloatArray,
    ) -> None:
        rows, others = np.flatnonzero(~measured & can_train), np.flatnonzero(measured)
        design = np.zeros((len(measured), len(rows)))
        design[rows, np.arange(len(rows))] = 1.0
        total = deviation + _LEVEL_VARIANCE * float(np.mean(np.diag(deviation)))
        noise = np.diag(total)[rows].copy()
        if len(others) and len(rows):
            across = total[np.ix_(others, rows)]
            weights = np.linalg.solve(total[np.ix_(others, others)], across)
            design[others] = -weights
            noise -= (across * weights).sum(axis=0)
        #: (c,) indices of the cells' models
        self.rows: IntArray = rows
        self._design = design  # (m, c) weights of the strengths in each cell
        self._noise = np.maximum(noise, 1e-12)  # (c,) variance that strengths do not explain
        self._across = covariance @ design  # (m, c) covariance of strengths and cells

    def gains(self) -> FloatArray:
        """Return (c,) decreases of the mean variance of the strengths around their common mean."""
        return cast(FloatArray, self._across.var(axis=0) / self._variance)

    def update_for(self, cell: int) -> FloatArray:
        """Return (m,) changes of the strengths for one standard deviation of a cell's score."""
        return cast(FloatArray, self._across[:, cell] / np.sqrt(self._variance[cell]))

    def apply(self, update: FloatArray) -> None:
        """Take into account that a cell with this (m,) ``update_for`` is measured."""
        self._across -= np.outer(update, update @ self._design)

    @property
    def _variance(self) -> FloatArray:
        """(c,) variance of each cell's score."""
        return cast(FloatArray, (self._design * self._across).sum(axis=0) + self._noise)
