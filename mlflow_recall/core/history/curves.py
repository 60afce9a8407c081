"""How every model converged on every benchmark dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean, read_only
from mlflow_recall.core.history.matrix import indices_of
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError


@dataclass(frozen=True, eq=False)
class Curves:
    """Validation score by (model, dataset, stage), and what each curve ended in.

    NaN marks a stage that was never reached, or an end that was never measured.
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: FloatArray  # (m, d, t) mean of the repeats, read-only
    final_scores: FloatArray  # (m, d) final test score, mean of the repeats, read-only
    first_repeat: FloatArray | None = (
        None  # (m, d, t) of the first repeat; None: nothing was repeated
    )
    variances: FloatArray | None = None  # (m, d, t) of the repeats; NaN where there are none

    def __post_init__(self) -> None:
        named = (len(self.models), len(self.datasets))
        if self.scores.ndim != 3 or self.scores.shape[:2] != named:
            raise HistoryError(f"expected scores {named} x stages, got {self.scores.shape}")
        if self.final_scores.shape != named:
            raise HistoryError(f"expected final scores {named}, got {self.final_scores.shape}")
        for name in ("first_repeat", "variances"):
            values = getattr(self, name)
            if values is not None:
                if values.shape != self.scores.shape:
                    raise HistoryError(f"expected {name} {self.scores.shape}, got {values.shape}")
                object.__setattr__(self, name, read_only(values))
        object.__setattr__(self, "scores", read_only(self.scores))
        object.__setattr__(self, "final_scores", read_only(self.final_scores))

    @property
    def stages(self) -> int:
        """Stages of the longest curve."""
        return int(self.scores.shape[2])

    @property
    def single_run_scores(self) -> FloatArray:
        """(m, d, t) of one fine-tuning of each cell: what a person sees who trains once."""
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
        """All datasets but this one; unchanged where it is not among them."""
        keep = [name != dataset for name in self.datasets]
        datasets = tuple(name for name in self.datasets if name != dataset)
        return self._slice((slice(None), keep), datasets=datasets, final_scores=self.final_scores[:, keep])

    def _slice(self, place: tuple[Any, ...], **others: Any) -> Curves:
        """A part of everything that is (m, d, t), with other values of these fields."""
        whole = {name: getattr(self, name) for name in ("scores", "first_repeat", "variances")}
        others |= {name: None if each is None else each[place] for name, each in whole.items()}
        return replace(self, **others)

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> Curves:
        """The complete records that have a curve; repeats of a cell averaged, stage by stage.

        The first repeat is the one whose recipe, which names the seed, comes first.
        """
        done = [record for record in records if record.is_complete and record.validation_scores]
        done.sort(key=lambda record: (record.recipe, record.run_id))
        models = tuple(sorted({record.model for record in done}))
        datasets = tuple(sorted({record.dataset for record in done}))
        stages = max((len(record.validation_scores) for record in done), default=0)
        # the end rides along as one more stage, so that repeats are averaged in one sum
        padded = np.full((len(done), stages + 1), np.nan)
        for row, record in zip(padded, done, strict=True):
            row[: len(record.validation_scores)] = record.validation_scores
            row[-1] = record.final_score
        cell = (
            indices_of(models, (record.model for record in done)),
            indices_of(datasets, (record.dataset for record in done)),
        )
        total, count, squares = np.zeros((3, len(models), len(datasets), stages + 1))
        np.add.at(total, cell, np.where(np.isnan(padded), 0.0, padded))
        np.add.at(count, cell, ~np.isnan(padded))
        values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        finite = np.isfinite(padded) & np.isfinite(values[cell])
        off = np.subtract(padded, values[cell], out=np.zeros_like(padded), where=finite)
        np.add.at(squares, cell, off**2)
        again = (count > 1) & np.isfinite(values)
        variances = np.divide(squares, count - 1, out=np.full_like(total, np.nan), where=again)
        first = np.full_like(total[..., :-1], np.nan)
        last_first = (axis[::-1] for axis in cell)  # of several writes to a cell the last stands
        first[tuple(last_first)] = padded[::-1, :-1]
        return cls(models, datasets, values[..., :-1], values[..., -1], first, variances[..., :-1])
