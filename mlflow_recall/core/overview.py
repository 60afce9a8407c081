"""What a history holds: how complete it is, and how far repeats of one fine-tuning differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.history import method_of
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.records import Record


@dataclass(frozen=True)
class Noise:
    """The noise floor: differences below it say nothing."""

    #: pooled standard deviation of the final test score of one cell; NaN without repeats
    deviation: float
    #: cells that were trained more than once
    cells: int
    #: fine-tunings of these cells
    runs: int


@dataclass(frozen=True, eq=False)
class Overview:
    """The complete records of one modality by one metric."""

    modality: str
    metric: str
    #: final test scores, repeats averaged
    matrix: PerformanceMatrix
    noise: Noise

    @property
    def cells(self) -> int:
        """Cells that were measured."""
        return int((~np.isnan(self.matrix.values)).sum())

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Model and dataset of every cell that was not."""
        rows, columns = np.nonzero(np.isnan(self.matrix.values))
        return [
            (self.matrix.models[i], self.matrix.datasets[j])
            for i, j in zip(rows, columns, strict=True)
        ]


def overviews(records: Sequence[Record], metric: str) -> list[Overview]:
    """One overview a modality, in alphabetical order; records of none are a modality of their own.

    Args:
        records: of that metric, as a ``History`` returned them.
        metric: its name.
    """
    done = [record for record in records if record.complete]
    found = []
    for modality in sorted({record.modality for record in done}):
        some = [record for record in done if record.modality == modality]
        found.append(Overview(modality, metric, PerformanceMatrix.of(some), noise_floor(some)))
    return found


def noise_floor(records: Sequence[Record]) -> Noise:
    """How far the final test scores of repeats differ.

    Repeats are complete records of one model version, dataset and recipe, whatever the seed. The
    deviation is pooled over cells: the root of the summed squares around each cell's mean over
    the summed degrees of freedom.
    """
    repeats: dict[tuple[str, ...], list[float]] = {}
    for record in records:
        if record.complete:
            key = (record.model, record.version, record.dataset, record.digest, method_of(record))
            repeats.setdefault(key, []).append(record.test)
    scores = [np.array(tests) for tests in repeats.values() if len(tests) > 1]
    runs = sum(map(len, scores))
    if not scores:
        return Noise(float("nan"), 0, 0)
    squares = sum(float(((tests - tests.mean()) ** 2).sum()) for tests in scores)
    return Noise(float(np.sqrt(squares / (runs - len(scores)))), len(scores), runs)
