"""What a history holds: how complete it is, and how far repeats of one fine-tuning differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray, read_only
from mlflow_recall.core.history.comparable import minority_recipes, recipe_without_seed
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.history.records import Record


@dataclass(frozen=True)
class NoiseFloor:
    """The noise floor: differences below it say nothing."""

    #: pooled standard deviation of the final test score of one cell; NaN without repeats
    std: float
    #: cells that were trained more than once
    cells: int
    #: fine-tunings of these cells
    runs: int

    @property
    def std_or_zero(self) -> float:
        """The deviation; 0 where nobody knows it."""
        return 0.0 if math.isnan(self.std) else self.std


@dataclass(frozen=True, eq=False)
class Overview:
    """The complete records of one modality by one metric."""

    modality: str
    metric: str
    #: final test scores, repeats averaged
    matrix: PerformanceMatrix
    noise: NoiseFloor
    #: lower values of the metric are better where it is recorded; inside, the sign is turned
    is_loss: bool = False
    #: whose records no analysis compares with the others of the same model; empty: nobody's
    minority_note: str = ""

    @property
    def notes(self) -> list[str]:
        """What a person should know, one line each."""
        return [*self.weaknesses, *filter(None, [self.minority_note])]

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

    @property
    def weaknesses(self) -> list[str]:
        """What keeps this history from teaching anything, one line each; often none."""
        measured = ~np.isnan(self.matrix.values)
        found = []
        if len(self.matrix.models) == 1:
            found.append(f"{self.matrix.models[0]} is the only model: there is nothing to choose")
        if len(self.matrix.datasets) == 1:
            found.append(
                f"{self.matrix.datasets[0]} is the only dataset: none can be held out, and how "
                "alike two models are rests on one difference"
            )
        shared = measured[:, measured.sum(axis=0) > 1].sum(axis=1)  # (m,) datasets
        if len(self.matrix.models) > 1 and not shared.all():
            alone = [self.matrix.models[row] for row in np.flatnonzero(shared == 0)]
            more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
            found.append(
                f"{', '.join(alone[:3])}{more} share no dataset with any other model: they cannot "
                "be compared"
            )
        return found


def summarize_history(
    records: Sequence[Record], metric: str, loss: bool | None = None
) -> list[Overview]:
    """One overview a modality, in alphabetical order; records of none are a modality of their own.

    Args:
        records: of that metric, as a ``History`` returned them.
        metric: its name.
        loss: whether it is a loss where it was recorded; by default what its name says.
    """
    done = [record for record in records if record.is_complete]
    lower = to_maximize(metric, 1.0) < 0 if loss is None else loss
    found = []
    for modality in sorted({record.modality for record in done}):
        some = [record for record in done if record.modality == modality]
        matrix = PerformanceMatrix.from_records(some)
        found.append(
            Overview(modality, metric, matrix, noise_floor(some), lower, minority_recipes(some))
        )
    return found


def noise_floor(records: Sequence[Record]) -> NoiseFloor:
    """How far the final test scores of repeats differ.

    Repeats are complete records of one model version, dataset and recipe, whatever the seed. The
    deviation is pooled over cells: the root of the summed squares around each cell's mean over
    the summed degrees of freedom.
    """
    repeats: dict[tuple[str, ...], list[float]] = {}
    for record in records:
        if record.is_complete:
            key = (
                record.model,
                record.model_version,
                record.dataset,
                record.dataset_digest,
                recipe_without_seed(record),
            )
            repeats.setdefault(key, []).append(record.final_score)
    scores = [np.array(tests) for tests in repeats.values() if len(tests) > 1]
    runs = sum(map(len, scores))
    if not scores:
        return NoiseFloor(float("nan"), 0, 0)
    squares = sum(float(((tests - tests.mean()) ** 2).sum()) for tests in scores)
    return NoiseFloor(float(np.sqrt(squares / (runs - len(scores)))), len(scores), runs)


@dataclass(frozen=True, eq=False)
class CoverageMap:
    """Which cells are measured, in few enough rows and columns to look at."""

    #: models of each row, and datasets of each column; the best measured first
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    #: (r, c) measured share of the cells of a row and column, in [0, 1], read-only
    shares: FloatArray


def coverage_map(matrix: PerformanceMatrix, rows: int = 24, columns: int = 72) -> CoverageMap:
    """Models and datasets by how completely they are measured, in blocks of equal size.

    Models that lack nothing are one row, whatever their number: it is the gaps that are looked for.

    Args:
        matrix: at least one model and dataset.
        rows: most rows, at least 2.
        columns: most columns.
    """
    measured = ~np.isnan(matrix.values)  # (m, d)
    models = np.argsort(-measured.sum(axis=1), kind="stable")
    datasets = np.argsort(-measured.sum(axis=0), kind="stable")
    full = int(measured.all(axis=1).sum())
    whole = [models[:full]] if full else []
    row = [*whole, *_blocks(models[full:], rows - len(whole))]
    column = _blocks(datasets, columns)
    shares = [[float(measured[np.ix_(i, j)].mean()) for j in column] for i in row]
    return CoverageMap(
        _named(matrix.models, row), _named(matrix.datasets, column), read_only(shares)
    )


def _blocks(places: IntArray, most: int) -> list[AnyArray]:
    """At most so many consecutive parts, none of them empty."""
    return np.array_split(places, min(most, len(places))) if len(places) else []


def _named(names: Sequence[str], blocks: Sequence[AnyArray]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[place] for place in block) for block in blocks)
