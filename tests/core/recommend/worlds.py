"""Small synthetic worlds in which the worth of history, scores and features is known."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence


def evidence(seed: int = 0, models: int = 12, datasets: int = 6, noise: float = 0.3) -> Evidence:
    """Final scores are a model's strength plus an effect of the cell, which the score measures."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=(models, datasets + 1))
    outcome = rng.normal(size=(models, 1)) + effect
    score = effect + noise * rng.normal(size=effect.shape)
    names = tuple(f"m{i:02d}" for i in range(models))
    matrix = PerformanceMatrix(
        names, tuple(f"d{j}" for j in range(datasets)), outcome[:, :datasets]
    )
    return Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=models),
        scores={"s": score[:, datasets]},
        recorded_scores={"s": score[:, :datasets]},
    )


def families(new: int = 0) -> Evidence:
    """Twenty models of two families, one better by far; the first ``new`` have no history."""
    rng = np.random.default_rng(0)
    family = ["good" if i % 2 else "bad" for i in range(20)]
    strength = np.array([1.0 if name == "good" else 0.0 for name in family])
    values = strength[:, None] + 0.1 * rng.normal(size=(20, 6))
    values[:new] = np.nan
    matrix = PerformanceMatrix(tuple(f"m{i:02d}" for i in range(20)), tuple("abcdef"), values)
    return Evidence(
        matrix=matrix, clustering=cluster_models(matrix, count=5), model_features={"family": family}
    )


def two_kinds(*, named: bool = True) -> Evidence:
    """Ten models good on animals, ten on colors; the target's classes are named like animals."""
    rng = np.random.default_rng(1)
    animals = np.array([1.0, 0, 1, 0, 1, 0, 1, 0])
    good = np.arange(20) < 10
    values = np.where(good[:, None] == (animals > 0), 1.0, 0.0) + 0.1 * rng.normal(size=(20, 8))
    matrix = PerformanceMatrix(tuple(f"m{i:02d}" for i in range(20)), tuple("abcdefgh"), values)
    kind = np.append(animals, 1.0)
    distance = np.where(kind[:, None] == kind, 0.1, 0.9)
    return Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=5),
        label_distance=distance if named else None,
    )
