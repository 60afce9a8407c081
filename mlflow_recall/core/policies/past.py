"""What a policy may know of the past: how the same models converged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mlflow_recall.core.curves import Curves
from mlflow_recall.core.trends import Trends, mine_trends


@dataclass(frozen=True, eq=False)
class Past:
    """Recorded curves of the same recipe on other datasets, and what was mined from them."""

    curves: Curves
    #: standard deviation of one final test score between repeats; 0 where nobody knows
    noise: float = 0.0

    @cached_property
    def trends(self) -> Trends:
        """Convergence trends of every model at every stage."""
        return mine_trends(self.curves)
