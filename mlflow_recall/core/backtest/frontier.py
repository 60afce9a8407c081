"""Regret frontier: the regret of a policy by its cost, over all its settings, and its area."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, read_only
from mlflow_recall.errors import HistoryError

#: maximum number of settings of a policy: the best of more would be good by chance
MAX_SETTINGS = 12
#: costs at which the frontier is read, evenly spaced in the logarithm
_COSTS = 41
#: largest cost, relative to that of one model that is trained to the end
_MAX_COST = 5.0


@dataclass(frozen=True, eq=False)
class Frontier:
    """Cost and regret of s settings of one policy on d datasets.

    The first setting trains one model to the end, so some setting is affordable at every cost.
    """

    datasets: tuple[str, ...]
    epochs: FloatArray  # (s, d)
    regrets: FloatArray  # (s, d) in the unit of the metric
    #: stages of one fine-tuning
    stages: int

    def __post_init__(self) -> None:
        shape = self.epochs.shape
        if len(shape) != 2 or self.regrets.shape != shape or shape[1] != len(self.datasets):
            raise HistoryError(
                f"frontier: expected epochs and regrets of settings x {len(self.datasets)} "
                f"datasets, got {shape} and {self.regrets.shape}"
            )
        if not 1 <= shape[0] <= MAX_SETTINGS:
            raise HistoryError(
                f"frontier: expected 1 to {MAX_SETTINGS} settings fixed beforehand, got {shape[0]}"
            )
        if (self.epochs[0] != self.stages).any():
            raise HistoryError(
                f"frontier: expected a first setting that trains one model for {self.stages} "
                f"epochs, got one that costs {self.epochs[0].mean():g}"
            )
        object.__setattr__(self, "epochs", read_only(self.epochs))
        object.__setattr__(self, "regrets", read_only(self.regrets))

    @property
    def points(self) -> list[tuple[float, float]]:
        """Mean epochs and mean regret of every setting, cheapest first."""
        return sorted(
            zip(self.epochs.mean(axis=1).tolist(), self.regrets.mean(axis=1).tolist(), strict=True)
        )

    @cached_property
    def costs(self) -> FloatArray:
        """(c,) epochs at which the frontier is read: from one model trained to the end to five."""
        costs: FloatArray = np.geomspace(self.stages, _MAX_COST * self.stages, _COSTS)
        return costs

    @cached_property
    def plain(self) -> FloatArray:
        """(d,) mean regret over the costs, each with the setting that is best on all datasets."""
        best = self._best_affordable(self.epochs.mean(axis=1), self.regrets.mean(axis=1))
        return self._mean_regret(best[:, None])

    @cached_property
    def nested(self) -> FloatArray:
        """(d,) mean regret over the costs, each with the setting that is best on other datasets."""
        d = len(self.datasets)
        if d < 2:
            return np.full(d, np.nan)
        epochs = (self.epochs.sum(axis=1, keepdims=True) - self.epochs) / (d - 1)
        regrets = (self.regrets.sum(axis=1, keepdims=True) - self.regrets) / (d - 1)
        best = [self._best_affordable(epochs[:, j], regrets[:, j]) for j in range(d)]
        return self._mean_regret(np.column_stack(best))

    @property
    def area(self) -> float:
        """Mean over the costs of the lowest mean regret reached at no more than that cost."""
        return float(self.plain.mean())

    @property
    def area_nested(self) -> float:
        """``area`` with settings chosen on the other datasets; NaN for a single dataset."""
        return float(self.nested.mean())

    @property
    def error(self) -> float:
        """Standard error of ``area`` over datasets."""
        return paired(self.plain, np.zeros_like(self.plain))[1]

    def _best_affordable(self, epochs: FloatArray, regrets: FloatArray) -> IntArray:
        """Return (c,) index of the best setting that is affordable at each cost."""
        affordable = epochs <= self.costs[:, None] + 1e-9
        best: IntArray = np.where(affordable, regrets, np.inf).argmin(axis=1)
        return best

    def _mean_regret(self, settings: IntArray) -> FloatArray:
        """Return (d,) mean over costs of the regret of some settings, (c, 1) or (c, d)."""
        rows = np.broadcast_to(settings, (len(self.costs), len(self.datasets)))
        regret: FloatArray = np.take_along_axis(self.regrets, rows, axis=0).mean(axis=0)
        return regret


def paired(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Return the mean of ``one - other`` over datasets and its standard error.

    The standard error is NaN for fewer than two datasets, and the mean for none.
    """
    difference = one - other
    if len(difference) < 2:
        return float(difference.mean()) if len(difference) else float("nan"), float("nan")
    error = float(difference.std(ddof=1) / np.sqrt(len(difference)))
    return float(difference.mean()), error
