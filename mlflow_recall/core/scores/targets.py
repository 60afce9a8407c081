"""Targets of the samples as columns that a linear model would predict: classes, labels, numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.tasks import (
    CLASSIFICATION,
    MULTILABEL,
    PRIMARY_METRICS,
    REGRESSION,
)
from mlflow_recall.core.scores.inputs import class_sums
from mlflow_recall.errors import ScoreInputError

#: tasks with classes, or with labels, each of which divides the samples into two classes
CLASS_TASKS = (CLASSIFICATION, MULTILABEL)
#: decimals of predictions and distances that count, so that equal ones tie despite rounding errors
_DECIMALS = 12
_ALL_ROWS = slice(None)


class Targets(ABC):
    """Targets of n samples as t columns Y, each of which varies."""

    @classmethod
    @abstractmethod
    def encode(cls, values: AnyArray) -> Self:
        """Make targets of checked values."""

    @property
    @abstractmethod
    def columns(self) -> FloatArray:
        """(n, t) columns Y."""

    @abstractmethod
    def select_rows(self, index: IntArray) -> Self:
        """Return the targets of some samples."""

    @abstractmethod
    def distances(self, index: IntArray) -> AnyArray:
        """Return (m, m) distances between the targets of m samples."""

    @abstractmethod
    def evaluate(self, predicted: FloatArray, rows: IntArray | slice = _ALL_ROWS) -> float:
        """Return the primary metric of the task.

        Args:
            predicted: (m, t) predictions of Y.
            rows: The m samples that they are of.
        """

    @property
    def counts(self) -> FloatArray:
        """(t,) sums of the columns: samples of each class, or with each label."""
        counts: FloatArray = self.columns.sum(axis=0)
        return counts

    @property
    def means(self) -> FloatArray:
        """(t,) means of the columns."""
        return self.counts / len(self.columns)

    @property
    def totals(self) -> FloatArray:
        """(t,) squared length of each centered column."""
        totals: FloatArray = ((self.columns - self.means) ** 2).sum(axis=0)
        return totals

    def sums(self, rows: FloatArray) -> FloatArray:
        """Return (t, d) Yᵀ rows."""
        product: FloatArray = self.columns.T @ rows
        return product


@dataclass(frozen=True, eq=False)
class ClassTargets(Targets):
    """One of several classes each; Y is one-hot."""

    #: (n,) classes 0 .. c-1, each of them at least once
    labels: IntArray

    @classmethod
    def encode(cls, values: AnyArray) -> Self:
        """Number the classes that occur."""
        return cls(np.unique(values, return_inverse=True)[1])

    @property
    def columns(self) -> FloatArray:
        """(n, c) one-hot labels."""
        return np.eye(len(self.counts))[self.labels]

    @cached_property
    def counts(self) -> FloatArray:
        """(c,) samples of each class."""
        return np.bincount(self.labels).astype(np.float64)

    @property
    def means(self) -> FloatArray:
        """(c,) shares of the classes."""
        return self.counts / len(self.labels)

    @property
    def totals(self) -> FloatArray:
        """(c,) squared length of each centered column."""
        return self.counts * (1.0 - self.counts / len(self.labels))

    def sums(self, rows: FloatArray) -> FloatArray:
        """Return (c, d) sums of the rows of each class."""
        return class_sums(rows, self.labels)

    def select_rows(self, index: IntArray) -> Self:
        """Return the classes of some samples."""
        return self.encode(self.labels[index])

    def distances(self, index: IntArray) -> AnyArray:
        """Return whether the classes differ, which 1 - the correlation of one-hot labels tells."""
        labels = self.labels[index]
        return np.not_equal.outer(labels, labels)

    def evaluate(self, predicted: FloatArray, rows: IntArray | slice = _ALL_ROWS) -> float:
        """Return the accuracy."""
        return float((predicted.argmax(axis=1) == self.labels[rows]).mean())


@dataclass(frozen=True, eq=False)
class LabelTargets(Targets):
    """Any of several labels each; labels that all or no samples have are left out."""

    #: (n, c) zeros and ones
    indicators: FloatArray

    @classmethod
    def encode(cls, values: AnyArray) -> Self:
        """Leave out the labels that all or no samples have.

        Raises:
            ScoreInputError: No label is left.
        """
        indicators = np.asarray(values, dtype=np.float64)
        varies = np.ptp(indicators, axis=0) > 0
        if not varies.any():
            raise ScoreInputError(
                "expected a label that some samples have and others lack, got none of "
                f"{indicators.shape[1]}"
            )
        return cls(indicators[:, varies])

    @property
    def columns(self) -> FloatArray:
        """(n, c) zeros and ones."""
        return self.indicators

    def select_rows(self, index: IntArray) -> Self:
        """Return the labels of some samples.

        Raises:
            ScoreInputError: No label tells two of them apart.
        """
        return self.encode(self.indicators[index])

    def distances(self, index: IntArray) -> AnyArray:
        """Return 1 - the correlation of label vectors.

        A constant vector, such as that of a sample without labels, correlates with nothing, but has
        no distance to an equal one.
        """
        labels = self.indicators[index]
        centered = labels - labels.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(centered, axis=1, keepdims=True)
        is_constant = np.ptp(labels, axis=1) == 0
        centered[is_constant], lengths[is_constant] = 0.0, 1.0
        unit = centered / lengths
        distances: FloatArray = (1.0 - unit @ unit.T).round(_DECIMALS)
        first = labels[:, 0]
        are_equal = is_constant[:, None] & is_constant & (first[:, None] == first)
        distances[are_equal] = 0.0
        return distances

    def evaluate(self, predicted: FloatArray, rows: IntArray | slice = _ALL_ROWS) -> float:
        """Return the mean over labels of the average precision.

        Raises:
            ScoreInputError: None of the samples has a label.
        """
        return _primary_metric(MULTILABEL, self.indicators[rows], predicted)


@dataclass(frozen=True, eq=False)
class NumberTargets(Targets):
    """Numbers each, in units of their standard deviation."""

    #: (n, t) columns of mean square one
    numbers: FloatArray

    @classmethod
    def encode(cls, values: AnyArray, *, center: bool = True) -> Self:
        """Scale numbers to mean square one, which is variance one if they are centered.

        Args:
            values: (n,) or (n, t) numbers.
            center: Whether their mean is subtracted first.

        Raises:
            ScoreInputError: They are constant.
        """
        numbers = np.asarray(values, dtype=np.float64)
        numbers = numbers[:, None] if numbers.ndim == 1 else numbers
        # their squares would over- or underflow in some units
        numbers = numbers / np.maximum(np.abs(numbers).max(axis=0), np.finfo(np.float64).tiny)
        constant = np.flatnonzero(np.ptp(numbers, axis=0) == 0)
        if constant.size:
            raise ScoreInputError(f"target {int(constant[0])} is constant: nothing to regress")
        if center:
            numbers = numbers - numbers.mean(axis=0)
        return cls(numbers / np.sqrt((numbers**2).mean(axis=0)))

    @property
    def columns(self) -> FloatArray:
        """(n, t) numbers."""
        return self.numbers

    def select_rows(self, index: IntArray) -> Self:
        """Return the numbers of some samples in units of their own standard deviation.

        Raises:
            ScoreInputError: They are constant.
        """
        return self.encode(self.numbers[index])

    def distances(self, index: IntArray) -> AnyArray:
        """Return the Euclidean distances."""
        numbers = self.numbers[index]
        distances: FloatArray = np.linalg.norm(numbers[:, None] - numbers, axis=2)
        return distances.round(_DECIMALS)

    def evaluate(self, predicted: FloatArray, rows: IntArray | slice = _ALL_ROWS) -> float:
        """Return Spearman's correlation, the mean over columns; 0 where all predictions agree."""
        pairs = zip(self.numbers[rows].T, predicted.T, strict=True)
        return float(np.mean([_primary_metric(REGRESSION, *pair) for pair in pairs]))


def _primary_metric(task: str, targets: AnyArray, predicted: FloatArray) -> float:
    """Return the primary metric of a task.

    Raises:
        ScoreInputError: It is not defined for these targets.
    """
    name = PRIMARY_METRICS[task]
    value = METRICS[name].compute[task](targets, predicted.round(_DECIMALS))
    if value is None:
        raise ScoreInputError(
            f"{name} is not defined for the {len(targets)} compared samples: pass more samples"
        )
    return value
