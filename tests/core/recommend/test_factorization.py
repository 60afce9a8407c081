"""Facts of the factorization machine: products of features."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.factorization import factorization, products


def test_products_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=(4, 5)), rng.normal(size=(5, 3))
    slow = [
        sum(v[a] @ v[b] * row[a] * row[b] for a in range(5) for b in range(a + 1, 5)) for row in x
    ]

    np.testing.assert_allclose(products(x, v), slow)


def test_products_that_decide_are_fitted() -> None:
    """One kind is good on large tasks, the other on small ones."""
    rng = np.random.default_rng(2)
    sign = np.array([1.0, -1.0] * 10)
    size = rng.choice([-1.0, 1.0], size=18)
    values = sign[:, None] * size + 0.1 * rng.normal(size=(20, 18))
    matrix = PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(20)), tuple(f"d{j}" for j in range(18)), values
    )
    known = Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=2),
        model_features={"kind": [float(s) for s in sign]},
        dataset_features={"size": [float(s) for s in size]},
        target_features={"size": -1.0},
    )

    assert {int(model[1:]) % 2 for model in factorization(known).models[:10]} == {1}
