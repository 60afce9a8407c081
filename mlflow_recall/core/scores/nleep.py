"""LEEP of a mixture of Gaussians in place of the source head."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.features import Features, Space
from mlflow_recall.core.scores.inputs import class_sums
from mlflow_recall.errors import ScoreInputError

#: share of the variance that the principal components keep
_ENERGY = 0.8
#: components of the mixture: as many a class, but each with as many samples
_A_CLASS, _SAMPLES = 5, 10
#: added to the variances of a component, in units of their mean over all samples
_RIDGE = 0.1


def nleep(embeddings: ArrayLike, labels: ArrayLike, *, seed: int = 0) -> float:
    """N-LEEP (Li et al. 2021, arXiv:2011.11200).

    LEEP, the mean of log Σ_v P(y | v) P(v | x), with v the components of a Gaussian mixture that
    is fitted to the principal components with 80 % of the variance: five a class, fewer where
    each would have less than ten samples. The mixture and P(y | v) are fitted to one half of the
    samples and score the other, and the reverse: on its own samples a mixture with enough
    components is always right. P(y | v) is drawn towards the share of y by one sample's weight.

    Args:
        embeddings: (n, d) features of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.
        seed: draws the halves and starts the mixtures.

    Returns:
        Mean held-out log-likelihood in nats, in (-inf, 0]; higher transfers better.

    Raises:
        ScoreInputError: shapes differ, a value is not finite, one class only, or fewer than four
            samples.
    """
    return nleep_of(Features.from_embeddings(embeddings, labels), seed=seed)


def nleep_of(features: Features, *, seed: int = 0) -> float:
    """``nleep`` on a shared decomposition; mixtures are kept, they do not depend on labels."""
    n, shares = len(features.labels), features.counts / len(features.labels)
    if n < 4:
        raise ScoreInputError(f"expected four samples or more, two to each half, got {n}")
    count = max(2, min(_A_CLASS * len(shares), n // 2 // _SAMPLES))
    halves = features.space.cached(
        ("nleep", count, seed), lambda: _cross_fitted(features.space, count, seed)
    )
    total = 0.0
    for fitted, held, memberships in halves:
        joint = class_sums(memberships[fitted], features.labels[fitted], len(shares))
        joint += shares[:, None]
        conditional = joint / joint.sum(axis=0)  # P(y | v)
        expected = np.einsum("iv,iv->i", conditional[features.labels[held]], memberships[held])
        total += float(np.log(expected).sum())
    return min(0.0, total / n)


def _cross_fitted(
    space: Space, count: int, seed: int
) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """For each half: its samples, the others, and (n, v) P(v | x) of a mixture fitted to it."""
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
    with warnings.catch_warnings():  # a mixture that still moves is as good, and as deterministic
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(unit[fitted])
    memberships: FloatArray = mixture.predict_proba(unit)
    return memberships
