"""Recorded fine-tunings as rows of a regression: what was known before each, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.blend import DEFAULT_WEIGHTS
from mlflow_recall.core.recommend.evidence import Evidence, FeatureColumn
from mlflow_recall.core.standardize import fill_zero, normal_scores, z_scores

#: labels of one feature that have a column of their own, the most frequent ones
_MAX_LABELS = 8
#: datasets that the expectation from a model's features counts as, against its own history
_PRIOR_DATASETS = 1.0
#: names of the columns of a model's history
HISTORY_COLUMNS = ("history", "place in history", "median in history")
#: share of the models, worst in the history, whose scores say how difficult a dataset is
_WORST_SHARE = 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class RegressionData:
    """Columns of the target's candidates and of every recorded dataset's measured models."""

    column_names: tuple[str, ...]
    target_rows: FloatArray  # (m, k)
    #: (n, k) rows of each recorded dataset, centered within the dataset
    recorded_rows: tuple[FloatArray, ...]
    #: (n,) z-scores of each recorded dataset
    outcomes: tuple[FloatArray, ...]
    #: (k,) weights before any outcome is known
    default_weights: FloatArray
    target_features: FloatArray  # (e,) features of the target
    #: (e,) features of each recorded dataset
    dataset_features: tuple[FloatArray, ...]
    is_known: FloatArray  # (m,) 1 where anything is known of a model, else 0


def regression_data(evidence: Evidence) -> RegressionData:
    """Make columns of the evidence: history, scores, model features, and history by labels.

    Every recorded dataset is described by the others alone. The history of a model is its mean
    z-score, shrunk by the weight of one dataset to what models with its features reach, so that a
    model without history has an expectation too. The median is a further column, since one
    collapsed fine-tuning does not change it.
    """
    z = z_scores(evidence.matrix.values)
    features, names = encode_features(evidence.model_features, len(evidence.matrix.models))
    scores = evidence.propagated_scores()
    usable = [
        dataset
        for dataset in range(z.shape[1])
        if not scores
        or any(
            not np.isnan(evidence.recorded_scores[n][:, dataset]).all()
            for n in scores
            if n in evidence.recorded_scores
        )
    ]
    dataset_features, target_features = _encode_dataset_features(evidence, z)
    distance = evidence.label_distance
    target_distance = None if distance is None else distance[-1, :-1]
    target = _columns(z, features, scores, list(scores), target_distance)
    recorded, outcomes, recorded_features = [], [], []
    for dataset in usable:
        measured = ~np.isnan(z[:, dataset])
        if measured.sum() < 2:
            continue
        known_scores = evidence.hold_out(dataset).propagated_scores() if scores else {}
        own_distance = None if distance is None else np.delete(distance[dataset, :-1], dataset)
        others = np.delete(z, dataset, axis=1)
        columns = _columns(others, features, known_scores, list(scores), own_distance)[measured]
        recorded.append(columns - columns.mean(axis=0))
        outcomes.append(z[measured, dataset])
        recorded_features.append(dataset_features[dataset])
    label_columns = [] if distance is None else ["history by labels"]
    default = np.zeros(target.shape[1])
    default[0] = DEFAULT_WEIGHTS[0]
    default[len(HISTORY_COLUMNS) :][: len(scores)] = DEFAULT_WEIGHTS[1] / max(1, len(scores))
    score_columns = [f"{kind} {name}" for kind in ("score", "place by") for name in scores]
    is_scored = [~np.isnan(values) for values in scores.values()]
    is_known = ~np.isnan(z).all(axis=1) | np.any(is_scored, axis=0) | bool(names)
    return RegressionData(
        column_names=(*HISTORY_COLUMNS, *score_columns, *names, *label_columns),
        target_rows=target,
        recorded_rows=tuple(recorded),
        outcomes=tuple(outcomes),
        default_weights=default,
        target_features=target_features,
        dataset_features=tuple(recorded_features),
        is_known=is_known.astype(np.float64) * np.ones(len(target)),
    )


def encode_features(
    columns: Mapping[str, FeatureColumn], count: int
) -> tuple[FloatArray, list[str]]:
    """Encode features as numbers.

    Numbers become z-scores, of their logarithms where they span a factor of 100. The most frequent
    labels become centered columns of 0 and 1. Unknown values are 0.

    Args:
        columns: Feature -> one value for each model or dataset.
        count: Number of models or datasets.

    Returns:
        (count, k) numbers, and the names of the k columns.
    """
    encoded: list[FloatArray] = []
    names: list[str] = []
    for name, values in columns.items():
        if any(isinstance(value, str) for value in values):
            labels = [str(value) for value in values]
            frequent = sorted({v for v in labels if v}, key=lambda v: (-labels.count(v), v))
            for label in frequent[:_MAX_LABELS]:
                if 1 < labels.count(label) < count:
                    column = np.array([float(value == label) for value in labels])
                    encoded.append(column - column.mean())
                    names.append(f"{name}={label}")
            continue
        numbers = np.array([float(value) for value in values])
        known = numbers[~np.isnan(numbers)]
        if not len(known) or np.ptp(known) == 0:
            continue
        if known.min() > 0 and known.max() > 100 * known.min():
            numbers = np.log(numbers)
        encoded.append(fill_zero(z_scores(numbers)))
        names.append(name)
    return np.column_stack(encoded) if encoded else np.zeros((count, 0)), names


def _columns(
    z: FloatArray,
    features: FloatArray,
    scores: dict[str, FloatArray],
    names: Sequence[str],
    label_distance: FloatArray | None,
) -> FloatArray:
    """Return the (m, k) columns of m models on one dataset.

    Args:
        z: (m, d) z-scores on the other datasets.
        features: (m, f) encoded features of the models.
        scores: Score -> (m,) values on the dataset.
        names: Scores that have columns; those without values are unknown.
        label_distance: (d,) distances of the other datasets' class names; None: unknown.
    """
    history = _expected_z_scores(z, features)
    if label_distance is not None:
        features = np.column_stack([features, _history_by_labels(z, label_distance)])
    blank = np.full(len(z), np.nan)
    columns = [scores.get(name, blank) for name in names]
    return np.column_stack(
        [
            history,
            fill_zero(normal_scores(history)),
            fill_zero(_median(z)),
            *(fill_zero(z_scores(values)) for values in columns),
            *(fill_zero(normal_scores(values)) for values in columns),
            features,
        ]
    )


def _expected_z_scores(z: FloatArray, features: FloatArray) -> FloatArray:
    """Return (m,) mean z-scores, shrunk to a ridge regression of them on the features."""
    count = (~np.isnan(z)).sum(axis=1).astype(np.float64)
    total = fill_zero(z).sum(axis=1)
    by_features = np.zeros(len(z))
    if features.shape[1]:
        penalty = 5.0 * np.eye(features.shape[1])
        gram = features.T @ (features * count[:, None]) + penalty
        by_features = features @ np.linalg.solve(gram, features.T @ total)
    expected: FloatArray = (total + _PRIOR_DATASETS * by_features) / (count + _PRIOR_DATASETS)
    return expected


def _median(z: FloatArray) -> FloatArray:
    """Return (m,) median z-scores; NaN without any."""
    count = (~np.isnan(z)).sum(axis=1)
    ascending = np.column_stack([np.sort(z, axis=1), np.full(len(z), np.nan)])  # NaN last
    rows = np.arange(len(z))
    middle: FloatArray = 0.5 * (ascending[rows, (count - 1) // 2] + ascending[rows, count // 2])
    return middle


def _history_by_labels(z: FloatArray, distance: FloatArray) -> FloatArray:
    """Return (m,) mean z-scores, weighted by the similarity of class names; 0 where unknown.

    Args:
        z: (m, d) z-scores.
        distance: (d,) distances of the datasets' class names; NaN where unknown.
    """
    similarity = np.maximum(0.0, 1.0 - np.nan_to_num(distance, nan=1.0))  # (d,)
    weight = (~np.isnan(z)) * similarity
    total = weight.sum(axis=1)
    mean: FloatArray = np.divide(
        fill_zero(z) @ similarity, total, out=np.zeros(len(z)), where=total > 0
    )
    return mean


def _encode_dataset_features(evidence: Evidence, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (d, e) features of the recorded datasets and (e,) of the target; unknown is 0."""
    values = evidence.matrix.values
    mean = nan_mean(z, axis=1)
    is_worst = mean <= (np.nanquantile(mean, _WORST_SHARE) if (~np.isnan(mean)).any() else 0)
    difficulty = [float(v) for v in nan_mean(values[is_worst], axis=0)] if is_worst.any() else []
    target_features = evidence.target_features
    joint: dict[str, FeatureColumn] = {}
    for name, column in evidence.dataset_features.items():
        blank: float | str = "" if any(isinstance(v, str) for v in column) else float("nan")
        joint[name] = [*column, target_features.get(name, blank)]
    if difficulty and "difficulty" not in joint:
        own = target_features.get("difficulty", float("nan"))
        joint["difficulty"] = [*difficulty, float(own)]
    rows, _ = encode_features(joint, values.shape[1] + 1)
    return rows[:-1], rows[-1]
