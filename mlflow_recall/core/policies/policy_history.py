"""What a policy may know of the past: how the same models converged elsewhere."""

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
    """Recorded curves of the same recipe on other datasets, and what was mined from them."""

    curves: Curves
    #: what a recommender that was told of the target expects of it, and expected of the recorded
    #: datasets; None: nobody was told of it
    expected_gaps: PredictedGaps | None = None

    def rows_of(self, models: Sequence[str], values: FloatArray) -> FloatArray:
        """The rows of ``models`` in an array over the models of the curves; NaN without history."""
        places = _places_in(self._rows, models)
        found: FloatArray = np.where(places[:, None] < 0, np.nan, values[places])
        return found

    def gap_shift(self, models: Sequence[str]) -> FloatArray | None:
        """By how much farther from the best models were expected to be than they are here.

        Returns:
            (n, d) differences beside the mean over the models; 0 where nothing was expected. None
            where nobody was asked.
        """
        known = self.expected_gaps
        if known is None or known.held_out_expected is None:
            return None
        padded = np.pad(
            known.held_out_expected - known.mean[:, None], (0, 1), constant_values=np.nan
        )
        rows = _places_in(_index(known.models), models)
        columns = _places_in(_index(known.datasets), self.curves.datasets)
        found = padded[np.ix_(rows, columns)]
        beside: FloatArray = np.nan_to_num(found - nan_mean(found, axis=0))
        return beside

    @cached_property
    def _rows(self) -> dict[str, int]:
        return _index(self.curves.models)

    @cached_property
    def trends(self) -> Trends:
        """Convergence trends of every model at every stage."""
        return mine_trends(self.curves)


def _index(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _places_in(index: Mapping[str, int], wanted: Sequence[str]) -> IntArray:
    """Place of every wanted name; -1 of those that are not there."""
    return np.array([index.get(name, -1) for name in wanted], dtype=np.intp)
