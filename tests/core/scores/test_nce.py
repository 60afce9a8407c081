"""Facts of NCE: its definition, its closed forms, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.scores import label_entropy, leep, nce
from mlflow_recall.errors import ScoreInputError


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_nce_is_the_negative_conditional_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, z = int(rng.integers(6, 26)), int(rng.integers(1, 7))
    theta = rng.dirichlet(np.ones(z), n)
    labels = np.r_[0, 1, rng.integers(0, 4, n - 2)]
    source = [int(row.argmax()) for row in theta]

    expected = 0.0
    for i in range(n):
        alike = [labels[k] for k in range(n) if source[k] == source[i]]
        expected += math.log(alike.count(labels[i]) / len(alike)) / n

    assert nce(theta, labels) == pytest.approx(expected, abs=1e-12)
    assert -label_entropy(labels) - 1e-12 <= nce(theta, labels) <= 0.0


def test_a_hard_head_has_the_same_nce_and_leep() -> None:
    """P(y | z) is then one term of LEEP's sum."""
    rng = np.random.default_rng(0)
    theta, labels = np.eye(4)[rng.integers(0, 4, 50)], rng.integers(0, 3, 50)

    assert nce(theta, labels) == pytest.approx(leep(theta, labels))


def test_one_source_class_gives_minus_label_entropy() -> None:
    labels = [0, 0, 0, 9]

    assert nce(np.ones((4, 1)), labels) == pytest.approx(-label_entropy(labels))
    assert label_entropy(labels) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))


def test_logits_are_refused() -> None:
    with pytest.raises(ScoreInputError, match="pass softmax outputs, not logits"):
        nce([[2.0, -1.0], [0.5, 0.5]], [0, 1])
