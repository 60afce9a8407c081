"""Made-up embeddings with labels, for the tests of scores."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL


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


def sample_of(
    task: str, n: int, d: int, apart: float = 0.5, seed: int = 0
) -> tuple[FloatArray, AnyArray]:
    """As ``sample``, with the targets of any task: three classes, four labels or a number.

    Labels are rare to frequent, and some samples have none of them.
    """
    if task == CLASSIFICATION:
        return sample(n, d, apart=apart, seed=seed)
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 4))
    if task == MULTILABEL:
        targets = (latent > [1.0, 0.5, 0.0, -0.8]).astype(np.int64)
        latent = targets - targets.mean(axis=0)
    else:
        latent, targets = latent[:, :1], np.exp(latent[:, 0])
    scale = np.exp(-2.0 * np.arange(d) / d)
    signal = latent @ rng.normal(size=(latent.shape[1], d))
    return scale * (rng.normal(size=(n, d)) + apart * signal), targets
