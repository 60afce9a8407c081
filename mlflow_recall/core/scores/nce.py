"""Negative conditional entropy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mlflow_recall.core.scores.inputs import check_probabilities


def nce(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the negative conditional entropy (Tran et al. 2019, arXiv:1908.08142).

    With z_i the most probable source class of sample i, it is -H(Y | Z), the empirical
    Σ_yz P(y, z) log P(y | z).

    Args:
        probabilities: (n, z) source-class probabilities of n target samples.
        labels: (n,) target classes: any integers or strings, gaps allowed.

    Returns:
        Nats, in [-H(Y), 0]; higher transfers better. It is biased upward for many source classes,
        as LEEP is: a source class that occurs once determines its target class.

    Raises:
        ScoreInputError: A row is not a distribution, lengths differ, there is one class only, or no
            class has a second sample.

    Example:
        >>> round(nce([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]], [0, 0, 1, 1]), 2)
        -0.48
    """
    theta, y = check_probabilities(probabilities, labels)
    z = theta.argmax(axis=1)
    joint = np.bincount(z * (y.max() + 1) + y)  # n P(y, z), mostly zeros
    joint = joint[joint > 0]
    mass = np.bincount(z)
    mass = mass[mass > 0]
    # Σ n_yz log(n_yz / n_z), and Σ_y n_yz = n_z
    total = (joint * np.log(joint)).sum() - (mass * np.log(mass)).sum()
    return float(min(0.0, total / len(y)))
