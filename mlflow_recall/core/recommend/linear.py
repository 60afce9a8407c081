"""Ridge regression on history, scores and features."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.regression_data import (
    HISTORY_COLUMNS,
    RegressionData,
    regression_data,
)

#: ridge penalties that are tried
_PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)


def linear(evidence: Evidence) -> Ranking:
    """Rank by a linear prediction of the z-score on the target (Li et al. 2023, CVPR).

    'Guided Recommendation for Model Fine-Tuning' regresses fine-tuning results on features of
    models and datasets, on scores and on the history. Here every recorded dataset has the same
    weight, whatever its number of models. The ridge shrinks the weights to those of a blend of
    z-scores, with the penalty that predicts recorded datasets best, each held out in turn. Features
    of a dataset are the same for all candidates, so they cannot change a linear ranking;
    ``factorization`` has their products. Models without any history have a prediction from their
    features and scores; a model of which nothing is known comes last.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix)
        ... )
        >>> linear(evidence).models
        ('b', 'a', 'c')
    """
    cells = regression_data(evidence)
    weights = ridge(cells)
    scores = cells.target_rows @ weights
    first = len(HISTORY_COLUMNS)
    last = first + sum(name.startswith(("score ", "place by ")) for name in cells.column_names)
    groups = {"history": slice(first), "scores": slice(first, last), "features": slice(last, None)}
    parts = {
        name: cells.target_rows[:, columns] @ weights[columns]
        for name, columns in groups.items()
        if len(weights[columns])
    }
    return Ranking.from_scores(
        evidence.matrix.models, np.where(cells.is_known > 0, scores, np.nan), parts
    )


def ridge(cells: RegressionData) -> FloatArray:
    """Return (k,) weights; the default ones where nothing is recorded."""
    if not cells.recorded_rows:
        return cells.default_weights
    grams = np.array([x.T @ x / len(x) for x in cells.recorded_rows])
    sides = np.array(
        [x.T @ y / len(x) for x, y in zip(cells.recorded_rows, cells.outcomes, strict=True)]
    )
    gram, side, count = grams.sum(axis=0), sides.sum(axis=0), len(grams)
    penalties = np.array(_PENALTIES)[:, None, None] * np.diag(
        np.maximum(np.diag(gram) / count, 1e-6)
    )  # (p, k, k)

    def solve(total: FloatArray, right: FloatArray, n: int) -> FloatArray:
        """Return (p, k) weights, one row for each penalty."""
        right = right / n + penalties @ cells.default_weights
        solution: FloatArray = np.linalg.solve(total / n + penalties, right[..., None])[..., 0]
        return solution

    best = len(_PENALTIES) - 1
    if count > 1:
        errors = np.zeros(len(_PENALTIES))
        for x, y, g, s in zip(cells.recorded_rows, cells.outcomes, grams, sides, strict=True):
            weights = solve(gram - g, side - s, count - 1)
            errors += np.mean((y[:, None] - x @ weights.T) ** 2, axis=0)
        best = int(np.argmin(errors))
    weights = solve(gram, side, count)
    return np.asarray(weights[best])
