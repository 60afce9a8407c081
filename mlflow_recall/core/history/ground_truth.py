"""Recorded brute force on a dataset, by which a selection is judged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow_recall.core.history.comparable import mode_of, select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.core.history.score_units import RegretUnit


@dataclass(frozen=True)
class GroundTruth:
    """Final scores of all models that were fine-tuned on a dataset.

    Example:
        >>> truth = GroundTruth({"a": 0.75, "b": 0.5})
        >>> truth.best, truth.regret("b"), truth.rank("b")
        ('a', 0.25, 2)
    """

    #: model -> final test score, higher is better
    final_scores: Mapping[str, float]
    #: what differences of scores are divided by to be a regret
    spread: float = 1.0

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.final_scores)

    @property
    def best(self) -> str:
        """The best model; of equally good ones the first."""
        return max(self.final_scores, key=self.final_scores.__getitem__)

    def score(self, model: str) -> float:
        """Return the score of one model; NaN where it is not recorded."""
        return self.final_scores.get(model, math.nan)

    def regret(self, model: str) -> float:
        """Return the best score minus that of one model, over the spread, at least 0."""
        return (max(self.final_scores.values()) - self.score(model)) / self.spread

    def rank(self, model: str) -> int:
        """Return the rank of one model, 1 for the best; equally good ones share the better rank."""
        return 1 + sum(score > self.score(model) for score in self.final_scores.values())


def ground_truth(
    records: Sequence[Record],
    digest: str,
    members: Iterable[Member],
    min_models: int = 2,
    *,
    unit: RegretUnit | None = None,
    mode: str | None = None,
) -> GroundTruth | None:
    """Return the recorded brute force on one dataset.

    Args:
        records: Records of one metric.
        digest: Digest of the dataset.
        members: Models of the zoo; records of other versions do not count.
        min_models: Models that must be recorded.
        unit: What a regret is measured in; None: points.
        mode: Mode of the recipes; None: that of most records of the dataset.

    Returns:
        None where fewer are.
    """
    own = [
        record
        for record in records
        if record.dataset_digest == digest
        and record.is_complete
        and mode in (None, mode_of(record))
    ]
    if not own:
        return None
    matrix = PerformanceMatrix.from_records(select_comparable(own, members=members).records)
    if len(matrix.models) < min_models:
        return None
    final_scores = matrix.values[:, 0]
    spread = float((unit or RegretUnit()).spread(final_scores))
    return GroundTruth(dict(zip(matrix.models, final_scores.tolist(), strict=True)), spread)
