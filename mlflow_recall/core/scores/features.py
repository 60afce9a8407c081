"""Embeddings of one model, with the decomposition that several scores share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.inputs import check_repeated, check_samples, class_sums

T = TypeVar("T")

#: eigenvalues of a Gram matrix below this share of the largest count as zero
_RANK = 1e-13
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Space:
    """Embeddings without their labels, and what is computed from them on demand.

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

    def class_projection(self, labels: IntArray) -> FloatArray:
        """Return (k, c) Uᵀ Y of the one-hot labels Y, without computing U."""
        vectors = self._eigen[1]
        if self.is_wide:
            return class_sums(vectors, labels).T
        product: FloatArray = (vectors / np.sqrt(self.values)).T @ class_sums(self.rows, labels).T
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
        """Return what ``make`` returns, called once for each key; it must not depend on labels."""
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
    """Labeled embeddings, on which every score of embeddings is computed."""

    space: Space
    #: (n,) classes 0 .. c-1, each of them at least once
    labels: IntArray

    @classmethod
    def from_embeddings(
        cls,
        embeddings: ArrayLike,
        labels: ArrayLike,
        *,
        center: bool = True,
        normalize: bool = False,
    ) -> Features:
        """Check embeddings and labels, and center the embeddings.

        Args:
            embeddings: (n, d) features of n target samples.
            labels: (n,) target classes: any integers or strings, gaps allowed.
            center: Whether the mean is subtracted.
            normalize: Whether each row is first scaled to length one; rows of zeros stay.

        Raises:
            ScoreInputError: Shapes differ, a value is not finite, there is one class only, or no
                class has a second sample.
        """
        rows, y = check_samples("embeddings", embeddings, labels)
        check_repeated(y)
        if normalize:
            rows = unit_rows(rows)
        return cls(Space.from_rows(rows, center=center), y)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self.space.rows.shape[0], self.space.rows.shape[1]

    @cached_property
    def counts(self) -> FloatArray:
        """(c,) samples of each class."""
        return np.bincount(self.labels).astype(np.float64)

    @cached_property
    def projection(self) -> FloatArray:
        """(k, c) Uᵀ Y: the one-hot labels in the basis of the features."""
        return self.space.class_projection(self.labels)

    def with_labels(self, labels: IntArray) -> Features:
        """Return the same embeddings, and all that was computed from them, with other labels."""
        return Features(self.space, np.unique(labels, return_inverse=True)[1])

    def select_rows(self, index: IntArray) -> Features:
        """Return the features of some samples."""
        return Features(
            self.space.select_rows(index), np.unique(self.labels[index], return_inverse=True)[1]
        )


def unit_rows(rows: FloatArray) -> FloatArray:
    """Return rows of length one; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def sample_indices(n: int, limit: int, seed: int) -> IntArray:
    """Return all n indices, or ``limit`` of them, drawn by ``seed`` whatever their labels."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
