"""Facts of LEEP: its definition, its closed forms, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import SCORES, leep
from mlflow_recall.errors import ScoreInputError

NAN = math.nan


def slow_leep(theta: FloatArray, labels: Sequence[object]) -> float:
    """Equation 2 of Nguyen et al. 2020, loop by loop."""
    n, z = theta.shape
    total = 0.0
    for i in range(n):
        expected = 0.0
        for s in range(z):
            joint = sum(theta[k, s] for k in range(n) if labels[k] == labels[i]) / n
            marginal = sum(theta[k, s] for k in range(n)) / n
            if marginal > 0:
                expected += joint / marginal * theta[i, s]
        total += math.log(expected)
    return float(total / n)


def sample(seed: int) -> tuple[FloatArray, AnyArray]:
    """Up to 25 samples of a soft or nearly hard source head, with two target classes or more."""
    rng = np.random.default_rng(seed)
    n, z, classes = rng.integers(6, 26), rng.integers(1, 7), rng.integers(2, 5)
    theta = rng.dirichlet(np.full(z, rng.choice([0.02, 1.0])), n)
    return theta, np.r_[0, 1, rng.integers(0, classes, n - 2)]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_leep_equals_its_definition_and_is_never_positive(seed: int) -> None:
    theta, labels = sample(seed)

    got = leep(theta, labels)

    assert got == pytest.approx(slow_leep(theta, labels.tolist()), abs=1e-9)
    assert got <= 0.0


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_names_and_order_do_not_matter(seed: int) -> None:
    """Labels are names (gaps, text), source classes are places, samples are a set."""
    theta, labels = sample(seed)
    rng = np.random.default_rng(seed)
    samples, sources = rng.permutation(len(theta)), rng.permutation(theta.shape[1])
    base = leep(theta, labels)

    assert leep(theta, np.array([7, -3, 100, 40])[labels]) == pytest.approx(base)
    assert leep(theta, np.array(["d", "a", "c", "b"])[labels]) == pytest.approx(base)
    assert leep(theta[samples][:, sources], labels[samples]) == pytest.approx(base)
    assert leep(np.tile(theta, (2, 1)), np.tile(labels, 2)) == pytest.approx(base)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_an_unused_source_class_changes_nothing(seed: int) -> None:
    """Its conditional is 0 / 0, and nobody asks for it."""
    theta, labels = sample(seed)

    assert leep(np.insert(theta, 1, 0.0, axis=1), labels) == pytest.approx(leep(theta, labels))


@pytest.mark.parametrize("theta", [np.ones((4, 1)), np.tile([0.3, 0.7], (4, 1))])
def test_a_head_that_tells_nothing_apart_gives_minus_label_entropy(theta: FloatArray) -> None:
    """P(y | z) is then P(y) for every z, so LEEP is -H(Y): here of 1/4 and 3/4."""
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))

    assert leep(theta, [0, 0, 0, 1]) == pytest.approx(-entropy)


def test_a_head_that_knows_the_labels_gives_zero() -> None:
    labels = np.array([0, 1, 2, 2, 1])

    assert leep(np.eye(5)[labels], labels) == 0.0


def test_one_sample_in_a_class_and_an_absent_class_id_are_fine() -> None:
    theta = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    labels = [0, 0, 2, 2, 2, 9]

    assert leep(theta, labels) == pytest.approx(slow_leep(theta, labels))


def test_half_precision_is_summed_in_double() -> None:
    rng = np.random.default_rng(0)
    theta = rng.dirichlet(np.ones(50), 400)
    labels = rng.integers(0, 3, 400)

    got = leep(theta.astype(np.float16), labels)

    assert got == pytest.approx(leep(theta, labels), abs=1e-3)
    assert isinstance(got, float)


def test_the_table_states_the_range() -> None:
    assert (SCORES["leep"].needs, SCORES["leep"].high) == ("probabilities", 0.0)
    assert SCORES["leep"].compute is leep


GOOD = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("theta", "labels", "message"),
    [
        ([[2.0, -1.0], [0.5, 0.5]], [0, 1], "row 0 .* min -1.000; pass softmax outputs"),
        ([[0.5, 0.5], [3.0, 1.0]], [0, 1], "row 1 .* sum 4.000, .* not logits"),
        ([[0.5, 0.5], [0.5, NAN]], [0, 1], "row 1 of probabilities is not finite"),
        ([[math.inf, 0.5], [0.5, 0.5]], [0, 1], "row 0 of probabilities is not finite"),
        (GOOD, [1, 1], "two classes or more, got 1"),
        (GOOD, [0, 1, 1], r"got \(2, 2\) and \(3,\)"),
        (GOOD, [[0], [1]], r"got \(2, 2\) and \(2, 1\)"),
        ([0.5, 0.5], [0, 1], r"expected probabilities \(n, d\) and labels \(n,\), got \(2,\)"),
        (np.empty((0, 2)), [], "two classes or more, got 0"),
        (np.empty((2, 0)), [0, 1], r"got \(2, 0\)"),
        (GOOD, [0.0, NAN], "labels .*missing"),
        (GOOD, ["a", None], "labels .*missing"),
        ([["a", "b"]] * 2, [0, 1], "expected numbers as probabilities"),
        (np.array(GOOD) + 0j, [0, 1], "expected real numbers as probabilities, got complex"),
        (GOOD, [0, 1], "two samples or more, got 2 samples of as many classes: pass more"),
    ],
)
def test_what_it_is_not_defined_for_is_refused(theta: object, labels: object, message: str) -> None:
    with pytest.raises(ScoreInputError, match=message):
        leep(theta, labels)  # type: ignore[arg-type]
