"""Metrics of a classifier, and their direction, which lives nowhere else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from sklearn import metrics as sk

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.errors import ConfigError, unknown_name


def _of_predictions(score: Callable[..., float], **options: object) -> Callable[..., float]:
    def compute(labels: AnyArray, probabilities: FloatArray) -> float:
        return score(labels, probabilities.argmax(axis=1), **options)

    return compute


def _log_loss(labels: AnyArray, probabilities: FloatArray) -> float:
    return float(sk.log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


#: name -> function of (n,) labels and (n, c) probabilities
METRICS: Mapping[str, Callable[[AnyArray, FloatArray], float]] = MappingProxyType(
    {
        "accuracy": _of_predictions(sk.accuracy_score),
        "balanced_accuracy": _of_predictions(sk.balanced_accuracy_score),
        "f1_macro": _of_predictions(sk.f1_score, average="macro", zero_division=0.0),
        "matthews": _of_predictions(sk.matthews_corrcoef),
        "log_loss": _log_loss,
    }
)
_USUAL = "accuracy"
_LOWER_IS_BETTER = frozenset({"log_loss"})
_BOUNDED = frozenset({"accuracy", "balanced_accuracy", "f1_macro"})


def check_metric(name: str) -> str:
    """``name``, if it is a known metric.

    Raises:
        SettingError: it is not; the message lists those that are.
    """
    if name not in METRICS:
        raise ConfigError(unknown_name("metric", name, METRICS))
    return name


def default_metric(recorded: Sequence[str]) -> str:
    """What to judge by where nobody says: accuracy, or else the only metric that is recorded.

    Returns:
        Empty where there are several others: somebody has to choose.
    """
    if _USUAL in recorded or not recorded:
        return _USUAL
    return recorded[0] if len(recorded) == 1 else ""


def to_maximize(name: str, value: float) -> float:
    """``value`` of metric ``name`` so that higher is better; its own inverse."""
    return -value if name in _LOWER_IS_BETTER else value


def is_bounded(name: str) -> bool:
    """Whether metric ``name`` lies in [0, 1], so that a tolerance of 0.01 means one point."""
    return name in _BOUNDED


def compute_metrics(labels: AnyArray, probabilities: FloatArray) -> dict[str, float]:
    """Every metric of ``METRICS``, in its own direction.

    Args:
        labels: (n,) class indices.
        probabilities: (n, c) rows that sum to one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class without samples in a small split is no news
        return {name: float(metric(labels, probabilities)) for name, metric in METRICS.items()}
