"""A factorization machine: the linear prediction and products of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.linear import ridge
from mlflow_recall.core.recommend.regression_data import regression_data

_RANK = 3
_PENALTY = 0.02
_STEPS = 40
_FOLDS = 3


def factorization(evidence: Evidence, *, seed: int = 0) -> Ranking:
    """Rank by a second-order factorization machine (Rendle 2010; Li et al. 2023, CVPR).

    To the linear prediction it adds Σ_{a<b} ⟨v_a, v_b⟩ x_a x_b over features of model and dataset,
    history and scores, with factors v of rank 3 fitted to what the linear prediction leaves. That
    second part is shrunk by how well it predicts recorded datasets it was not fitted on, down to
    nothing: with few datasets this is ``linear``.
    """
    cells = regression_data(evidence)
    weights = ridge(cells)
    first = cells.target_rows @ weights
    left = [y - x @ weights for x, y in zip(cells.recorded_rows, cells.outcomes, strict=True)]
    inputs = [
        _with_task(x, task)
        for x, task in zip(cells.recorded_rows, cells.dataset_features, strict=True)
    ]
    width = cells.target_rows.shape[1] + len(cells.target_features)
    trust, factors = _fit(inputs, left, width, seed)
    centered = (
        cells.target_rows - cells.target_rows.mean(axis=0)
        if len(cells.target_rows)
        else cells.target_rows
    )
    second = trust * products(_with_task(centered, cells.target_features), factors)
    scores = np.where(cells.is_known > 0, first + second, np.nan)
    return Ranking.from_scores(
        evidence.matrix.models, scores, {"linear": first, "products": second}
    )


def products(x: FloatArray, factors: FloatArray) -> FloatArray:
    """(n,) sum over pairs of columns a < b of ⟨v_a, v_b⟩ x_a x_b, in linear time.

    Args:
        x: (n, k).
        factors: (k, r).
    """
    total = x @ factors
    found: FloatArray = 0.5 * (total**2 - x**2 @ factors**2).sum(axis=1)
    return found


def _with_task(x: FloatArray, task: FloatArray) -> FloatArray:
    return np.column_stack([x, np.broadcast_to(task, (len(x), len(task)))])


def _fit(
    inputs: Sequence[FloatArray], left: Sequence[FloatArray], width: int, seed: int
) -> tuple[float, FloatArray]:
    """How far the products are to be trusted, in [0, 1], and the factors from all datasets."""
    if len(inputs) < _FOLDS:
        return 0.0, np.zeros((width, _RANK))
    agreement = size = 0.0
    for fold in range(_FOLDS):
        fitted = [i for i in range(len(inputs)) if i % _FOLDS != fold]
        factors = _factors([inputs[i] for i in fitted], [left[i] for i in fitted], seed)
        for i in range(fold, len(inputs), _FOLDS):
            said = products(inputs[i], factors)
            said = said - said.mean()
            agreement += float(np.mean(said * left[i]))
            size += float(np.mean(said**2))
    trust = float(np.clip(agreement / size, 0.0, 1.0)) if size > 0 else 0.0
    return trust, _factors(inputs, left, seed) if trust > 0 else np.zeros((width, _RANK))


def _factors(inputs: Sequence[FloatArray], left: Sequence[FloatArray], seed: int) -> FloatArray:
    """(k, r) factors of least penalized squares, every dataset weighing the same."""
    x = np.vstack(inputs)
    y = np.concatenate(left)
    weight = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in left]) / len(left)
    shape = (x.shape[1], _RANK)
    start = 0.1 * np.random.default_rng(seed).standard_normal(shape)
    squared = x**2

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        v = flat.reshape(shape)
        total = x @ v
        error = 0.5 * (total**2 - squared @ v**2).sum(axis=1) - y
        pull = weight * error
        gradient = x.T @ (pull[:, None] * total) - (squared.T @ pull)[:, None] * v
        value = 0.5 * float(pull @ error) + 0.5 * _PENALTY * float(flat @ flat)
        return value, (gradient + _PENALTY * v).ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    factors: FloatArray = np.asarray(found.x, dtype=np.float64).reshape(shape)
    return factors
