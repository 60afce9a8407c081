"""A factorization machine: a linear prediction, and products of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.linear import ridge
from mlflow_recall.core.recommend.regression_data import regression_data

#: length of the factor of a feature
_RANK = 3
#: weight of the squared factors in the loss
_PENALTY = 0.02
#: maximum number of iterations of the optimizer
_MAX_ITERATIONS = 40
#: parts of the recorded datasets that are held out in turn
_FOLDS = 3


def factorization(evidence: Evidence, *, seed: int = 0) -> Ranking:
    """Rank by a second-order factorization machine (Rendle 2010; Li et al. 2023, CVPR).

    It adds Σ_{a<b} ⟨v_a, v_b⟩ x_a x_b to the prediction of ``linear``. The sum is over features of
    model and dataset, history and scores, with factors v of rank 3 that are fitted to the residuals
    of the linear prediction. It is shrunk by how well it predicts recorded datasets that it was not
    fitted to, down to 0: with few datasets this is ``linear``.

    Args:
        evidence: History, scores and features.
        seed: Seed of the start values of the factors.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix)
        ... )
        >>> factorization(evidence).models
        ('b', 'a', 'c')
    """
    cells = regression_data(evidence)
    weights = ridge(cells)
    first = cells.target_rows @ weights
    residuals = [y - x @ weights for x, y in zip(cells.recorded_rows, cells.outcomes, strict=True)]
    inputs = [
        _add_dataset_features(x, features)
        for x, features in zip(cells.recorded_rows, cells.dataset_features, strict=True)
    ]
    width = cells.target_rows.shape[1] + len(cells.target_features)
    trust, factors = _fit(inputs, residuals, width, seed)
    centered = (
        cells.target_rows - cells.target_rows.mean(axis=0)
        if len(cells.target_rows)
        else cells.target_rows
    )
    second = trust * products(_add_dataset_features(centered, cells.target_features), factors)
    scores = np.where(cells.is_known > 0, first + second, np.nan)
    return Ranking.from_scores(
        evidence.matrix.models, scores, {"linear": first, "products": second}
    )


def products(x: FloatArray, factors: FloatArray) -> FloatArray:
    """Return (n,) sums over pairs of columns a < b of ⟨v_a, v_b⟩ x_a x_b, in linear time.

    Args:
        x: (n, k) features.
        factors: (k, r) factor v of each feature.
    """
    total = x @ factors
    sums: FloatArray = 0.5 * (total**2 - x**2 @ factors**2).sum(axis=1)
    return sums


def _add_dataset_features(x: FloatArray, features: FloatArray) -> FloatArray:
    """Return (n, k) rows with the (e,) features of their dataset as further columns."""
    return np.column_stack([x, np.broadcast_to(features, (len(x), len(features)))])


def _fit(
    inputs: Sequence[FloatArray], residuals: Sequence[FloatArray], width: int, seed: int
) -> tuple[float, FloatArray]:
    """Fit the factors, and by how much the products are shrunk.

    Args:
        inputs: (n, k) rows of each recorded dataset.
        residuals: (n,) residuals of the linear prediction on each dataset.
        width: Number k of features.
        seed: Seed of the start values.

    Returns:
        The factor of the products, in [0, 1], and (k, r) factors from all datasets.
    """
    if len(inputs) < _FOLDS:
        return 0.0, np.zeros((width, _RANK))
    agreement = size = 0.0
    for fold in range(_FOLDS):
        fitted = [i for i in range(len(inputs)) if i % _FOLDS != fold]
        factors = _fit_factors([inputs[i] for i in fitted], [residuals[i] for i in fitted], seed)
        for i in range(fold, len(inputs), _FOLDS):
            predicted = products(inputs[i], factors)
            predicted = predicted - predicted.mean()
            agreement += float(np.mean(predicted * residuals[i]))
            size += float(np.mean(predicted**2))
    trust = float(np.clip(agreement / size, 0.0, 1.0)) if size > 0 else 0.0
    return trust, _fit_factors(inputs, residuals, seed) if trust > 0 else np.zeros((width, _RANK))


def _fit_factors(
    inputs: Sequence[FloatArray], residuals: Sequence[FloatArray], seed: int
) -> FloatArray:
    """Return (k, r) factors of least penalized squares, with the same weight of every dataset."""
    x = np.vstack(inputs)
    y = np.concatenate(residuals)
    weight = np.concatenate([np.full(len(own), 1.0 / len(own)) for own in residuals])
    weight = weight / len(residuals)
    shape = (x.shape[1], _RANK)
    start = 0.1 * np.random.default_rng(seed).standard_normal(shape)
    squared = x**2

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        v = flat.reshape(shape)
        total = x @ v
        error = 0.5 * (total**2 - squared @ v**2).sum(axis=1) - y
        weighted = weight * error
        gradient = x.T @ (weighted[:, None] * total) - (squared.T @ weighted)[:, None] * v
        value = 0.5 * float(weighted @ error) + 0.5 * _PENALTY * float(flat @ flat)
        return value, (gradient + _PENALTY * v).ravel()

    solution = minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _MAX_ITERATIONS}
    )
    factors: FloatArray = np.asarray(solution.x, dtype=np.float64).reshape(shape)
    return factors
