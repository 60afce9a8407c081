"""What to benchmark next: the cells that teach most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.planning.belief import fit_belief

#: share by which two cells must differ to be told apart
_ROUNDING = 1e-9
#: a dataset's mean is unknown: its variance, in that of the models on a dataset
_LEVEL = 1e4


@dataclass(frozen=True)
class NextCell:
    """A fine-tuning that was not made yet."""

    model: str
    dataset: str
    #: share of the uncertainty about the models that it removes, in [0, 1]
    uncertainty_removed: float


def next_cells(
    matrix: PerformanceMatrix,
    count: int,
    *,
    noise: float = 0.0,
    available: Sequence[str] | None = None,
) -> list[NextCell]:
    """The cells whose measurement leaves least uncertainty about who is stronger than whom.

    Chosen one by one: each is the one that lowers the mean posterior variance of the strengths
    about their common mean the most (A-optimal design), given those before it. The variance of a
    normal belief does not depend on what a cell will turn out to be, so this is exact under the
    model of ``believe``, and closed-form. A model without history is proposed on the datasets where
    the others are best known.

    Args:
        matrix: (m, d) history; a row of NaN is a new model.
        count: cells that are wished, at least 1; fewer where fewer are missing.
        noise: see ``believe``.
        available: models that can be trained; None: all.
    """
    belief = fit_belief(matrix, noise)
    able = np.array([available is None or model in available for model in matrix.models])
    known, covariance = belief.is_measured.copy(), np.array(belief.covariance)
    missing = [
        _Open(belief.residual_covariance, known[:, j], able, covariance)
        for j in range(known.shape[1])
    ]
    total, chosen = belief.uncertainty, list[NextCell]()
    while len(chosen) < count and any(len(each.rows) for each in missing):
        gains = [each.gains() for each in missing]
        top = max(float(some.max(initial=0.0)) for some in gains)
        # equals by name, so that neither order nor rounding decides
        model, dataset, j, best = min(
            (matrix.models[missing[j].rows[k]], matrix.datasets[j], j, k)
            for j, some in enumerate(gains)
            for k in np.flatnonzero(some >= top * (1.0 - _ROUNDING)).tolist()
        )
        update = missing[j].update(best)
        chosen.append(NextCell(model, dataset, float(gains[j][best]) / total))
        covariance -= np.outer(update, update)
        known[missing[j].rows[best], j] = True
        for each in missing:
            each.learn(update)
        missing[j] = _Open(belief.residual_covariance, known[:, j], able, covariance)
    return chosen


class _Open:
    """The c missing cells of one dataset, and what each would teach.

    A cell observes the model's own strength less what the dataset's measured models foretell.

    Args:
        deviation: (m, m) of models on one dataset.
        known: (m,) models that were measured on it.
        able: (m,) models that can be trained.
        covariance: (m, m) of the strengths.
    """

    def __init__(
        self,
        deviation: FloatArray,
        known: NDArray[np.bool_],
        able: NDArray[np.bool_],
        covariance: FloatArray,
    ) -> None:
        rows, there = np.flatnonzero(~known & able), np.flatnonzero(known)
        seen = np.zeros((len(known), len(rows)))
        seen[rows, np.arange(len(rows))] = 1.0
        total = deviation + _LEVEL * float(np.mean(np.diag(deviation)))
        noise = np.diag(total)[rows].copy()
        if len(there) and len(rows):
            across = total[np.ix_(there, rows)]
            weights = np.linalg.solve(total[np.ix_(there, there)], across)
            seen[there] = -weights
            noise -= (across * weights).sum(axis=0)
        #: (c,) models of the cells
        self.rows: IntArray = rows
        self._seen = seen  # (m, c) weights of the strengths
        self._noise = np.maximum(noise, 1e-12)  # (c,) variance that strengths do not explain
        self._across = covariance @ seen  # (m, c) covariance with the strengths

    def gains(self) -> FloatArray:
        """(c,) drop of the mean variance of the strengths about their common mean."""
        return cast(FloatArray, self._across.var(axis=0) / self._variance)

    def update(self, cell: int) -> FloatArray:
        """(m,) what one standard deviation of the cell's surprise moves the strengths by."""
        return cast(FloatArray, self._across[:, cell] / np.sqrt(self._variance[cell]))

    def learn(self, update: FloatArray) -> None:
        """A cell was chosen that moves the strengths so."""
        self._across -= np.outer(update, update @ self._seen)

    @property
    def _variance(self) -> FloatArray:
        """(c,) of what each cell will turn out to be."""
        return cast(FloatArray, (self._seen * self._across).sum(axis=0) + self._noise)
