"""Made-up embeddings with labels, for the tests of scores."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray


def sample(
    n: int, d: int, classes: int = 3, apart: float = 0.5, seed: int = 0
) -> tuple[FloatArray, AnyArray]:
    """Gaussian classes whose means are ``apart`` in each dimension; dimensions of unlike scale."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    scale = np.exp(-2.0 * np.arange(d) / d)
    means = apart * rng.normal(size=(classes, d))
    return scale * (rng.normal(size=(n, d)) + means[labels]), labels


def unequal(n: int, d: int, seed: int = 0) -> tuple[FloatArray, AnyArray]:
    """As ``sample``, with classes named 2, 5 and 9, of which the last has one sample."""
    features, labels = sample(n, d, classes=2, seed=seed)
    names = np.array([2, 5])[labels]
    names[0] = 9
    return features, names
