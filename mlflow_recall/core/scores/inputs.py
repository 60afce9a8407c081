"""Checks of the input of scores, and sums over classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.errors import ScoreInputError


def why_not_served(task: str, served: Sequence[str]) -> str:
    """Return why a score has no value for a task; empty if it serves the task.

    Example:
        >>> why_not_served("regression", ("classification", "multilabel"))
        "expected a task of classification or multilabel, got 'regression'"
    """
    if task in served:
        return ""
    names = " or ".join(filter(None, (", ".join(served[:-1]), served[-1])))
    return f"expected a task of {names}, got {task!r}"


def check_rows(name: str, rows: ArrayLike) -> FloatArray:
    """Return (n, d) finite float64 numbers.

    Args:
        name: What the rows are, for the message.
        rows: (n, d) numbers.

    Raises:
        ScoreInputError: The shape is different, or a value is not a finite number.
    """
    x = _to_numbers(name, rows)
    if x.ndim != 2 or (len(x) and not x.shape[1]):
        raise ScoreInputError(f"expected {name} (n, d), got {x.shape}")
    _check_finite(name, x)
    return x


def check_samples(name: str, rows: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Return float64 rows, and labels encoded as 0 .. c-1.

    Args:
        name: What the rows are, for the message.
        rows: (n, d) numbers.
        labels: (n,) classes: any integers or strings, gaps allowed.

    Raises:
        ScoreInputError: Shapes do not fit, a value is not finite, a label is missing, or there are
            fewer than two classes.
    """
    x, y = _to_numbers(name, rows), np.asarray(labels)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or (len(x) and not x.shape[1]):
        raise ScoreInputError(
            f"expected {name} (n, d) and labels (n,), got {x.shape} and {y.shape}"
        )
    _check_finite(name, x)
    missing = sum(label is None or label != label for label in y.tolist())
    if missing:
        raise ScoreInputError(f"labels of {missing} samples are missing: leave such samples out")
    try:
        classes, encoded = np.unique(y, return_inverse=True)
    except TypeError as error:
        raise ScoreInputError(f"expected labels of one kind, got {error}") from error
    if len(classes) < 2:
        raise ScoreInputError(f"expected labels of two classes or more, got {len(classes)}")
    return x, encoded.astype(np.intp)


def check_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Return probabilities and labels as ``check_samples`` does.

    Args:
        probabilities: (n, z) rows that are distributions.
        labels: (n,) classes: any integers or strings, gaps allowed.

    Raises:
        ScoreInputError: As in ``check_samples``; also if no class has a second sample, or a row has
            a negative value or does not sum to one.
    """
    x, y = check_samples("probabilities", probabilities, labels)
    total, minimum = x.sum(axis=1), x.min(axis=1)
    wrong = np.flatnonzero((np.abs(total - 1.0) > 1e-3) | (minimum < 0))
    if wrong.size:
        row = int(wrong[0])
        raise ScoreInputError(
            f"row {row} of probabilities is no distribution: sum {total[row]:.3f}, "
            f"min {minimum[row]:.3f}; pass softmax outputs, not logits"
        )
    check_repeated(y)
    return x, y


def check_repeated(labels: IntArray) -> None:
    """Refuse labels 0 .. c-1 of which none occurs twice, since no score is defined for them.

    Raises:
        ScoreInputError: There are as many classes as samples.
    """
    if len(labels) == labels.max() + 1:
        raise ScoreInputError(
            f"expected a class with two samples or more, got {len(labels)} samples of as many "
            "classes: pass more samples"
        )


def check_label_sets(embeddings: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return float64 embeddings (n, d), and the labels of a multi-label dataset (n, c).

    Args:
        embeddings: (n, d) numbers.
        labels: (n, c) zeros and ones.

    Raises:
        ScoreInputError: Shapes do not fit, a value is not finite, a label is not zero or one, or
            there are fewer than three samples.
    """
    rows, indicators = check_rows("embeddings", embeddings), _to_numbers("labels", labels)
    if indicators.ndim != 2:
        raise ScoreInputError(f"expected labels (n, c) of zeros and ones, got {indicators.shape}")
    _check_finite("labels", indicators)
    wrong = np.flatnonzero(((indicators != 0.0) & (indicators != 1.0)).any(axis=1))
    if wrong.size:
        row = int(wrong[0])
        raise ScoreInputError(
            f"row {row} of labels: expected zeros and ones, got {indicators[row].tolist()}"
        )
    _check_lengths(rows, indicators)
    return rows, indicators


def check_numbers(embeddings: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return float64 embeddings (n, d), and the targets of a regression (n, t).

    Args:
        embeddings: (n, d) numbers.
        targets: (n,) or (n, t) numbers.

    Raises:
        ScoreInputError: Shapes do not fit, a value is not finite, or there are fewer than three
            samples.
    """
    rows, numbers = check_rows("embeddings", embeddings), _to_numbers("targets", targets)
    columns = check_rows("targets", numbers[:, None] if numbers.ndim == 1 else numbers)
    _check_lengths(rows, columns)
    return rows, columns


def class_sums(rows: FloatArray, labels: IntArray, classes: int | None = None) -> FloatArray:
    """Return the (c, d) sum of the rows of each class: Yᵀ rows in O(n d).

    Args:
        rows: (n, d) numbers.
        labels: (n,) classes 0 .. c-1.
        classes: Number of classes; None: one more than the largest label.
    """
    n, c = len(labels), int(labels.max()) + 1 if classes is None else classes
    one_hot = csr_array((np.ones(n), labels, np.arange(n + 1)), shape=(n, c))
    return np.asarray(one_hot.T @ rows)


def label_entropy(labels: ArrayLike) -> float:
    """Return H(Y) in nats: minus the LEEP or NCE of a source head that is the same for all samples.

    Example:
        >>> round(label_entropy(["a", "a", "b", "b"]), 3)
        0.693
    """
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _check_lengths(rows: FloatArray, targets: FloatArray) -> None:
    if len(rows) != len(targets):
        raise ScoreInputError(f"expected a target for each of {len(rows)} rows, got {len(targets)}")
    if len(rows) < 3:
        raise ScoreInputError(f"expected three samples or more, got {len(rows)}")


def _to_numbers(name: str, rows: ArrayLike) -> FloatArray:
    try:
        if not np.iscomplexobj(rows):
            return np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoreInputError(f"expected numbers as {name}, got {error}") from error
    raise ScoreInputError(f"expected real numbers as {name}, got complex ones")


def _check_finite(name: str, rows: FloatArray) -> None:
    if not np.isfinite(rows).all():
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ScoreInputError(f"row {row} of {name} is not finite: leave such samples out")
