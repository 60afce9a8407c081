"""What a policy may know of the past: how the same models converged elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.trends import Trends, mine_trends


@dataclass(frozen=True, eq=False)
class Past:
    """Recorded curves of the same recipe on other datasets, and what was mined from them."""

    curves: Curves

    def rows(self, models: Sequence[str], values: FloatArray) -> FloatArray:
        """The rows of ``models`` in an array over the models of the curves; NaN without history."""
        places = [self._places.get(model, -1) for model in models]
        found: FloatArray = np.where(np.array(places)[:, None] < 0, np.nan, values[places])
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {model: row for row, model in enumerate(self.curves.models)}

    @cached_property
    def trends(self) -> Trends:
        """Convergence trends of every model at every stage."""
        return mine_trends(self.curves)
