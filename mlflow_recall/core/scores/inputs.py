"""What every score checks before it computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.errors import ScoreInputError


def check_samples(name: str, rows: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Float64 rows and labels re-encoded as 0 .. c-1.

    Args:
        name: what the rows are, for the message.
        rows: (n, d) numbers.
        labels: (n,) classes; any integers or strings, gaps allowed.

    Raises:
        ScoreInputError: wrong shapes, NaN or infinity, or fewer than two classes.
    """
    try:
        x = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoreInputError(f"expected numbers as {name}, got {error}") from error
    y = np.asarray(labels)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or (len(x) and not x.shape[1]):
        raise ScoreInputError(
            f"expected {name} (n, d) and labels (n,), got {x.shape} and {y.shape}"
        )
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise ScoreInputError(f"row {row} of {name} is not finite: leave such samples out")
    missing = [i for i, label in enumerate(y.tolist()) if label is None or label != label]
    if missing:
        raise ScoreInputError(
            f"labels of {len(missing)} samples are missing: leave such samples out"
        )
    classes, encoded = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ScoreInputError(f"expected labels of two classes or more, got {len(classes)}")
    return x, encoded.astype(np.intp)


def check_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[FloatArray, IntArray]:
    """As ``check_samples``, of rows that are distributions.

    Raises:
        ScoreInputError: also if a row is negative somewhere or does not sum to one.
    """
    x, y = check_samples("probabilities", probabilities, labels)
    total, least = x.sum(axis=1), x.min(axis=1)
    wrong = np.flatnonzero((np.abs(total - 1.0) > 1e-3) | (least < 0))
    if wrong.size:
        row = int(wrong[0])
        raise ScoreInputError(
            f"row {row} of probabilities is no distribution: sum {total[row]:.3f}, "
            f"min {least[row]:.3f}; pass softmax outputs, not logits"
        )
    return x, y
