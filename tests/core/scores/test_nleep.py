"""Facts of N-LEEP: a held-out log-likelihood under a mixture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labeled import sample
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from mlflow_recall.core.scores import label_entropy, nleep
from mlflow_recall.errors import ScoreInputError


def test_the_score_is_its_definition() -> None:
    """Halves, mixtures and P(y | v) as the docstring has them, the rest loop by loop."""
    features, labels = sample(120, 6, classes=2, apart=1.5)
    order = np.random.default_rng(0).permutation(120)
    rows = PCA(0.8).fit_transform(features)
    rows *= np.sign(PCA(0.8).fit(features).components_.max(axis=1))  # signs are free here
    unit = rows / math.sqrt(rows.var(axis=0).mean())
    total = 0.0
    for fitted, held in ((order[:60], order[60:]), (order[60:], order[:60])):
        mixture = GaussianMixture(
            6, covariance_type="diag", reg_covar=0.1, max_iter=50, random_state=0
        ).fit(unit[fitted])
        memberships = mixture.predict_proba(unit)
        for i in held:
            expected = 0.0
            for v in range(6):
                joint = sum(memberships[j, v] for j in fitted if labels[j] == labels[i])
                mass = sum(memberships[j, v] for j in fitted)
                share = float((labels == labels[i]).mean())
                expected += memberships[i, v] * (joint + share) / (mass + 1)
            total += math.log(expected) / 120

    assert nleep(features, labels) == pytest.approx(total, abs=0.05)


def test_well_separated_classes_come_close_to_zero_and_no_more() -> None:
    features, labels = sample(400, 10, classes=4, apart=5.0)

    assert -0.2 < nleep(features, labels) <= 0.0


@pytest.mark.parametrize("d", [10, 300])
def test_features_that_know_nothing_do_not_beat_the_shares_of_the_classes(d: int) -> None:
    """On its own samples the mixture would: P(y | v) of few samples a component is its y."""
    got = [nleep(*sample(200, d, classes=4, apart=0.0, seed=seed)) for seed in range(4)]

    assert max(got) < -label_entropy(np.arange(200) % 4) + 0.02


def test_constant_features_score_minus_label_entropy() -> None:
    labels = np.arange(200) % 4

    assert nleep(np.ones((200, 3)), labels) == pytest.approx(-label_entropy(labels), abs=0.02)


def test_it_is_drawn_by_seed() -> None:
    features, labels = sample(100, 5)

    assert nleep(features, labels, seed=1) == nleep(features, labels, seed=1)
    assert nleep(features, labels, seed=1) != nleep(features, labels, seed=2)


def test_three_samples_are_too_few() -> None:
    with pytest.raises(ScoreInputError, match="expected four samples or more"):
        nleep(np.eye(3), [0, 0, 1])
