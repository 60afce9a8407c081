"""Convergence trends: what a validation score at a stage has meant for the end (eq. 5 and 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray, read_only
from mlflow_recall.core.history.curves import Curves


@dataclass(frozen=True)
class TrendPrediction:
    """Final test score that a trend foretells, and the range it has covered."""

    final_score: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Trends:
    """Trends of every (model, stage): groups of datasets on which the model stood alike.

    Unused places of the last axis are NaN; a model that was never measured at a stage has none.
    """

    models: tuple[str, ...]
    centers: FloatArray  # (m, t, k) mean validation score of the trend at this stage, ascending
    final_scores: FloatArray  # (m, t, k) mean final test score of the trend
    low_scores: FloatArray  # (m, t, k) lowest final test score in the trend
    high_scores: FloatArray  # (m, t, k) highest

    @property
    def stages(self) -> int:
        """Stages that the history has recorded."""
        return int(self.centers.shape[1])

    def predict(self, model: str, stage: int, score: float) -> TrendPrediction | None:
        """What the nearest trend of ``model`` at ``stage`` (from 1) ended in (eq. 5 and 6).

        Args:
            model: name; one without history has no prediction.
            stage: from 1; beyond the recorded ones there is no prediction.
            score: validation score of the model on the new dataset.

        Returns:
            The mean final test score of the trend whose center is nearest to ``score`` (the lower
            one of two equally near), with the range of its datasets; None without a trend.
        """
        if model not in self.models or not 1 <= stage <= self.stages or np.isnan(score):
            return None
        row = self.models.index(model), stage - 1
        if np.isnan(self.centers[row]).all():
            return None
        nearest = (*row, int(np.nanargmin(np.abs(self.centers[row] - score))))
        return TrendPrediction(
            float(self.final_scores[nearest]),
            float(self.low_scores[nearest]),
            float(self.high_scores[nearest]),
        )


def mine_trends(curves: Curves, most: int = 4) -> Trends:
    """Group the datasets of every (model, stage) by validation score (Cui et al. 2024, sec. IV).

    The one-dimensional k-means is solved exactly, for all models and stages at once, with
    min(``most``, measured datasets / 2) trends and at least one.

    Args:
        curves: history of (m, d, t) scores and (m, d) ends.
        most: upper bound of the number of trends of a model at a stage.
    """
    models, datasets, stages = curves.scores.shape
    scores = curves.scores.transpose(0, 2, 1).reshape(models * stages, datasets)
    ends = np.repeat(curves.final_scores[:, None, :], stages, axis=1).reshape(
        models * stages, datasets
    )
    scores = np.where(np.isnan(ends), np.nan, scores)
    order = np.argsort(scores, axis=1, kind="stable")  # NaN last
    scores = np.take_along_axis(scores, order, axis=1)
    ends = np.take_along_axis(ends, order, axis=1)
    measured = (~np.isnan(scores)).sum(axis=1)
    groups = np.clip(measured // 2, 1, most)
    starts = kmeans_1d(scores, groups, most)

    shape = (models, stages, most)
    centers, mean, low, high = (np.full((models * stages, most), np.nan) for _ in range(4))
    place = np.arange(datasets)
    for k in range(most):
        begin = starts[:, k, None]
        end = starts[:, k + 1, None]
        inside = (place >= begin) & (place < end)
        some = inside.any(axis=1)
        count = inside.sum(axis=1)
        for target, values in ((centers, scores), (mean, ends)):
            total = np.where(inside, values, 0.0).sum(axis=1)
            np.divide(total, count, out=target[:, k], where=some)
        low[some, k] = np.where(inside, ends, np.inf).min(axis=1, initial=np.inf)[some]
        high[some, k] = np.where(inside, ends, -np.inf).max(axis=1, initial=-np.inf)[some]
    return Trends(curves.models, *(read_only(a.reshape(shape)) for a in (centers, mean, low, high)))


def kmeans_1d(values: FloatArray, groups: IntArray, most: int) -> IntArray:
    """Exact k-means of many sorted rows by dynamic programming (Wang & Song 2011).

    Args:
        values: (p, n) rows in ascending order, NaN last.
        groups: (p,) number of groups of each row, in [1, most].
        most: at least every number of groups.

    Returns:
        (p, most + 1) where each group starts, the last column where the last one ends; groups that
        a row does not have are empty.
    """
    rows, n = values.shape
    measured = (~np.isnan(values)).sum(axis=1)
    # shifting by the row's mean keeps the sums of squares from cancelling
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

    # equal values stay together, or rounding would decide which of them
    torn = np.zeros((rows, n + 1), dtype=bool)
    torn[:, 1:n] = values[:, 1:] == values[:, :-1]

    best = cost[:, 0, :].copy()
    cost[:, i[:, 0], i[:, 0]] = np.inf  # from here on a group has a value
    split = np.zeros((rows, most, n + 1), dtype=np.intp)
    for k in range(1, most):
        through = np.where(torn, np.inf, best)[:, :, None] + cost
        split[:, k] = through.argmin(axis=1)
        best = np.take_along_axis(through, split[:, k, None, :], axis=1)[:, 0]
        best[:, 0] = 0.0  # fewer groups than asked for, where fewer values differ

    starts = np.zeros((rows, most + 1), dtype=np.intp)
    end = measured.astype(np.intp)
    starts[:, :] = end[:, None]
    row = np.arange(rows)
    for k in range(most - 1, -1, -1):
        active = k < groups
        begin = split[row, k, end] if k else np.zeros(rows, dtype=np.intp)
        starts[:, k] = np.where(active, begin, end)
        end = np.where(active, begin, end)
    return starts
