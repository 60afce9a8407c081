"""Units of scores: which scores compare as they are, and what a regret is measured in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.core.standardize import spreads

#: unit of all metrics whose highest value is 1
POINTS = "points"
#: regret that is treated as zero: one point, or the share of a spread that one point of accuracy is
#: in the median of 350 public datasets
_POINT, _SHARE = 0.01, 0.1


def unit_of(metric: str, dataset: str) -> str:
    """Return the unit of a metric's scores on a dataset; scores of one unit compare as they are.

    All metrics whose highest value is 1 share the unit ``POINTS``, as in the paper's matrix, which
    mixes accuracies, Matthews correlations and a correlation. An error of numbers is in the unit of
    its dataset. Every other metric, known or not, is a unit of its own.

    Example:
        >>> unit_of("f1", "mrpc"), unit_of("log_loss", "mrpc"), unit_of("rmse", "stsb")
        ('points', 'log_loss', 'rmse of stsb')
    """
    row = METRICS.get(metric)
    if row is not None and row.high == 1:
        return POINTS
    return f"{metric} of {dataset}" if row is not None and row.is_in_label_unit else metric


@dataclass(frozen=True)
class RegretUnit:
    """What regret, gaps and tolerance are measured in; ``regret_unit`` decides.

    Example:
        >>> RegretUnit(("f1", "rmse"), not_in_points=("rmse",)).tolerance()
        0.1
    """

    #: metrics in use, in alphabetical order
    metrics: tuple[str, ...] = ()
    #: those of them because of which differences are shares of a spread; empty: none are
    not_in_points: tuple[str, ...] = ()

    @property
    def is_share(self) -> bool:
        """Whether differences of scores are divided by the spread of their dataset."""
        return bool(self.not_in_points)

    @property
    def metric(self) -> str:
        """Name of the only metric in use, or ``primary`` where there are several."""
        return self.metrics[0] if len(self.metrics) == 1 else PRIMARY

    @property
    def suffix(self) -> str:
        """What follows a regret in a sentence; empty where it is in points."""
        return " of the spread" if self.is_share else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of regrets has to know, one line each; often nothing."""
        if not self.is_share:
            return ()
        return (
            "regret, gaps and tolerance are shares of each dataset's spread (the standard "
            "deviation of the final scores of its models), because the best value of "
            f"{join_names(self.not_in_points)} is not 1",
        )

    def tolerance(self, requested: float | None = None) -> float:
        """Return the regret that is treated as zero; None: the default of the unit."""
        if requested is not None:
            return requested
        return _SHARE if self.is_share else _POINT

    def spread(self, final_scores: FloatArray) -> FloatArray:
        """Return what differences of each column of (m, d) scores, or of (m,), are divided by."""
        known = spreads(final_scores)
        return np.where(self.is_share & (known > 0), known, 1.0)

    def matrix(self, records: Sequence[Record]) -> PerformanceMatrix:
        """Return the matrix of complete records, in which differences are in this unit."""
        return PerformanceMatrix.from_records(self.convert(records))

    def convert(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return records whose final scores differ in this unit."""
        if not self.is_share:
            return records
        matrix = PerformanceMatrix.from_records(records)
        spread = dict(zip(matrix.datasets, self.spread(matrix.values).tolist(), strict=True))
        return [
            replace(record, final_score=record.final_score / spread.get(record.dataset, 1.0))
            for record in records
        ]


def regret_unit(records: Iterable[Record], *others: str) -> RegretUnit:
    """Return what regret and tolerance are measured in, by all metrics in use.

    If the highest value of each of them is 1 (accuracy, F1, Matthews, Spearman, average precision,
    R²), it is the score itself, and a tolerance of 0.01 is one point. If that of one is not
    (losses, mae, rmse), scores have no common unit, and every difference of final scores is divided
    by the standard deviation of the final scores over the models of its dataset. A tolerance of 0.1
    is then about as much as one point of accuracy. A metric that this package does not know counts
    as points where its scores are at most 1 in size, or where it is the only one in use.

    Args:
        records: Records in use.
        others: Metrics beside theirs, such as that of the target.
    """
    largest = dict.fromkeys(filter(None, others), 0.0)
    for record in records:
        if record.metric:
            size = abs(record.final_score) if record.is_complete else 0.0
            largest[record.metric] = max(largest.get(record.metric, 0.0), size)

    def is_in_points(metric: str) -> bool:
        if metric in METRICS:
            return METRICS[metric].high == 1
        return largest[metric] <= 1 or len(largest) == 1

    metrics = tuple(sorted(largest))
    return RegretUnit(metrics, tuple(name for name in metrics if not is_in_points(name)))
