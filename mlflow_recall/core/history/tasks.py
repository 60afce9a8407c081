"""What a dataset asks of a model: one of several classes, any of several labels, or a number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

CLASSIFICATION = "classification"
MULTILABEL = "multilabel"
REGRESSION = "regression"

#: task -> metric that models are compared by, unless a dataset names another one
PRIMARY_METRICS: Mapping[str, str] = MappingProxyType(
    {CLASSIFICATION: "accuracy", MULTILABEL: "average_precision", REGRESSION: "spearman"}
)
TASKS = tuple(PRIMARY_METRICS)
#: stands for the primary metric of each dataset, where a metric is named
PRIMARY = "primary"


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
    #: whether several samples are answers to one question, and are judged together
    has_groups: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, object]:
        """Return what differs from a classification, without the classes."""
        if self.task == CLASSIFICATION:
            return {}
        numbers = {"mean": self.mean, "std": self.std} if self.task == REGRESSION else {}
        return {"task": self.task, **numbers}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any], classes: Iterable[object]) -> Target:
        """Read what ``to_dict`` wrote.

        Raises:
            ValueError: It is something else.
        """
        task, mean, std = (
            described.get(name, default)
            for name, default in (("task", CLASSIFICATION), ("mean", 0.0), ("std", 1.0))
        )
        if task not in TASKS or not (isinstance(mean, float) and isinstance(std, float)):
            raise ValueError(f"expected a task, mean and std, got {dict(described)!r:.80}")
        return cls(task=task, classes=tuple(map(str, classes)), mean=mean, std=std)

    @property
    def outputs(self) -> int:
        """Number of outputs of a head."""
        return 1 if self.task == REGRESSION else len(self.classes)


def primary_metric(recorded: Collection[str], task: str = CLASSIFICATION) -> str | None:
    """Return the primary metric of a dataset whose source does not name one.

    Args:
        recorded: Metrics that are recorded on it.
        task: Its task; an unknown one counts as classification.

    Returns:
        That of its task, or else the only one; None where several others are recorded.

    Example:
        >>> primary_metric(["accuracy", "f1"]), primary_metric(["f1"]), primary_metric(["f1", "r2"])
        ('accuracy', 'f1', None)
    """
    usual = PRIMARY_METRICS.get(task, PRIMARY_METRICS[CLASSIFICATION])
    if usual in recorded:
        return usual
    return next(iter(recorded)) if len(set(recorded)) == 1 else None
