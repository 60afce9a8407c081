"""What brute force reached on a dataset, where it was recorded: the judge of a selection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member, Record


@dataclass(frozen=True)
class GroundTruth:
    """What every model that was fine-tuned on a dataset reached there."""

    #: model -> final test score, higher is better
    final_scores: Mapping[str, float]

    @property
    def models(self) -> tuple[str, ...]:
        """Who was fine-tuned on it."""
        return tuple(self.final_scores)

    @property
    def best(self) -> str:
        """The model to find; of equals the first."""
        return max(self.final_scores, key=self.final_scores.__getitem__)

    def score(self, model: str) -> float:
        """Of one model; NaN where it was never fine-tuned on the dataset."""
        return self.final_scores.get(model, math.nan)

    def regret(self, model: str) -> float:
        """By how much the best model beats this one, in the unit of the metric, at least 0."""
        return max(self.final_scores.values()) - self.score(model)

    def rank(self, model: str) -> int:
        """1 for the best; equals share the better place."""
        return 1 + sum(end > self.score(model) for end in self.final_scores.values())


def ground_truth(
    records: Sequence[Record], digest: str, members: Iterable[Member], min_models: int = 2
) -> GroundTruth | None:
    """The recorded brute force on one dataset.

    Args:
        records: of one metric, as a ``History`` returned them.
        digest: of the dataset.
        members: the zoo as it stands, for the versions.
        least: models that must have been fine-tuned on it.

    Returns:
        None where fewer were.
    """
    own = [record for record in records if record.dataset_digest == digest and record.is_complete]
    if not own:
        return None
    matrix = PerformanceMatrix.from_records(select_comparable(own, members=members).records)
    if len(matrix.models) < min_models:
        return None
    return GroundTruth(dict(zip(matrix.models, matrix.values[:, 0].tolist(), strict=True)))
