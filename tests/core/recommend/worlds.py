"""A small world in which it is known what history and scores are worth."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence


def evidence(seed: int = 0, models: int = 12, datasets: int = 6, noise: float = 0.3) -> Evidence:
    """Outcomes are model strength plus an own effect, which the score sees."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(size=(models, datasets + 1))
    outcome = rng.normal(size=(models, 1)) + effect
    score = effect + noise * rng.normal(size=effect.shape)
    names = tuple(f"m{i:02d}" for i in range(models))
    matrix = PerformanceMatrix(
        names, tuple(f"d{j}" for j in range(datasets)), outcome[:, :datasets]
    )
    return Evidence(
        matrix,
        cluster_models(matrix, count=models),
        scores={"s": score[:, datasets]},
        recorded_scores={"s": score[:, :datasets]},
    )
