"""Convergence trends: the final scores that a validation score has led to (Eq. 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, read_only
from mlflow_recall.core.history.curves import Curves


@dataclass(frozen=True)
class TrendPrediction:
    """Final test score that a trend predicts, and the range of its datasets."""

    final_score: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Trends:
    """Trends of every (model, stage): groups of datasets on which the model had similar scores.

    Unused positions of the last axis are NaN; a model that was never measured at a stage has no
    trend there.
    """

    models: tuple[str, ...]
    centers: FloatArray  # (m, t, k) mean validation score of the trend at this stage, ascending
    final_scores: FloatArray  # (m, t, k) mean final test score of the trend
    low_scores: FloatArray  # (m, t, k) lowest final test score in the trend
    high_scores: FloatArray  # (m, t, k) highest final test score in the trend

    @property
    def stages(self) -> int:
        """Stages that the history has recorded."""
        return int(self.centers.shape[1])

    def predict(self, model: str, stage: int, score: float) -> TrendPrediction | None:
        """Predict the final score of a model by the nearest trend at a stage (Eq. 5 and 6).

        Args:
            model: Name of the model; without a history it has no prediction.
            stage: Stage, from 1; beyond the recorded ones there is no prediction.
            score: Validation score of the model on the new dataset.

        Returns:
            The mean final test score of the trend whose center is nearest to ``score`` (of two
            equally near ones the lower), with the range of its datasets; None without a trend.
        """
        if model not in self.models or not 1 <= stage <= self.stages or np.isnan(score):
            return None
        cell = self.models.index(model), stage - 1
        if np.isnan(self.centers[cell]).all():
            return None
        nearest = (*cell, int(np.nanargmin(np.abs(self.centers[cell] - score))))
        return TrendPrediction(
            float(self.final_scores[nearest]),
            float(self.low_scores[nearest]),
            float(self.high_scores[nearest]),
        )


def mine_trends(curves: Curves, max_trends: int = 4) -> Trends:
    """Group the datasets of every (model, stage) by validation score (Cui et al. 2024, sec. IV).

    The one-dimensional k-means is solved exactly, for all models and stages at once, with
    min(``max_trends``, measured datasets / 2) trends and at least one.

    Args:
        curves: History of (m, d, t) scores and (m, d) final scores.
        max_trends: Maximum number of trends of a model at a stage.

    Example:
        >>> scores = np.array([[[0.5], [0.5], [0.9], [0.9]]])
        >>> curves = Curves(
        ...     models=("a",),
        ...     datasets=tuple("wxyz"),
        ...     scores=scores,
        ...     final_scores=np.array([[0.6, 0.6, 1.0, 1.0]]),
        ... )
        >>> mine_trends(curves).predict("a", 1, 0.8).final_score
        1.0
    """
    models, datasets, stages = curves.scores.shape
    scores = curves.scores.transpose(0, 2, 1).reshape(models * stages, datasets)
    final_scores = np.repeat(curves.final_scores[:, None, :], stages, axis=1).reshape(
        models * stages, datasets
    )
    scores = np.where(np.isnan(final_scores), np.nan, scores)
    order = np.argsort(scores, axis=1, kind="stable")  # NaN last
    scores = np.take_along_axis(scores, order, axis=1)
    final_scores = np.take_along_axis(final_scores, order, axis=1)
    measured = (~np.isnan(scores)).sum(axis=1)
    groups = np.clip(measured // 2, 1, max_trends)
    starts = kmeans_1d(scores, groups, max_trends)

    shape = (models, stages, max_trends)
    centers, mean, low, high = (np.full((models * stages, max_trends), np.nan) for _ in range(4))
    position = np.arange(datasets)
    for k in range(max_trends):
        begin = starts[:, k, None]
        end = starts[:, k + 1, None]
        inside = (position >= begin) & (position < end)
        exists = inside.any(axis=1)
        count = inside.sum(axis=1)
        for target, values in ((centers, scores), (mean, final_scores)):
            total = np.where(inside, values, 0.0).sum(axis=1)
            np.divide(total, count, out=target[:, k], where=exists)
        lowest = np.where(inside, final_scores, np.inf).min(axis=1, initial=np.inf)
        highest = np.where(inside, final_scores, -np.inf).max(axis=1, initial=-np.inf)
        low[exists, k], high[exists, k] = lowest[exists], highest[exists]
    return Trends(
        models=curves.models,
        centers=read_only(centers.reshape(shape)),
        final_scores=read_only(mean.reshape(shape)),
        low_scores=read_only(low.reshape(shape)),
        high_scores=read_only(high.reshape(shape)),
    )


def kmeans_1d(values: FloatArray, groups: IntArray, max_groups: int) -> IntArray:
    """Return exact k-means of many sorted rows by dynamic programming (Wang & Song 2011).

    Args:
        values: (p, n) rows in ascending order, NaN last.
        groups: (p,) number of groups of each row, in [1, max_groups].
        max_groups: At least every number of groups.

    Returns:
        (p, max_groups + 1) indices at which the groups start; the last column is the end of the
        last group. Groups that a row does not have are empty.
    """
    rows, n = values.shape
    measured = (~np.isnan(values)).sum(axis=1)
    # shifting by the mean of a row avoids cancellation in the sums of squares
    shift = np.divide(np.nansum(values, axis=1), measured, out=np.zeros(rows), where=measured > 0)
    known = np.nan_to_num(values - shift[:, None])
    zero = np.zeros((rows, 1))
    first = np.hstack([zero, np.cumsum(known, axis=1)])
    second = np.hstack([zero, np.cumsum(known**2, axis=1)])
    i, j = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    size = np.maximum(j - i, 1)
    # cost[p, i, j]: sum of squares of values i..j-1 around their mean
    cost = (second[:, None, :] - second[:, :, None]) - (
        first[:, None, :] - first[:, :, None]
    ) ** 2 / size
    cost = np.where(i < j, np.maximum(cost, 0.0), np.where(i == j, 0.0, np.inf))

    # no group starts between equal values, where rounding would decide
    is_tied = np.zeros((rows, n + 1), dtype=bool)
    is_tied[:, 1:n] = values[:, 1:] == values[:, :-1]

    best = cost[:, 0, :].copy()
    cost[:, i[:, 0], i[:, 0]] = np.inf  # from here on no group is empty
    split = np.zeros((rows, max_groups, n + 1), dtype=np.intp)
    for k in range(1, max_groups):
        through = np.where(is_tied, np.inf, best)[:, :, None] + cost
        split[:, k] = through.argmin(axis=1)
        best = np.take_along_axis(through, split[:, k, None, :], axis=1)[:, 0]
        best[:, 0] = 0.0  # fewer groups than requested, where fewer values differ

    starts = np.zeros((rows, max_groups + 1), dtype=np.intp)
    end = measured.astype(np.intp)
    starts[:, :] = end[:, None]
    row = np.arange(rows)
    for k in range(max_groups - 1, -1, -1):
        active = k < groups
        begin = split[row, k, end] if k else np.zeros(rows, dtype=np.intp)
        starts[:, k] = np.where(active, begin, end)
        end = np.where(active, begin, end)
    return starts
