"""Facts of model descriptions: what the texts of two models have in common."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.model_descriptions import description_distance
from mlflow_recall.errors import ConfigError

CARDS = (
    "BERT fine-tuned on reviews, reviews and more reviews",
    "A BERT of scientific abstracts",
    "ResNet of photographs",
    "BERT fine-tuned on reviews, reviews and more reviews",
)
NOT_TOLD = {"on", "and", "more", "of"}


def slow_distance(texts: Sequence[str]) -> FloatArray:
    """One minus the cosine of (1 + ln count) (1 + ln((1 + texts) / (1 + texts with it)))."""
    words = [[w for w in re.findall(r"[a-z]{2,}", c.lower()) if w not in NOT_TOLD] for c in texts]
    weights: list[dict[str, float]] = []
    for own in words:
        weights.append({})
        for word in set(own):
            having = sum(word in others for others in words)
            rarity = 1 + math.log((1 + len(texts)) / (1 + having))
            weights[-1][word] = (1 + math.log(own.count(word))) * rarity
    distance = np.zeros((len(texts), len(texts)))
    for i, one in enumerate(weights):
        for j, two in enumerate(weights):
            product = sum(weight * two.get(word, 0.0) for word, weight in one.items())
            length = math.hypot(*one.values()) * math.hypot(*two.values())
            distance[i, j] = 1 - product / length
    return distance


def test_words_are_weighed_by_tf_idf() -> None:
    np.testing.assert_allclose(description_distance(CARDS), slow_distance(CARDS), atol=1e-12)


def test_equal_cards_are_exactly_together_and_strange_ones_apart() -> None:
    distance = description_distance(CARDS)

    assert distance[0, 3] == 0.0
    assert distance[0, 2] == 1.0
    assert 0.0 < distance[0, 1] < 1.0


@given(texts=st.lists(st.text("ab c_", max_size=12), max_size=8), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_distances_are_symmetric_in_bounds_and_know_no_order(texts: list[str], seed: int) -> None:
    distance = description_distance(texts)
    order = np.random.default_rng(seed).permutation(len(texts))

    np.testing.assert_array_equal(distance, distance.T)
    np.testing.assert_array_equal(np.diag(distance), 0.0)
    assert ((distance >= 0.0) & (distance <= 1.0)).all()
    np.testing.assert_allclose(
        description_distance([texts[i] for i in order]), distance[np.ix_(order, order)], atol=1e-12
    )


@pytest.mark.parametrize("silent", ["", "  \n", "the", "--- #"])
def test_a_card_that_says_nothing_is_like_no_other(silent: str) -> None:
    """Not even like another such text: nobody knows what these two have in common."""
    distance = description_distance([silent, "bert reviews", silent])

    np.testing.assert_array_equal(distance, 1.0 - np.eye(3))


def test_cards_without_any_word_are_all_apart() -> None:
    np.testing.assert_array_equal(description_distance(["", "?", ""]), 1.0 - np.eye(3))
    np.testing.assert_array_equal(description_distance(["", ""], encode=np.array), 1.0 - np.eye(2))


def test_no_cards_have_no_distances() -> None:
    assert description_distance([]).shape == (0, 0)


def test_a_name_is_several_words() -> None:
    """Where there is no text, family and task are in the name."""
    names = ["acme/init_bert_ft_qqp-33", "acme/init_bert_ft_qqp-9", "other/resnet50"]
    distance = description_distance(names)

    assert distance[0, 1] < 0.5
    assert distance[0, 2] == 1.0


class Compass:
    """An encoder that knows four texts, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        self.asked.append(list(texts))
        known = {"north": (0.0, 2.0), "south": (0.0, -1.0), "east": (3.0, 0.0), "center": (0, 0)}
        return np.array([known[text] for text in texts])


def test_an_encoder_gives_cosine_distances() -> None:
    """Length does not count; opposites are 2 apart; a vector of zeros has no direction."""
    distance = description_distance(
        ["north", "south", "east", "north", "center", "", "center"], Compass()
    )

    expected = [
        [0, 2, 1, 0, 1, 1, 1],
        [2, 0, 1, 2, 1, 1, 1],
        [1, 1, 0, 1, 1, 1, 1],
        [0, 2, 1, 0, 1, 1, 1],
        [1, 1, 1, 1, 0, 1, 1],
        [1, 1, 1, 1, 1, 0, 1],
        [1, 1, 1, 1, 1, 1, 0],
    ]
    np.testing.assert_array_equal(distance, expected)


def test_an_encoder_is_asked_once_for_each_text_that_says_something() -> None:
    compass = Compass()
    description_distance(["south", " north\n", "north", "", "south"], compass)

    assert compass.asked == [["north", "south"]]


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([1.0, 2.0], r"expected 2 rows of finite numbers.*got shape \(2,\)"),
        ([[1.0, 2.0]], r"expected 2 rows.*got shape \(1, 2\)"),
        ([[1.0, math.nan], [math.inf, 0.0]], r"got shape \(2, 2\) with 2 not finite"),
    ],
)
def test_an_encoder_must_give_one_finite_vector_a_text(got: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        description_distance(["one", "two"], encode=lambda texts: np.array(got))
