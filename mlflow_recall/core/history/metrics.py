"""Metrics of every task, their directions, and which of them a target is compared by."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from scipy import stats
from sklearn import metrics as sk

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.tasks import (
    CLASSIFICATION,
    MULTILABEL,
    PRIMARY,
    REGRESSION,
    Target,
)
from mlflow_recall.errors import ConfigError, unknown_name

#: targets and outputs -> the metric, in its own direction; None where it is not defined for them
Compute: TypeAlias = Callable[[AnyArray, FloatArray], "float | None"]

#: probability above which a sample has a label
_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A row of ``METRICS``: how it is computed for each of its tasks, and its range."""

    #: task -> function of targets and outputs; see ``compute_metrics``
    compute: Mapping[str, Compute]
    #: the same for classes of answers to questions: targets, outputs, and (n,) questions
    of_groups: Callable[[AnyArray, FloatArray, AnyArray], float] | None = None
    #: smallest and largest possible value
    low: float
    high: float
    lower_is_better: bool = False
    #: whether it is in the unit of the dataset's numbers, so that no two datasets compare by it
    is_in_label_unit: bool = False


def _of_classes(score: Callable[..., float], **options: object) -> Compute:
    """Make a metric of (n, c) class probabilities from one of predicted classes."""

    def compute(targets: AnyArray, outputs: FloatArray) -> float:
        return score(targets, outputs.argmax(axis=1), **options)

    return compute


def _of_labels(score: Callable[..., float], **options: object) -> Compute:
    """Make a metric of (n, c) label probabilities from one of predicted labels."""

    def compute(targets: AnyArray, outputs: FloatArray) -> float:
        return score(targets, outputs > _THRESHOLD, **options)

    return compute


def _f1(targets: AnyArray, outputs: FloatArray) -> float | None:
    """F1 of the second of two classes; it is not defined for more."""
    if outputs.shape[1] != 2:
        return None
    return float(sk.f1_score(targets, outputs.argmax(axis=1), zero_division=0.0))


def _class_log_loss(targets: AnyArray, outputs: FloatArray) -> float:
    return float(sk.log_loss(targets, outputs, labels=np.arange(outputs.shape[1])))


def _label_log_loss(targets: AnyArray, outputs: FloatArray) -> float:
    """Mean cross-entropy of a label, in nats."""
    p = np.clip(outputs, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    return float(-np.where(targets > 0, np.log(p), np.log1p(-p)).mean())


def _average_precision(targets: AnyArray, outputs: FloatArray) -> float | None:
    """Mean over the labels that at least one sample has."""
    known = targets.any(axis=0)
    if not known.any():
        return None
    targets, outputs = targets[:, known], outputs[:, known]
    order = np.argsort(-outputs, axis=0)
    hits = np.take_along_axis(targets, order, axis=0).astype(np.float64)  # (n, c)
    ordered = np.take_along_axis(outputs, order, axis=0)
    # (n, c) position of the last sample with the same output, since equal ones have no order
    place = np.arange(len(hits))[:, None]
    is_last = np.vstack([ordered[:-1] > ordered[1:], np.ones((1, hits.shape[1]), dtype=bool)])
    last = np.minimum.accumulate(np.where(is_last, place, len(hits))[::-1], axis=0)[::-1]
    precision = np.take_along_axis(hits.cumsum(axis=0), last, axis=0) / (last + 1)
    return float(((hits * precision).sum(axis=0) / hits.sum(axis=0)).mean())


def _all_right(targets: AnyArray, outputs: FloatArray, groups: AnyArray) -> float:
    """Share of questions all of whose answers are classified correctly."""
    group = np.unique(groups, return_inverse=True)[1]
    wrong = np.bincount(group, outputs.argmax(axis=1) != targets)
    return float((wrong == 0).mean())


def _best_right(targets: AnyArray, outputs: FloatArray, groups: AnyArray) -> float:
    """Share of questions whose most probable answer is right: of the last class."""
    right = outputs.shape[1] - 1
    order = np.lexsort((-outputs[:, right], groups))  # by question, the most probable first
    best = order[np.unique(groups[order], return_index=True)[1]]
    return float((targets[best] == right).mean())


def _correlation(statistic: Callable[..., object]) -> Compute:
    """Make a metric of a correlation, which is 0 where all targets or all outputs are equal."""

    def compute(targets: AnyArray, outputs: FloatArray) -> float:
        if np.ptp(targets) == 0 or np.ptp(outputs) == 0:
            return 0.0
        return float(np.asarray(statistic(targets, outputs))[0])

    return compute


def _rmse(targets: AnyArray, outputs: FloatArray) -> float:
    return float(np.sqrt(sk.mean_squared_error(targets, outputs)))


def _f1_mean(average: str) -> Metric:
    options = {"average": average, "zero_division": 0.0}
    computed = {MULTILABEL: _of_labels(sk.f1_score, **options)}
    if average == "macro":
        computed[CLASSIFICATION] = _of_classes(sk.f1_score, **options)
    return Metric(compute=computed, low=0.0, high=1.0)


def _error(score: Compute) -> Metric:
    """Make a row of an error of numbers, in their own unit."""
    return Metric(
        compute={REGRESSION: score},
        low=0.0,
        high=inf,
        lower_is_better=True,
        is_in_label_unit=True,
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric(
            compute={CLASSIFICATION: _of_classes(sk.accuracy_score)}, low=0.0, high=1.0
        ),
        "balanced_accuracy": Metric(
            compute={CLASSIFICATION: _of_classes(sk.balanced_accuracy_score)}, low=0.0, high=1.0
        ),
        "f1": Metric(compute={CLASSIFICATION: _f1}, low=0.0, high=1.0),
        "f1_macro": _f1_mean("macro"),
        "f1_micro": _f1_mean("micro"),
        "matthews": Metric(
            compute={CLASSIFICATION: _of_classes(sk.matthews_corrcoef)}, low=-1.0, high=1.0
        ),
        "log_loss": Metric(
            compute={CLASSIFICATION: _class_log_loss, MULTILABEL: _label_log_loss},
            low=0.0,
            high=inf,
            lower_is_better=True,
        ),
        "average_precision": Metric(compute={MULTILABEL: _average_precision}, low=0.0, high=1.0),
        "exact_match": Metric(
            compute={MULTILABEL: _of_labels(sk.accuracy_score)},
            of_groups=_all_right,
            low=0.0,
            high=1.0,
        ),
        "choice_accuracy": Metric(compute={}, of_groups=_best_right, low=0.0, high=1.0),
        "spearman": Metric(compute={REGRESSION: _correlation(stats.spearmanr)}, low=-1.0, high=1.0),
        "pearson": Metric(compute={REGRESSION: _correlation(stats.pearsonr)}, low=-1.0, high=1.0),
        "r2": Metric(compute={REGRESSION: sk.r2_score}, low=-inf, high=1.0),
        "mae": _error(sk.mean_absolute_error),
        "rmse": _error(_rmse),
    }
)


def check_metric(name: str) -> str:
    """Return ``name`` if it is a known metric.

    Raises:
        ConfigError: It is not; the message lists the known metrics.
    """
    if name not in METRICS:
        raise ConfigError(unknown_name("metric", name, {PRIMARY, *METRICS}))
    return name


def metrics_of(target: Target) -> tuple[str, ...]:
    """Return the metrics of a target.

    Example:
        >>> metrics_of(Target(task="regression"))
        ('spearman', 'pearson', 'r2', 'mae', 'rmse')
    """
    has_f1 = target.outputs == 2 or target.task != CLASSIFICATION
    return tuple(
        name
        for name, metric in METRICS.items()
        if (target.task in metric.compute and (has_f1 or name != "f1"))
        or (target.has_groups and metric.of_groups is not None)
    )


def check_target_metric(name: str, target: Target) -> str:
    """Return ``name`` if it is a metric of a target.

    Raises:
        ConfigError: It is not; the message lists those that are.
    """
    known = metrics_of(target)
    if check_metric(name) not in known:
        what = f"{target.task} of {count_of(len(target.classes), 'class', 'classes')}"
        raise ConfigError(
            f"metric: expected one of a {what if target.classes else target.task} "
            f"({', '.join(sorted(known))}), got {name!r}"
        )
    return name


@dataclass(frozen=True)
class MetricChoice:
    """The metric of a history and that of a target, which ``choose_metric`` decides."""

    #: name by which the history is read, clusters are tagged and defaults are stored: that of a
    #: metric, or ``PRIMARY``
    history: str
    #: metric of the target; that of the history where there is no target
    target: str


def choose_metric(requested: str, dataset: Dataset | None = None) -> MetricChoice:
    """Return what a requested metric stands for in a history and on a target.

    Args:
        requested: Name of a metric, or ``PRIMARY``.
        dataset: The target; None: any dataset.

    Raises:
        ConfigError: The target does not have that metric.
    """
    if dataset is None:
        return MetricChoice(requested, requested)
    target = dataset.metric if requested == PRIMARY else requested
    return MetricChoice(requested, check_target_metric(target, dataset.target))


def to_maximize(name: str, value: float) -> float:
    """Turn the ``value`` of metric ``name`` so that higher is better; it is its own inverse.

    Example:
        >>> to_maximize("log_loss", 0.5), to_maximize("accuracy", 0.5)
        (-0.5, 0.5)
    """
    metric = METRICS.get(name)
    return -value if metric is not None and metric.lower_is_better else value


def is_bounded(name: str) -> bool:
    """Return whether metric ``name`` is in [0, 1], so that it may be given in percent."""
    return lowest_value(name) == 0


def lowest_value(name: str) -> float | None:
    """Return the lowest value of a metric whose highest value is 1; None for other metrics."""
    metric = METRICS.get(name)
    return metric.low if metric is not None and metric.high == 1 and metric.low > -inf else None


def why_worthless(task: str, scores: Mapping[str, float]) -> str | None:
    """Return why a model is no better than one that gives every sample the same answer.

    Args:
        task: Name of the task.
        scores: What ``compute_metrics`` returned.

    Returns:
        None where it is better, or where nothing says so.

    Example:
        >>> why_worthless("regression", {"r2": -0.1})
        'its test r2 is -0.100: it predicts no better than the mean of all numbers'
    """
    name = {CLASSIFICATION: "matthews", REGRESSION: "r2"}.get(task, "")
    if not scores.get(name, 1.0) <= 0:
        return None
    constant = "the mean of all numbers" if task == REGRESSION else "one class for all samples"
    return f"its test {name} is {scores[name]:.3f}: it predicts no better than {constant}"


def compute_metrics(
    task: str, targets: AnyArray, outputs: FloatArray, groups: AnyArray | None = None
) -> dict[str, float]:
    """Return every metric that is defined for a task and these targets, in its own direction.

    Args:
        task: Name of the task.
        targets: (n,) class indices, (n, c) zeros and ones of labels, or (n,) numbers.
        outputs: (n, c) probabilities of classes, whose rows sum to one, or of labels; or (n,)
            numbers.
        groups: (n,) questions that samples are answers to, of a classification; None: none are.

    Example:
        >>> scores = compute_metrics("regression", np.array([1.0, 2.0]), np.array([1.5, 2.5]))
        >>> scores["mae"], scores["r2"]
        (0.5, 0.0)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small split may have a class without samples
        values = {
            name: metric.compute[task](targets, outputs)
            for name, metric in METRICS.items()
            if task in metric.compute
        }
        if groups is not None:
            values |= {
                name: metric.of_groups(targets, outputs, groups)
                for name, metric in METRICS.items()
                if metric.of_groups is not None
            }
    return {name: float(value) for name, value in values.items() if value is not None}
