"""What brute force reached on a dataset, where it was recorded: the judge of a selection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.records import Member, Record


@dataclass(frozen=True, eq=False)
class Truth:
    """Final test score of every model that was fine-tuned on the dataset, higher is better."""

    models: tuple[str, ...]
    scores: FloatArray  # (m,)

    @property
    def best(self) -> str:
        """The model to find; of equals the first by name."""
        return self.models[int(np.argmax(self.scores))]

    def score(self, model: str) -> float:
        """Of one model; NaN where it was never fine-tuned on the dataset."""
        known = dict(zip(self.models, self.scores.tolist(), strict=True))
        return float(known.get(model, np.nan))

    def regret(self, model: str) -> float:
        """By how much the best model beats this one, in the unit of the metric, at least 0."""
        return float(self.scores.max() - self.score(model))

    def rank(self, model: str) -> int:
        """1 for the best; equals share the better place."""
        return 1 + int((self.scores > self.score(model)).sum())


def truth(
    records: Sequence[Record], digest: str, members: Iterable[Member], least: int = 2
) -> Truth | None:
    """The recorded brute force on one dataset.

    Args:
        records: of one metric, as a ``History`` returned them.
        digest: of the dataset.
        members: the zoo as it stands, for the versions.
        least: models that must have been fine-tuned on it.

    Returns:
        None where fewer were.
    """
    own = [record for record in records if record.digest == digest and record.complete]
    if not own:
        return None
    matrix = PerformanceMatrix.of(usable(own, members=members).records)
    if len(matrix.models) < least:
        return None
    return Truth(matrix.models, matrix.values[:, 0])
