"""Recorded fine-tunings as rows of a regression: what was known before each, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.blend import DEFAULT_WEIGHTS
from mlflow_recall.core.recommend.evidence import Evidence, FeatureColumn
from mlflow_recall.core.recommend.standardize import fill_zero, normal_scores, z_scores

#: labels of one feature that get a column of their own, the most frequent ones
_LABELS = 8
#: datasets' worth of what models with such features reached, against a model's own history
_FAMILY = 1.0
#: columns of what a model did on recorded datasets
HISTORY_COLUMNS = ("history", "place in history", "median in history")
#: share of models, weakest in the history, whose score on a dataset says how difficult it is
_WEAKEST = 0.25


@dataclass(frozen=True, eq=False)
class RegressionData:
    """Columns of the target's candidates and of every recorded dataset's measured models."""

    column_names: tuple[str, ...]
    target_rows: FloatArray  # (m, k)
    #: (n, k) each, centered within the dataset
    recorded_rows: tuple[FloatArray, ...]
    #: (n,) z-scores each
    outcomes: tuple[FloatArray, ...]
    #: (k,) weights to start from, before any outcome is seen
    default_weights: FloatArray
    #: (e,) features of the target, and one such row a recorded dataset
    target_features: FloatArray
    dataset_features: tuple[FloatArray, ...]
    is_known: FloatArray  # (m,) 1 where anything at all is known of a model, else 0


def regression_data(evidence: Evidence) -> RegressionData:
    """Lay the evidence out: history, scores, model features, and history by labels as columns.

    Every recorded dataset is described by the others alone. The history of a model is its mean
    z-score, drawn towards what models with its features reach by one dataset's worth, so that a
    model without history has an expectation too. Beside it stands the median, which one collapsed
    fine-tuning does not move.
    """
    z = z_scores(evidence.matrix.values)
    features, names = encode_features(evidence.model_features, len(evidence.matrix.models))
    signals = evidence.propagated_scores()
    fits = [
        dataset
        for dataset in range(z.shape[1])
        if not signals
        or any(
            not np.isnan(evidence.recorded_scores[n][:, dataset]).all()
            for n in signals
            if n in evidence.recorded_scores
        )
    ]
    tasks, task = _tasks(evidence, z)
    apart = evidence.label_distance
    near_target = None if apart is None else apart[-1, :-1]
    target = _columns(z, features, signals, list(signals), near_target)
    recorded, outcomes, rows = [], [], []
    for dataset in fits:
        measured = ~np.isnan(z[:, dataset])
        if measured.sum() < 2:
            continue
        told = evidence.hold_out(dataset).propagated_scores() if signals else {}
        near = None if apart is None else np.delete(apart[dataset, :-1], dataset)
        others = np.delete(z, dataset, axis=1)
        columns = _columns(others, features, told, list(signals), near)[measured]
        recorded.append(columns - columns.mean(axis=0))
        outcomes.append(z[measured, dataset])
        rows.append(tasks[dataset])
    by_labels = [] if apart is None else ["history by labels"]
    default = np.zeros(target.shape[1])
    default[0] = DEFAULT_WEIGHTS[0]
    default[len(HISTORY_COLUMNS) :][: len(signals)] = DEFAULT_WEIGHTS[1] / max(1, len(signals))
    scored = [f"{kind} {name}" for kind in ("score", "place by") for name in signals]
    told_of = [~np.isnan(values) for values in signals.values()]
    known = ~np.isnan(z).all(axis=1) | np.any(told_of, axis=0) | bool(names)
    return RegressionData(
        (*HISTORY_COLUMNS, *scored, *names, *by_labels),
        target,
        tuple(recorded),
        tuple(outcomes),
        default,
        task,
        tuple(rows),
        known.astype(np.float64) * np.ones(len(target)),
    )


def encode_features(
    columns: Mapping[str, FeatureColumn], count: int
) -> tuple[FloatArray, list[str]]:
    """(count, k) numbers for features: z-scores, of logarithms where they span a factor of 100.

    Labels become columns of 0 and 1, centered, for the most frequent ones. Unknown is 0.
    """
    found: list[FloatArray] = []
    names: list[str] = []
    for name, values in columns.items():
        if any(isinstance(value, str) for value in values):
            labels = [str(value) for value in values]
            often = sorted({v for v in labels if v}, key=lambda v: (-labels.count(v), v))
            for label in often[:_LABELS]:
                if 1 < labels.count(label) < count:
                    column = np.array([float(value == label) for value in labels])
                    found.append(column - column.mean())
                    names.append(f"{name}={label}")
            continue
        numbers = np.array([float(value) for value in values])
        seen = numbers[~np.isnan(numbers)]
        if not len(seen) or np.ptp(seen) == 0:
            continue
        if seen.min() > 0 and seen.max() > 100 * seen.min():
            numbers = np.log(numbers)
        found.append(fill_zero(z_scores(numbers)))
        names.append(name)
    return np.column_stack(found) if found else np.zeros((count, 0)), names


def _columns(
    z: FloatArray,
    features: FloatArray,
    signals: dict[str, FloatArray],
    names: Sequence[str],
    apart: FloatArray | None,
) -> FloatArray:
    """``apart``: (d,) distance of each dataset's class names from the target's, if known."""
    history = _expected(z, features)
    if apart is not None:
        features = np.column_stack([features, _by_labels(z, apart)])
    blank = np.full(len(z), np.nan)
    scores = [signals.get(name, blank) for name in names]
    return np.column_stack(
        [
            history,
            fill_zero(normal_scores(history)),
            fill_zero(_median(z)),
            *(fill_zero(z_scores(values)) for values in scores),
            *(fill_zero(normal_scores(values)) for values in scores),
            features,
        ]
    )


def _expected(z: FloatArray, features: FloatArray) -> FloatArray:
    """(m,) mean z-score, drawn towards a ridge regression of it on the features."""
    count = (~np.isnan(z)).sum(axis=1).astype(np.float64)
    total = fill_zero(z).sum(axis=1)
    family = np.zeros(len(z))
    if features.shape[1]:
        penalty = 5.0 * np.eye(features.shape[1])
        gram = features.T @ (features * count[:, None]) + penalty
        family = features @ np.linalg.solve(gram, features.T @ total)
    expected: FloatArray = (total + _FAMILY * family) / (count + _FAMILY)
    return expected


def _median(z: FloatArray) -> FloatArray:
    """(m,) median z-score; NaN without any."""
    count = (~np.isnan(z)).sum(axis=1)
    rising = np.column_stack([np.sort(z, axis=1), np.full(len(z), np.nan)])  # NaN last
    rows = np.arange(len(z))
    middle: FloatArray = 0.5 * (rising[rows, (count - 1) // 2] + rising[rows, count // 2])
    return middle


def _by_labels(z: FloatArray, distance: FloatArray) -> FloatArray:
    """(m,) mean z-score weighted by how alike the classes are called; 0 where nothing tells."""
    near = np.maximum(0.0, 1.0 - np.nan_to_num(distance, nan=1.0))  # (d,)
    weight = (~np.isnan(z)) * near
    total = weight.sum(axis=1)
    found: FloatArray = np.divide(fill_zero(z) @ near, total, out=np.zeros(len(z)), where=total > 0)
    return found


def _tasks(evidence: Evidence, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(d, e) features of the recorded datasets and (e,) of the target; unknown is 0."""
    values = evidence.matrix.values
    strength = nan_mean(z, axis=1)
    weak = strength <= (np.nanquantile(strength, _WEAKEST) if (~np.isnan(strength)).any() else 0)
    difficulty = [float(v) for v in nan_mean(values[weak], axis=0)] if weak.any() else []
    given = dict(evidence.dataset_features)
    of_target = dict(evidence.target_features)
    joint: dict[str, FeatureColumn] = {}
    for name, column in given.items():
        blank: float | str = "" if any(isinstance(v, str) for v in column) else float("nan")
        joint[name] = [*column, of_target.get(name, blank)]
    if difficulty and "difficulty" not in joint:
        own = of_target.get("difficulty", float("nan"))
        joint["difficulty"] = [*difficulty, float(own)]
    rows, _ = encode_features(joint, values.shape[1] + 1)
    return rows[:-1], rows[-1]
