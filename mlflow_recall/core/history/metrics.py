"""Metrics of a classifier, and their directions, which are defined here alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from sklearn import metrics as sk

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.errors import ConfigError, unknown_name


def _from_predictions(score: Callable[..., float], **options: object) -> Callable[..., float]:
    """Make a metric of probabilities from one of predicted classes."""

    def compute(labels: AnyArray, probabilities: FloatArray) -> float:
        return score(labels, probabilities.argmax(axis=1), **options)

    return compute


def _log_loss(labels: AnyArray, probabilities: FloatArray) -> float:
    return float(sk.log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


#: name -> function of (n,) labels and (n, c) probabilities
METRICS: Mapping[str, Callable[[AnyArray, FloatArray], float]] = MappingProxyType(
    {
        "accuracy": _from_predictions(sk.accuracy_score),
        "balanced_accuracy": _from_predictions(sk.balanced_accuracy_score),
        "f1_macro": _from_predictions(sk.f1_score, average="macro", zero_division=0.0),
        "matthews": _from_predictions(sk.matthews_corrcoef),
        "log_loss": _log_loss,
    }
)
#: metric that is used where the user names none
_DEFAULT = "accuracy"
_LOWER_IS_BETTER = frozenset({"log_loss"})
#: metric -> its lowest value, of those whose highest value is 1
_LOWEST = {"accuracy": 0.0, "balanced_accuracy": 0.0, "f1_macro": 0.0, "matthews": -1.0}


def check_metric(name: str) -> str:
    """Return ``name`` if it is a known metric.

    Raises:
        ConfigError: It is not; the message lists the known metrics.
    """
    if name not in METRICS:
        raise ConfigError(unknown_name("metric", name, METRICS))
    return name


def default_metric(recorded: Sequence[str]) -> str:
    """Return the metric to use by default: accuracy, or else the only one that is recorded.

    Returns:
        Empty where several others are recorded, so that the user has to choose.

    Example:
        >>> default_metric(["f1_macro"]), default_metric(["f1_macro", "matthews"])
        ('f1_macro', '')
    """
    if _DEFAULT in recorded or not recorded:
        return _DEFAULT
    return recorded[0] if len(recorded) == 1 else ""


def to_maximize(name: str, value: float) -> float:
    """Turn the ``value`` of metric ``name`` so that higher is better; it is its own inverse.

    Example:
        >>> to_maximize("log_loss", 0.5), to_maximize("accuracy", 0.5)
        (-0.5, 0.5)
    """
    return -value if name in _LOWER_IS_BETTER else value


def is_bounded(name: str) -> bool:
    """Return whether metric ``name`` is in [0, 1], so that a tolerance of 0.01 means one point."""
    return _LOWEST.get(name) == 0


def lowest_value(name: str) -> float | None:
    """Return the lowest value of a metric whose highest value is 1; None for other metrics."""
    return _LOWEST.get(name)


def compute_metrics(labels: AnyArray, probabilities: FloatArray) -> dict[str, float]:
    """Return every metric of ``METRICS``, each in its own direction.

    Args:
        labels: (n,) class indices.
        probabilities: (n, c) class probabilities; rows sum to one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small split may have a class without samples
        return {name: float(metric(labels, probabilities)) for name, metric in METRICS.items()}
