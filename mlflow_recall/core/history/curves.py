"""How every model converged on every benchmark dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import indices_of
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.score_units import unit_of
from mlflow_recall.errors import HistoryError


@dataclass(frozen=True, eq=False, kw_only=True)
class Curves:
    """Validation score by (model, dataset, stage), and the final test score of each curve.

    NaN marks a stage that was never reached, or a final score that was never measured.

    Example:
        >>> scores = np.array([[[0.5, 0.7]], [[0.4, np.nan]]])
        >>> curves = Curves(
        ...     models=("a", "b"),
        ...     datasets=("x",),
        ...     scores=scores,
        ...     final_scores=np.array([[0.69], [np.nan]]),
        ... )
        >>> curves.stages
        2
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: FloatArray  # (m, d, t) mean of the repeats, read-only
    final_scores: FloatArray  # (m, d) final test score, mean of the repeats, read-only
    #: (m, d, t) scores of the first repeat; None: nothing was repeated
    first_repeat: FloatArray | None = None
    #: (m, d, t) variance over the repeats, NaN where there are none; None: nothing was repeated
    variances: FloatArray | None = None
    #: dataset -> unit of its scores; a dataset without one has the unit of all such datasets
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.models), len(self.datasets))
        if self.scores.ndim != 3 or self.scores.shape[:2] != shape:
            raise HistoryError(f"curves: expected scores {shape} x stages, got {self.scores.shape}")
        if self.final_scores.shape != shape:
            raise HistoryError(
                f"curves: expected final scores {shape}, got {self.final_scores.shape}"
            )
        for name in ("first_repeat", "variances"):
            values = getattr(self, name)
            if values is not None:
                if values.shape != self.scores.shape:
                    raise HistoryError(
                        f"curves: expected {name} {self.scores.shape}, got {values.shape}"
                    )
                object.__setattr__(self, name, read_only(values))
        object.__setattr__(self, "scores", read_only(self.scores))
        object.__setattr__(self, "final_scores", read_only(self.final_scores))

    @property
    def stages(self) -> int:
        """Stages of the longest curve."""
        return int(self.scores.shape[2])

    @property
    def single_run_scores(self) -> FloatArray:
        """(m, d, t) scores of one fine-tuning of each cell, as a user sees who trains it once."""
        return self.scores if self.first_repeat is None else self.first_repeat

    @cached_property
    def noise(self) -> FloatArray:
        """(t,) standard deviation of a score over repeats, pooled over cells; 0 without repeats."""
        if self.variances is None:
            return np.zeros(self.stages)
        cells = self.variances.reshape(-1, self.stages)
        noise: FloatArray = np.sqrt(np.nan_to_num(nan_mean(cells, axis=0)))
        return noise

    def without_dataset(self, dataset: str) -> Curves:
        """Return all datasets but one; nothing changes where it is not among them."""
        return self._keep([name != dataset for name in self.datasets])

    def in_unit(self, unit: str) -> Curves:
        """Return the datasets whose scores are in a unit, since others predict nothing in it."""
        return self._keep([self.unit(name) == unit for name in self.datasets])

    def unit(self, dataset: str) -> str:
        """Return the unit of the scores on a dataset; empty where it is not said."""
        return self.units.get(dataset, "")

    def _keep(self, keep: Sequence[bool]) -> Curves:
        """Return the datasets of a mask (d,)."""
        datasets = tuple(name for name, kept in zip(self.datasets, keep, strict=True) if kept)
        mask = np.array(keep, dtype=bool)
        return self._slice(
            (slice(None), mask), datasets=datasets, final_scores=self.final_scores[:, mask]
        )

    def _slice(self, index: tuple[Any, ...], **changes: Any) -> Curves:
        """Return the part of every (m, d, t) array at ``index``, with other fields as given."""
        whole = {name: getattr(self, name) for name in ("scores", "first_repeat", "variances")}
        changes |= {n: None if values is None else values[index] for n, values in whole.items()}
        return replace(self, **changes)

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> Curves:
        """Return the curves of the complete records; repeats of a cell are averaged by stage.

        The first repeat is the one whose recipe, which has the seed, comes first in order.
        """
        complete = [record for record in records if record.is_complete and record.validation_scores]
        complete.sort(key=lambda record: (record.recipe, record.run_id))
        models = tuple(sorted({record.model for record in complete}))
        datasets = tuple(sorted({record.dataset for record in complete}))
        stages = max((len(record.validation_scores) for record in complete), default=0)
        # the final score is one more stage here, so that repeats are averaged in one sum
        padded = np.full((len(complete), stages + 1), np.nan)
        for row, record in zip(padded, complete, strict=True):
            row[: len(record.validation_scores)] = record.validation_scores
            row[-1] = record.final_score
        cell = (
            indices_of(models, (record.model for record in complete)),
            indices_of(datasets, (record.dataset for record in complete)),
        )
        total, count, squares = np.zeros((3, len(models), len(datasets), stages + 1))
        np.add.at(total, cell, np.where(np.isnan(padded), 0.0, padded))
        np.add.at(count, cell, ~np.isnan(padded))
        values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        finite = np.isfinite(padded) & np.isfinite(values[cell])
        deviation = np.subtract(padded, values[cell], out=np.zeros_like(padded), where=finite)
        np.add.at(squares, cell, deviation**2)
        is_repeated = (count > 1) & np.isfinite(values)
        variances = np.divide(
            squares, count - 1, out=np.full_like(total, np.nan), where=is_repeated
        )
        first_repeat = np.full_like(total[..., :-1], np.nan)
        # of several writes to a cell the last one stays, so the order is reversed
        reversed_cell = tuple(axis[::-1] for axis in cell)
        first_repeat[reversed_cell] = padded[::-1, :-1]
        return cls(
            models=models,
            datasets=datasets,
            scores=values[..., :-1],
            final_scores=values[..., -1],
            first_repeat=first_repeat,
            variances=variances[..., :-1],
            units={record.dataset: unit_of(record.metric, record.dataset) for record in complete},
        )
