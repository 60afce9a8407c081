"""Synthetic histories: matrices with holes, and curves that rise to a final score."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import HeldOutTarget, hold_out_recorded
from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.planning.simulate import MAX_TARGETS
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence

NAN = float("nan")


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(models)), tuple(f"d{j}" for j in range(datasets)), array
    )


def world(seed: int, models: int = 8, datasets: int = 6, missing: float = 0.4) -> FloatArray:
    """Strengths, families that deviate together, and datasets of different level and spread."""
    rng = np.random.default_rng(seed)
    family = rng.normal(size=(models // 2, datasets))[np.arange(models) // 2]
    scores = rng.normal(size=(models, 1)) + family + 0.3 * rng.normal(size=(models, datasets))
    scores = rng.normal(size=datasets) + np.exp(0.3 * rng.normal(size=datasets)) * scores
    holes = rng.random(scores.shape) < missing
    holes[:2] = False  # every dataset has two measured models
    return np.where(holes, NAN, scores)


def converging(seed: int = 0, models: int = 8, datasets: int = 6, stages: int = 4) -> Curves:
    """Curves that rise to a final score, validation being that score with noise."""
    rng = np.random.default_rng(seed)
    final_scores = 0.5 + 0.1 * rng.normal(size=(models, 1))
    final_scores = final_scores + 0.05 * rng.normal(size=(models, datasets))
    rising = np.linspace(0.6, 1.0, stages)
    scores = final_scores[:, :, None] * rising + 0.02 * rng.normal(size=(models, datasets, stages))
    names = tuple(f"m{i}" for i in range(models))
    return Curves(
        models=names,
        datasets=tuple(f"d{j}" for j in range(datasets)),
        scores=scores,
        final_scores=final_scores,
    )


def evidence(curves: Curves) -> Evidence:
    return Evidence(
        matrix=PerformanceMatrix(curves.models, curves.datasets, curves.final_scores),
        clustering=no_clusters(),
    )


def recorded(curves: Curves, *, has_curves: bool = True) -> list[HeldOutTarget]:
    """Every dataset held out, its models ranked by the others."""
    known = curves if has_curves else None
    return hold_out_recorded(evidence(curves), RECOMMENDERS["prior"].rank, known, MAX_TARGETS)
