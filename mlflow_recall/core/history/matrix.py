"""What every model reached on every benchmark dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, nan_mean, read_only
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError


def indices_of(names: Sequence[str], wanted: Iterable[str]) -> IntArray:
    """Index of every wanted name in ``names``."""
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[name] for name in wanted], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class PerformanceMatrix:
    """Final test score by (model, dataset), higher is better; NaN was never measured."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    values: FloatArray  # (m, d), read-only

    def __post_init__(self) -> None:
        named = (len(self.models), len(self.datasets))
        if self.values.shape != named:
            raise HistoryError(f"expected values {named}, got {self.values.shape}")
        for kind, names in (("model", self.models), ("dataset", self.datasets)):
            if len(set(names)) < len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise HistoryError(f"expected every {kind} once, got twice: {', '.join(twice)}")
        object.__setattr__(self, "values", read_only(self.values))

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> PerformanceMatrix:
        """The complete records, repeats of a cell averaged; names in sorted order."""
        done = [record for record in records if record.is_complete]
        models = tuple(sorted({record.model for record in done}))
        datasets = tuple(sorted({record.dataset for record in done}))
        cell = (
            indices_of(models, (record.model for record in done)),
            indices_of(datasets, (record.dataset for record in done)),
        )
        total, count = np.zeros((2, len(models), len(datasets)))
        np.add.at(total, cell, [record.final_score for record in done])
        np.add.at(count, cell, 1)
        values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return cls(models, datasets, values)

    def select_models(self, models: Iterable[str]) -> PerformanceMatrix:
        """These models only, in this order; a model without history gets a row of NaN."""
        models = tuple(models)
        row = dict(zip(self.models, self.values, strict=True))
        unknown = np.full(len(self.datasets), np.nan)
        values = np.array([row.get(model, unknown) for model in models])
        return PerformanceMatrix(
            models, self.datasets, values.reshape(len(models), len(self.datasets))
        )

    def without_dataset(self, dataset: str) -> PerformanceMatrix:
        """All datasets but this one; unchanged where it is not among them."""
        keep = [name != dataset for name in self.datasets]
        datasets = tuple(name for name in self.datasets if name != dataset)
        return PerformanceMatrix(self.models, datasets, self.values[:, keep])

    @cached_property
    def coverage(self) -> float:
        """Share of measured cells, in [0, 1]; 0 for an empty matrix."""
        return float(np.mean(~np.isnan(self.values))) if self.values.size else 0.0

    @cached_property
    def mean_score(self) -> FloatArray:
        """(m,) mean score; NaN for a model that was never measured."""
        return read_only(nan_mean(self.values, axis=1))

    @cached_property
    def mean_centered_score(self) -> FloatArray:
        """(m,) mean of score minus the dataset's mean.

        It orders models as ``mean`` does where every cell is measured, and is fair where models
        were measured on different datasets.
        """
        return read_only(nan_mean(self.values - nan_mean(self.values, axis=0), axis=1))

    @cached_property
    def mean_z_score(self) -> FloatArray:
        """(m,) mean z-score within datasets, so that no dataset outweighs another by its spread.

        A dataset on which all models agree says nothing and counts as 0. NaN: never measured.
        """
        centered = self.values - nan_mean(self.values, axis=0)
        spread = np.sqrt(nan_mean(centered**2, axis=0))
        size = np.sqrt(nan_mean(self.values**2, axis=0))  # a mean rounds in proportion to it
        some = spread > 1e-12 * np.maximum(size, 1.0)
        z = np.divide(centered, spread, out=np.zeros_like(centered), where=some)
        return read_only(nan_mean(np.where(np.isnan(self.values), np.nan, z), axis=1))
