"""Log expected empirical prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.inputs import check_probabilities, class_sums


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Log expected empirical prediction (Nguyen et al. 2020, arXiv:2002.12462, eq. 2).

    With θ_i the source-class probabilities of sample i, and P(y | z) the empirical conditional of
    target class y given source class z, it is the mean of log Σ_z P(y_i | z) θ_iz. A source class
    that no sample gives any mass has no conditional and counts nothing.

    Args:
        probabilities: (n, z) source-class probabilities of n target samples.
        labels: (n,) target classes; any integers or strings, gaps allowed.

    Returns:
        Mean log-likelihood in nats, in (-inf, 0]; higher transfers better. Biased upward where
        there are many source classes: compare only models of like heads.

    Raises:
        ScoreInputError: rows are not distributions, lengths differ, or one class only.
    """
    theta, y = check_probabilities(probabilities, labels)
    joint = class_sums(theta, y)  # n P(y, z)
    mass = joint.sum(axis=0)  # n P(z)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = np.einsum("iz,iz->i", conditional[y], theta)
    return float(min(0.0, np.log(expected / theta.sum(axis=1)).mean()))
