"""Final score of every model on every benchmark dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, nan_mean, read_only
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.standardize import z_scores
from mlflow_recall.errors import HistoryError


def indices_of(names: Sequence[str], wanted: Iterable[str]) -> IntArray:
    """Return the index of every wanted name in ``names``."""
    index = {name: i for i, name in enumerate(names)}
    return np.array([index[name] for name in wanted], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class PerformanceMatrix:
    """Final test score by (model, dataset), higher is better; NaN was never measured.

    Example:
        >>> matrix = PerformanceMatrix(("a", "b"), ("x",), np.array([[0.9], [0.7]]))
        >>> matrix.mean_centered_score.round(1).tolist()
        [0.1, -0.1]
    """

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    values: FloatArray  # (m, d), read-only

    def __post_init__(self) -> None:
        shape = (len(self.models), len(self.datasets))
        if self.values.shape != shape:
            raise HistoryError(f"matrix: expected values {shape}, got {self.values.shape}")
        for kind, names in (("model", self.models), ("dataset", self.datasets)):
            if len(set(names)) < len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                raise HistoryError(f"matrix: expected every {kind} once, got twice: {twice[0]}")
        object.__setattr__(self, "values", read_only(self.values))

    @classmethod
    def from_records(cls, records: Sequence[Record]) -> PerformanceMatrix:
        """Make a matrix of the complete records; repeats of a cell are averaged, names sorted."""
        complete = [record for record in records if record.is_complete]
        models = tuple(sorted({record.model for record in complete}))
        datasets = tuple(sorted({record.dataset for record in complete}))
        cells = (
            indices_of(models, (record.model for record in complete)),
            indices_of(datasets, (record.dataset for record in complete)),
        )
        total, count = np.zeros((2, len(models), len(datasets)))
        np.add.at(total, cells, [record.final_score for record in complete])
        np.add.at(count, cells, 1)
        values = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return cls(models, datasets, values)

    def select_models(self, models: Iterable[str]) -> PerformanceMatrix:
        """Return these models only, in this order; a model without history has a row of NaN."""
        models = tuple(models)
        row = dict(zip(self.models, self.values, strict=True))
        unknown = np.full(len(self.datasets), np.nan)
        values = np.array([row.get(model, unknown) for model in models])
        return PerformanceMatrix(
            models, self.datasets, values.reshape(len(models), len(self.datasets))
        )

    def without_dataset(self, dataset: str) -> PerformanceMatrix:
        """Return all datasets but one; nothing changes where it is not among them."""
        keep = [name != dataset for name in self.datasets]
        datasets = tuple(name for name in self.datasets if name != dataset)
        return PerformanceMatrix(self.models, datasets, self.values[:, keep])

    def without_datasets(
        self, dropped: Iterable[str], known: Iterable[str] | None = None
    ) -> PerformanceMatrix:
        """Return all datasets but some.

        Args:
            dropped: Names of the datasets to leave out.
            known: Names that may be dropped; by default those of the matrix.

        Raises:
            HistoryError: A name is not known.
        """
        names = set(self.datasets if known is None else known)
        matrix = self
        for name in dropped:
            if name not in names:
                raise HistoryError(
                    f"drop-dataset: expected one of {join_names(sorted(names))}, got {name!r}"
                )
            matrix = matrix.without_dataset(name)
        return matrix

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
        """(m,) mean of score minus the dataset's mean; NaN for a model that was never measured.

        It orders models as ``mean_score`` does where every cell is measured, and is fair where
        models were measured on different datasets.
        """
        return read_only(nan_mean(self.values - nan_mean(self.values, axis=0), axis=1))

    @cached_property
    def mean_z_score(self) -> FloatArray:
        """(m,) mean z-score within datasets; NaN for a model that was never measured.

        No dataset outweighs another by its spread, and one on which all models are equal counts
        as 0.
        """
        return read_only(nan_mean(z_scores(self.values), axis=1))
