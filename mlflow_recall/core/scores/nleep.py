"""LEEP with a Gaussian mixture instead of the source head."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.inputs import class_sums
from mlflow_recall.core.scores.targets import CLASS_TASKS, ClassTargets
from mlflow_recall.errors import ScoreInputError

#: share of the variance that the principal components keep
_ENERGY = 0.8
#: components of the mixture for each class, and minimum number of samples for each component
_PER_CLASS, _MIN_SAMPLES = 5, 10
#: addend of the variances of a component, relative to their mean over all samples
_RIDGE = 0.1


def nleep(
    embeddings: ArrayLike, labels: ArrayLike, *, task: str = CLASSIFICATION, seed: int = 0
) -> float:
    """Return N-LEEP (Li et al. 2021, arXiv:2011.11200).

    It is LEEP, the mean of log Σ_v P(y | v) P(v | x), with v the components of a Gaussian mixture
    that is fitted to the principal components with 80 % of the variance: five for each class, fewer
    where each would have less than ten samples. The mixture and P(y | v) are fitted to one half of
    the samples and score the other, and the reverse, since a mixture with enough components is
    always right on its own samples. P(y | v) is shrunk towards the share of y by the weight of one
    sample. The score of a multi-label dataset is the mean over the labels that some samples have
    and others lack, each of which makes two classes.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed; (n, c) zeros and ones
            of a multi-label dataset.
        task: ``classification`` or ``multilabel``.
        seed: Seed of the halves and of the starts of the mixtures.

    Returns:
        Mean held-out log-likelihood in nats, in (-inf, 0]; higher transfers better.

    Raises:
        ScoreInputError: Shapes differ, a value is not finite, there is one class only, no class has
            a second sample, no label tells two samples apart, or there are fewer than four samples.

    Example:
        >>> embeddings = [[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]] * 5
        >>> round(nleep(embeddings, ["cat", "cat", "dog", "dog"] * 5), 1)
        -0.1
    """
    features = Features.from_embeddings(embeddings, labels, task=task, served=CLASS_TASKS)
    return nleep_of(features, seed=seed)


def nleep_of(features: Features, *, seed: int = 0) -> float:
    """Return ``nleep`` on shared embeddings; mixtures are cached, since labels do not matter."""
    n = features.shape[0]
    if n < 4:
        raise ScoreInputError(f"expected four samples or more, two to each half, got {n}")
    return features.mean_over_labels(lambda space, classes: _nleep_of_classes(space, classes, seed))


def _nleep_of_classes(space: Space, classes: ClassTargets, seed: int) -> float:
    n, labels, shares = len(classes.labels), classes.labels, classes.means
    count = max(2, min(_PER_CLASS * len(shares), n // 2 // _MIN_SAMPLES))
    halves = space.cached(("nleep", count, seed), lambda: _cross_fit(space, count, seed))
    total = 0.0
    for fitted, held, memberships in halves:
        joint = class_sums(memberships[fitted], labels[fitted], len(shares))
        joint += shares[:, None]
        conditional = joint / joint.sum(axis=0)  # P(y | v)
        expected = np.einsum("iv,iv->i", conditional[labels[held]], memberships[held])
        total += float(np.log(expected).sum())
    return min(0.0, total / n)


def _cross_fit(space: Space, count: int, seed: int) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """Return each half, the other half, and (n, v) P(v | x) of a mixture fitted to the first."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(space.rows))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    energy = np.cumsum(space.values)
    kept = int(np.searchsorted(energy, _ENERGY * energy[-1])) + 1 if energy.size else 0
    rows = space.components(kept)
    return [
        (fitted, held, _memberships(rows, fitted, count, seed))
        for fitted, held in ((first, second), (second, first))
    ]


def _memberships(rows: FloatArray, fitted: IntArray, count: int, seed: int) -> FloatArray:
    """Return (n, v) P(v | x) of all rows by a mixture of ``count`` components of some of them."""
    if not rows.shape[1]:
        return np.ones((len(rows), 1))
    unit = rows / np.sqrt(rows.var(axis=0).mean())
    mixture = GaussianMixture(
        n_components=min(count, len(fitted)),
        covariance_type="diag",
        reg_covar=_RIDGE,
        max_iter=50,
        random_state=seed,
    )
    with warnings.catch_warnings():  # a mixture need not converge to be useful
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(unit[fitted])
    memberships: FloatArray = mixture.predict_proba(unit)
    return memberships
