"""What a policy may know: how the same models converged on other datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, nan_mean
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies.trends import Trends, mine_trends
from mlflow_recall.core.recommend import PredictedGaps


@dataclass(frozen=True, eq=False)
class PolicyHistory:
    """Recorded curves of the same recipe on other datasets, and what is mined from them."""

    curves: Curves
    #: gaps that a recommender with scores of the target predicts there, and predicted for the
    #: recorded datasets; None: it had no scores of the target
    expected_gaps: PredictedGaps | None = None

    def rows_of(self, models: Sequence[str], values: FloatArray) -> FloatArray:
        """Return the rows of ``models`` in an array over the models of the curves.

        Args:
            models: n names.
            values: (m, d) array whose rows are the models of the curves.

        Returns:
            (n, d); NaN for models without a history.
        """
        places = _indices(self._row_index, models)
        rows: FloatArray = np.where(places[:, None] < 0, np.nan, values[places])
        return rows

    def gap_shift(self, models: Sequence[str]) -> FloatArray | None:
        """Return how much larger a gap was predicted for a recorded dataset than for the target.

        Returns:
            (n, d) differences beside the mean over the models; 0 where nothing was predicted.
            None without a recommender that has scores of the target.
        """
        gaps = self.expected_gaps
        if gaps is None or gaps.held_out_expected is None:
            return None
        shift = gaps.held_out_expected - gaps.mean[:, None]
        padded = np.pad(shift, (0, 1), constant_values=np.nan)
        rows = _indices(_index(gaps.models), models)
        columns = _indices(_index(gaps.datasets), self.curves.datasets)
        shift = padded[np.ix_(rows, columns)]
        relative: FloatArray = np.nan_to_num(shift - nan_mean(shift, axis=0))
        return relative

    @cached_property
    def trends(self) -> Trends:
        """Convergence trends of every model at every stage."""
        return mine_trends(self.curves)

    @cached_property
    def _row_index(self) -> dict[str, int]:
        return _index(self.curves.models)


def _index(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _indices(index: Mapping[str, int], names: Sequence[str]) -> IntArray:
    """Return the index of every name; -1 for the unknown ones."""
    return np.array([index.get(name, -1) for name in names], dtype=np.intp)
