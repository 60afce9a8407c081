"""What a history contains: its coverage, and how far repeats of one fine-tuning differ."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray, read_only
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.comparable import (
    minority_recipes,
    mode_of,
    most_common_mode,
    other_modes,
    recipe_without_seed,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.score_units import RegretUnit, regret_unit


@dataclass(frozen=True)
class NoiseFloor:
    """The noise floor: smaller differences between models are not meaningful."""

    #: pooled standard deviation of the final test score of one cell; NaN without repeats
    std: float
    #: cells that were trained more than once
    cells: int
    #: fine-tunings of these cells
    runs: int

    @property
    def std_or_zero(self) -> float:
        """The standard deviation; 0 where it is unknown."""
        return 0.0 if math.isnan(self.std) else self.std


@dataclass(frozen=True, eq=False, kw_only=True)
class Overview:
    """The complete records of one modality and mode by one metric, or by the primary metrics."""

    modality: str
    #: as it was requested: the name of a metric, or ``primary``
    metric: str
    #: final test scores, repeats averaged, each dataset in its own metric
    matrix: PerformanceMatrix
    #: of the final scores, as shares of their datasets' spreads where ``unit`` says so
    noise: NoiseFloor
    unit: RegretUnit = field(default_factory=RegretUnit)
    #: dataset -> metric of its scores
    metrics: Mapping[str, str] = field(default_factory=dict)
    #: metrics of which lower recorded values are better; the matrix has them with the sign turned
    losses: Collection[str] = ()
    #: records of rarer modes, and models with records of a rarer recipe, which no analysis uses
    unused_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What the user should know, one line each."""
        return [*self.weaknesses, *self.unused_notes]

    def is_same(self, other: Overview) -> bool:
        """Return whether another overview is of the same scores, under whatever name."""
        own, theirs = self.matrix, other.matrix
        names = (self.modality, self.label, own.models, own.datasets)
        return names == (other.modality, other.label, theirs.models, theirs.datasets)

    @property
    def label(self) -> str:
        """Name of the only metric, or ``primary`` where datasets have several."""
        return self.unit.metric if self.unit.metrics else self.metric

    @property
    def cells(self) -> int:
        """Number of measured cells."""
        return int((~np.isnan(self.matrix.values)).sum())

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Model and dataset of every cell that was not measured."""
        rows, columns = np.nonzero(np.isnan(self.matrix.values))
        return [
            (self.matrix.models[i], self.matrix.datasets[j])
            for i, j in zip(rows, columns, strict=True)
        ]

    @property
    def weaknesses(self) -> list[str]:
        """Reasons why little can be learned from this history, one line each; often none."""
        measured = ~np.isnan(self.matrix.values)
        lines = []
        if len(self.matrix.models) == 1:
            lines.append(f"{self.matrix.models[0]} is the only model: there is nothing to choose")
        if len(self.matrix.datasets) == 1:
            lines.append(
                f"{self.matrix.datasets[0]} is the only dataset: none can be held out, and how "
                "alike two models are rests on one difference"
            )
        # (m,) number of datasets that a model shares with others
        shared = measured[:, measured.sum(axis=0) > 1].sum(axis=1)
        if len(self.matrix.models) > 1 and not shared.all():
            alone = [self.matrix.models[row] for row in np.flatnonzero(shared == 0)]
            lines.append(
                f"{join_names(alone, 3)} share no dataset with any other model: they cannot be "
                "compared"
            )
        return lines


def summarize_history(
    records: Sequence[Record], metric: str, losses: Collection[str] = ()
) -> list[Overview]:
    """Return an overview of each modality, in alphabetical order.

    Records without a modality are summarized apart. Only those of the modality's most frequent mode
    count, since scores of several modes cannot be averaged.

    Args:
        records: Records of one metric, or of the primary metrics, as a ``History`` returns them.
        metric: Name of the metric, or ``primary``.
        losses: Metrics of which lower recorded values are better.
    """
    complete = [record for record in records if record.is_complete]
    overviews = []
    for modality in sorted({record.modality for record in complete}):
        recorded = [record for record in complete if record.modality == modality]
        usual = most_common_mode(recorded)
        own = [record for record in recorded if mode_of(record) == usual]
        unit = regret_unit(own)
        if len(unit.metrics) < 2:
            unit = RegretUnit(unit.metrics)  # scores of one metric need no common unit
        overviews.append(
            Overview(
                modality=modality,
                metric=metric,
                matrix=PerformanceMatrix.from_records(own),
                noise=noise_floor(unit.convert(own)),
                unit=unit,
                metrics={record.dataset: record.metric or metric for record in own},
                losses=losses,
                unused_notes=tuple(
                    filter(None, (other_modes(recorded, usual), minority_recipes(own)))
                ),
            )
        )
    return overviews


def noise_floor(records: Sequence[Record]) -> NoiseFloor:
    """Measure how far the final test scores of repeats differ.

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
    scores = [np.array(cell) for cell in repeats.values() if len(cell) > 1]
    runs = sum(map(len, scores))
    if not scores:
        return NoiseFloor(float("nan"), 0, 0)
    squares = sum(float(((cell - cell.mean()) ** 2).sum()) for cell in scores)
    return NoiseFloor(float(np.sqrt(squares / (runs - len(scores)))), len(scores), runs)


@dataclass(frozen=True, eq=False)
class CoverageMap:
    """Which cells are measured, in few enough rows and columns for a figure."""

    #: models of each row, and datasets of each column; the most measured first
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    #: (r, c) share of measured cells of each row and column, in [0, 1], read-only
    shares: FloatArray


def coverage_map(matrix: PerformanceMatrix, rows: int = 24, columns: int = 72) -> CoverageMap:
    """Sort models and datasets by how completely they are measured, in blocks of equal size.

    All models without a gap are one row, whatever their number, since the figure is to show gaps.

    Args:
        matrix: At least one model and dataset.
        rows: Maximum number of rows, at least 2.
        columns: Maximum number of columns.
    """
    measured = ~np.isnan(matrix.values)  # (m, d)
    models = np.argsort(-measured.sum(axis=1), kind="stable")
    datasets = np.argsort(-measured.sum(axis=0), kind="stable")
    complete = int(measured.all(axis=1).sum())
    first = [models[:complete]] if complete else []
    row_blocks = [*first, *_split(models[complete:], rows - len(first))]
    column_blocks = _split(datasets, columns)
    shares = [[float(measured[np.ix_(i, j)].mean()) for j in column_blocks] for i in row_blocks]
    return CoverageMap(
        _names_of(matrix.models, row_blocks),
        _names_of(matrix.datasets, column_blocks),
        read_only(shares),
    )


def _split(indices: IntArray, limit: int) -> list[AnyArray]:
    """Return at most ``limit`` consecutive parts, none of them empty."""
    return np.array_split(indices, min(limit, len(indices))) if len(indices) else []


def _names_of(names: Sequence[str], blocks: Sequence[AnyArray]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[index] for index in block) for block in blocks)
