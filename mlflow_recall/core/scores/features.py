"""Embeddings of one model, with the decomposition that several scores share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, TASKS
from mlflow_recall.core.scores.inputs import (
    check_label_sets,
    check_numbers,
    check_repeated,
    check_samples,
    why_not_served,
)
from mlflow_recall.core.scores.targets import ClassTargets, LabelTargets, NumberTargets, Targets
from mlflow_recall.errors import ScoreInputError

T = TypeVar("T")

#: eigenvalues of a Gram matrix below this share of the largest count as zero
_RANK = 1e-13
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Space:
    """Embeddings without their targets, and what is computed from them on demand.

    The decomposition is that of the smaller Gram matrix, d x d or n x n: F = U S Vᵀ without the
    directions whose singular value is below 3e-7 of the largest, which counts as zero.
    """

    #: (n, d), centered unless built otherwise
    rows: FloatArray
    #: the smaller Gram matrix; None: it is computed on demand
    known_gram: FloatArray | None = None
    _cache: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_rows(cls, rows: FloatArray, *, center: bool = True) -> Space:
        """Make the space of float64 rows; a constant column becomes exactly zero."""
        if not center:
            return cls(rows)
        centered = rows - rows.mean(axis=0)
        centered[:, np.ptp(rows, axis=0) == 0] = 0.0  # no rounding errors
        return cls(centered)

    @property
    def is_wide(self) -> bool:
        """Whether there are fewer samples than dimensions."""
        n, d = self.rows.shape
        return bool(n < d)

    @cached_property
    def gram(self) -> FloatArray:
        """F Fᵀ (n, n) where there are fewer samples than dimensions, else Fᵀ F (d, d)."""
        if self.known_gram is not None:
            return self.known_gram
        product: FloatArray = self.rows @ self.rows.T if self.is_wide else self.rows.T @ self.rows
        return product

    @cached_property
    def _eigen(self) -> tuple[FloatArray, FloatArray]:
        values, vectors = np.linalg.eigh(self.gram)
        kept = values > _RANK * max(float(values[-1]), _TINY)
        return values[kept][::-1], vectors[:, kept][:, ::-1]

    @property
    def values(self) -> FloatArray:
        """(k,) nonzero eigenvalues of Fᵀ F, largest first."""
        return self._eigen[0]

    @cached_property
    def left(self) -> FloatArray:
        """(n, k) orthonormal columns U."""
        vectors = self._eigen[1]
        return vectors if self.is_wide else self.rows @ (vectors / np.sqrt(self.values))

    def project(self, targets: Targets) -> FloatArray:
        """Return (k, t) Uᵀ Y of the columns Y of targets, without computing U."""
        vectors = self._eigen[1]
        if self.is_wide:
            return targets.sums(vectors).T
        product: FloatArray = (vectors / np.sqrt(self.values)).T @ targets.sums(self.rows).T
        return product

    def components(self, count: int) -> FloatArray:
        """Return the (n, <= count) first principal components, with a positive largest loading."""
        loadings = self._eigen[1][:, :count]
        if self.is_wide:
            loadings = self.rows.T @ (loadings / np.sqrt(self.values[:count]))
        largest = np.abs(loadings).argmax(axis=0)
        signs = np.sign(loadings[largest, np.arange(loadings.shape[1])])
        product: FloatArray = self.rows @ (loadings * signs)
        return product

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returns, called once for each key; it must not depend on targets."""
        if key not in self._cache:
            self._cache[key] = make()
        value: T = self._cache[key]
        return value

    def select_rows(self, index: IntArray) -> Space:
        """Return the centered space of some samples; an n x n Gram matrix is reused."""
        space = Space.from_rows(self.rows[index])
        if not self.is_wide:
            return space
        part = self.gram[np.ix_(index, index)]
        means = part.mean(axis=0)
        return Space(space.rows, part - means - means[:, None] + means.mean())


@dataclass(frozen=True, eq=False)
class Features:
    """Embeddings with their targets, on which every score of embeddings is computed."""

    space: Space
    targets: Targets

    @classmethod
    def from_embeddings(
        cls,
        embeddings: ArrayLike,
        labels: ArrayLike,
        *,
        task: str = CLASSIFICATION,
        served: Sequence[str] = TASKS,
        center: bool = True,
        normalize: bool = False,
    ) -> Features:
        """Check embeddings and labels, and center the embeddings.

        Args:
            embeddings: (n, d) features of n target samples.
            labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and
                ones of a multi-label dataset; (n,) numbers of a regression.
            task: Task of the dataset.
            served: Tasks of the score that is computed.
            center: Whether the mean is subtracted, from the numbers of a regression too.
            normalize: Whether each row is first scaled to length one; rows of zeros stay.

        Raises:
            ScoreInputError: The score does not serve the task, shapes differ, a value is not
                finite, there is one class only, no class has a second sample, no label tells two
                samples apart, or all numbers are equal.
        """
        if reason := why_not_served(task, served):
            raise ScoreInputError(reason)
        rows, targets = _check_targets(embeddings, labels, task, center=center)
        if normalize:
            rows = unit_rows(rows)
        return cls(Space.from_rows(rows, center=center), targets)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.space.rows.shape[0], self.space.rows.shape[1]

    @property
    def counts(self) -> FloatArray:
        """(t,) samples of each class, or with each label."""
        return self.targets.counts

    @cached_property
    def projection(self) -> FloatArray:
        """(k, t) Uᵀ Y: the columns of the targets in the basis of the features."""
        return self.space.project(self.targets)

    def mean_over_labels(self, score_of: Callable[[Space, ClassTargets], float]) -> float:
        """Return a score of classes; of a multi-label dataset its mean over the labels.

        Each label divides the samples into those that have it and the others: two classes.
        """
        if isinstance(self.targets, ClassTargets):
            return score_of(self.space, self.targets)
        labels = (ClassTargets.encode(column) for column in self.targets.columns.T)
        return float(np.mean([score_of(self.space, label) for label in labels]))

    def with_labels(self, labels: AnyArray) -> Features:
        """Return the same embeddings, and all that was computed from them, with other labels."""
        return Features(self.space, self.targets.encode(labels))

    def select_rows(self, index: IntArray) -> Features:
        """Return the features of some samples."""
        return Features(self.space.select_rows(index), self.targets.select_rows(index))


def _check_targets(
    embeddings: ArrayLike, labels: ArrayLike, task: str, *, center: bool
) -> tuple[FloatArray, Targets]:
    """Return checked float64 rows and the targets of a task; see ``Features.from_embeddings``."""
    if task == CLASSIFICATION:
        rows, classes = check_samples("embeddings", embeddings, labels)
        check_repeated(classes)
        return rows, ClassTargets(classes)
    if task == MULTILABEL:
        rows, indicators = check_label_sets(embeddings, labels)
        return rows, LabelTargets.encode(indicators)
    rows, numbers = check_numbers(embeddings, labels)
    if np.ndim(labels) != 1:
        raise ScoreInputError(f"expected numbers (n,) of a regression, got {np.shape(labels)}")
    return rows, NumberTargets.encode(numbers, center=center)


def unit_rows(rows: FloatArray) -> FloatArray:
    """Return rows of length one; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def sample_indices(n: int, limit: int, seed: int) -> IntArray:
    """Return all n indices, or ``limit`` of them, drawn by ``seed`` whatever their labels."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
