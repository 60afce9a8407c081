"""Facts of ``core.labels``: how differently classes are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.label_distance import label_distance, label_distances

#: orthogonal directions of an encoder that knows four words
PLACE = {"cat": 0, "dog": 1, "red": 2, "blue": 3}


def encode(texts: Sequence[str]) -> FloatArray:
    return np.array([sum(np.eye(4)[PLACE[word]] for word in text.split()) for text in texts])


def test_each_class_is_compared_with_the_nearest_of_the_other_side() -> None:
    """One of two names is shared: 0 and 1 one way, 0 the other way."""
    first, second = encode(["cat", "red"]), encode(["cat"])

    assert label_distance(first, second) == pytest.approx((0.5 + 0.0) / 2)
    assert label_distance(second, first) == label_distance(first, second)


def test_order_and_length_do_not_matter_and_equal_names_are_at_distance_zero() -> None:
    names = encode(["cat", "dog", "red"])

    assert label_distance(names, 7 * names[::-1]) == pytest.approx(0.0)
    assert label_distance(encode(["cat"]), encode(["dog"])) == pytest.approx(1.0)
    assert label_distance(encode(["cat"]), -encode(["cat"])) == pytest.approx(2.0)
    assert label_distance(encode(["cat"]), encode(["cat dog"])) == pytest.approx(1 - 0.5**0.5)


def test_numbers_are_no_names_and_the_encoder_is_asked_once() -> None:
    asked: list[Sequence[str]] = []

    def once(texts: Sequence[str]) -> FloatArray:
        asked.append(list(texts))
        return encode(texts)

    distances = label_distances([("cat", "dog"), ("0", "1", "2"), (), ("dog", "red")], once)

    assert asked == [["cat", "dog", "red"]]
    assert np.isnan(distances[1]).all()
    assert np.isnan(distances[:, 2]).all()
    assert distances[0, 3] == distances[3, 0] == pytest.approx(0.5)
    assert distances[0, 0] == pytest.approx(0.0)


def test_signs_between_words_are_no_words() -> None:
    distances = label_distances([("cat.dog",), ("cat_dog",)], encode)

    np.testing.assert_allclose(distances, 0.0, atol=1e-12)


def test_without_any_name_nothing_is_encoded() -> None:
    def never(texts: Sequence[str]) -> FloatArray:
        raise AssertionError(texts)

    assert np.isnan(label_distances([("0", "1"), ("-1.5",)], never)).all()
