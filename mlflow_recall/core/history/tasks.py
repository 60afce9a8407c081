"""What a dataset asks of a model: one of several classes, any of several labels, or a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CLASSIFICATION = "classification"
MULTILABEL = "multilabel"
REGRESSION = "regression"

#: task -> metric that models are compared by, unless a dataset names another one
PRIMARY_METRICS: Mapping[str, str] = MappingProxyType(
    {CLASSIFICATION: "accuracy", MULTILABEL: "average_precision", REGRESSION: "spearman"}
)
TASKS = tuple(PRIMARY_METRICS)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a head predicts.

    Example:
        >>> Target(task="regression", mean=3.0, std=2.0).outputs
        1
    """

    task: str = CLASSIFICATION
    #: classes of which a sample has one, or labels of which it has any; none for a regression
    classes: tuple[str, ...] = ()
    #: mean and standard deviation of the numbers of a regression, which a head predicts in units
    #: of the standard deviation
    mean: float = 0.0
    std: float = 1.0

    @property
    def outputs(self) -> int:
        """Number of outputs of a head."""
        return 1 if self.task == REGRESSION else len(self.classes)
