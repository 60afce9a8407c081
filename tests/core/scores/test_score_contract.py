"""What holds for every feature score: invariances, traps and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeled import sample, unequal
from scipy.stats import ortho_group

import mlflow_recall.core.scores as scores
from mlflow_recall.core.arrays import AnyArray, FloatArray
from mlflow_recall.core.scores import SCORES
from mlflow_recall.errors import ScoreInputError

FEATURES = sorted(name for name, score in SCORES.items() if score.needs == "embeddings")
#: nleep draws its halves by place; the others see a set of samples
SETS = sorted(set(FEATURES) - {"nleep"})
#: parc's correlation across components depends on their signs, nleep's start on rounding
ROUND = sorted(set(FEATURES) - {"parc", "nleep"})
#: transrate's distortion is in the unit of the features
UNITLESS = sorted(set(FEATURES) - {"transrate"})
SHAPES = [(60, 8), (30, 45)]


def score(name: str, features: object, labels: object) -> float:
    return SCORES[name].compute(features, labels)


def test_each_score_is_a_function_of_its_name_with_a_stated_cost() -> None:
    for name, row in SCORES.items():
        assert row.compute is getattr(scores, name)
        assert row.low < row.high
        assert row.cost.startswith("O(")


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_label_names_do_not_matter(name: str, shape: tuple[int, int]) -> None:
    features, labels = sample(*shape)
    base = score(name, features, labels)

    assert score(name, features, np.array([3, 40, 700])[labels]) == pytest.approx(base, abs=1e-12)
    assert score(name, features, np.array(["a", "b", "c"])[labels]) == pytest.approx(base)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_order_of_samples_and_classes_does_not_matter(
    name: str, shape: tuple[int, int], seed: int
) -> None:
    features, labels = sample(*shape, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    names = rng.permutation(3)

    got = score(name, features[order], names[labels[order]])

    assert got == pytest.approx(score(name, features, labels), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_features_have_no_origin(name: str, shape: tuple[int, int]) -> None:
    features, labels = sample(*shape)
    offset = 10.0 * np.random.default_rng(1).normal(size=shape[1])

    got = score(name, features + offset, labels)

    assert got == pytest.approx(score(name, features, labels), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ROUND)
@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_rotation_does_not_matter(name: str, shape: tuple[int, int], seed: int) -> None:
    features, labels = sample(*shape, seed=seed)
    rotation = ortho_group.rvs(shape[1], random_state=seed)

    got = score(name, features @ rotation, labels)

    assert got == pytest.approx(score(name, features, labels), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", UNITLESS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_the_unit_does_not_matter(name: str, shape: tuple[int, int], factor: float) -> None:
    features, labels = sample(*shape)

    got = score(name, factor * features, labels)

    assert got == pytest.approx(score(name, features, labels), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", [(90, 12), (60, 90)])
def test_separated_classes_score_higher_than_the_same_features_with_any_labels(
    name: str, shape: tuple[int, int]
) -> None:
    """Higher transfers better."""
    features, labels = sample(*shape, apart=3.0)
    shuffled = [np.random.default_rng(seed).permutation(labels) for seed in range(5)]

    chance = [score(name, features, other) for other in shuffled]

    assert score(name, features, labels) > max(chance)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        unequal(40, 6),
        unequal(20, 50),
        (np.zeros((12, 4)), np.arange(12) % 3),
        (np.full((12, 4), 0.1), np.arange(12) % 3),
        (np.column_stack([sample(12, 2)[0], np.full((12, 3), 1e6)]), np.arange(12) % 3),
        (np.repeat(sample(4, 3)[0], 5, axis=0), np.repeat([0, 1, 0, 1], 5)),
        (np.eye(3)[np.arange(30) % 3], np.arange(30) % 3),
        (sample(30, 1)[0], np.arange(30) % 3),
        (sample(5, 40)[0], [0, 0, 1, 1, 2]),
        (1e-8 * sample(30, 4)[0], np.arange(30) % 3),
        (1e8 * sample(30, 4)[0], np.arange(30) % 3),
    ],
    ids=[
        "one sample in a class",
        "and n < d",
        "zeros",
        "constant",
        "some columns constant",
        "duplicates",
        "labels themselves",
        "one dimension",
        "five samples",
        "small",
        "large",
    ],
)
def test_the_score_is_finite_and_in_its_range(
    name: str, features: FloatArray, labels: AnyArray
) -> None:
    got = score(name, features, labels)

    assert math.isfinite(got)
    assert SCORES[name].low <= got <= SCORES[name].high
    assert isinstance(got, float)


@pytest.mark.parametrize("name", FEATURES)
def test_constant_features_say_the_same_whatever_their_value(name: str) -> None:
    labels = np.arange(30) % 3

    got = [score(name, np.full((30, 4), value), labels) for value in (0.0, 0.1, 1e5)]

    assert got == [pytest.approx(got[0])] * 3


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_half_precision_is_computed_in_double(name: str, shape: tuple[int, int]) -> None:
    """The numbers are those of the rounded features, to the last digit."""
    features, labels = sample(*shape, apart=2.0)
    rounded = features.astype(np.float16)

    assert score(name, rounded, labels) == score(name, rounded.astype(np.float64), labels)


@pytest.mark.parametrize("name", FEATURES)
def test_integers_are_no_integers_inside(name: str) -> None:
    """Class means of whole numbers are not whole."""
    features = np.random.default_rng(0).integers(-3, 4, (40, 5))
    labels = np.arange(40) % 3

    assert score(name, features, labels) == score(name, features.astype(float), labels)


@pytest.mark.parametrize("name", FEATURES)
def test_it_is_deterministic_and_leaves_its_arguments_alone(name: str) -> None:
    """Of another call in between it keeps nothing, and global randomness it does not touch."""
    features, labels = sample(50, 20)
    before = features.copy(), labels.copy()
    first = score(name, features, labels)
    state = np.random.get_state(legacy=False)  # noqa: NPY002 - what must not change

    score(name, -features[:30], labels[:30])

    assert score(name, features.copy(), labels.copy()) == first
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_equal(after, state)
    np.testing.assert_array_equal(features, before[0])
    np.testing.assert_array_equal(labels, before[1])


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        ([[1.0], [math.nan], [1.0]], [0, 1, 1], "row 1 of embeddings is not finite"),
        ([[-math.inf], [1.0], [1.0]], [0, 1, 1], "row 0 of embeddings is not finite"),
        ([[1.0], [2.0], [2.0]], [1, 1, 1], "two classes or more, got 1"),
        ([[1.0], [2.0]], [0, 1, 1], r"expected embeddings .* got \(2, 1\) and \(3,\)"),
        ([1.0, 2.0], [0, 1], r"expected embeddings \(n, d\) and labels \(n,\), got \(2,\)"),
        (np.zeros((2, 0)), [0, 1], r"got \(2, 0\)"),
        (np.zeros((0, 3)), [], "two classes or more, got 0"),
        (np.eye(3), ["a", None, "b"], "labels of 1 samples are missing"),
        (np.eye(3), np.array(["a", 1, 1], dtype=object), "expected labels of one kind"),
        (np.eye(3), [5, 6, 7], "two samples or more, got 3 samples of as many classes"),
        ([["a", "b"]] * 3, [0, 1, 1], "expected numbers as embeddings"),
        (1j * np.eye(3), [0, 1, 1], "expected real numbers as embeddings, got complex"),
    ],
)
def test_what_it_is_not_defined_for_is_refused(
    name: str, rows: object, labels: object, message: str
) -> None:
    with pytest.raises(ScoreInputError, match=message):
        score(name, rows, labels)
