"""Log expected empirical prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.inputs import check_probabilities, class_sums


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the log expected empirical prediction (Nguyen et al. 2020, arXiv:2002.12462, Eq. 2).

    With θ_i the source-class probabilities of sample i, and P(y | z) the empirical conditional
    probability of target class y given source class z, it is the mean of log Σ_z P(y_i | z) θ_iz.
    A source class with probability 0 for all samples is left out.

    Args:
        probabilities: (n, z) source-class probabilities of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.

    Returns:
        Mean log-likelihood in nats, in (-inf, 0]; higher transfers better. It is biased upward for
        many source classes: compare only models with similar heads.

    Raises:
        ScoreInputError: A row is not a distribution, lengths differ, there is one class only, or no
            class has a second sample.

    Example:
        >>> round(leep([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]], [0, 0, 1, 1]), 2)
        -0.34
    """
    theta, y = check_probabilities(probabilities, labels)
    joint = class_sums(theta, y)  # n P(y, z)
    mass = joint.sum(axis=0)  # n P(z)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.einsum("iz,iz->i", conditional[y], theta)
    return float(min(0.0, np.log(expected / theta.sum(axis=1)).mean()))
