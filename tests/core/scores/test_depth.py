"""Facts of the depth term."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.scores import base_of, with_depth
from mlflow_recall.errors import ScoreInputError

VALUES = st.lists(
    st.tuples(st.floats(-50, 50), st.integers(1, 200)), min_size=2, max_size=8
)  # fmt: skip


def slowly(scores: list[float], layers: list[int], weight: float) -> list[float]:
    """Bolya et al. 2021, section 5: standardized scores, plus layers over the deepest."""
    mean = sum(scores) / len(scores)
    deviation = (sum((s - mean) ** 2 for s in scores) / len(scores)) ** 0.5
    deepest = max(layers)
    return [
        (score - mean) / deviation + weight * depth / deepest
        for score, depth in zip(scores, layers, strict=True)
    ]


@given(VALUES, st.floats(0, 3))
def test_it_is_the_transcription(values: list[tuple[float, int]], weight: float) -> None:
    scores, layers = [s for s, _ in values], [n for _, n in values]
    if np.std(scores) < 1e-3:
        return

    got = with_depth(scores, layers, weight=weight)

    np.testing.assert_allclose(got, slowly(scores, layers, weight), rtol=1e-9, atol=1e-9)


def test_models_of_one_depth_keep_their_order_and_equal_scores_go_by_depth() -> None:
    assert np.argsort(with_depth([3.0, 1.0, 2.0], [12, 12, 12])).tolist() == [1, 2, 0]
    np.testing.assert_allclose(with_depth([5.0, 5.0], [6, 12]), [0.5, 1.0])


def test_unit_of_the_score_and_of_depth_do_not_matter() -> None:
    plain = with_depth([1.0, 4.0, 2.0], [3, 6, 12])

    np.testing.assert_allclose(with_depth([-7.0, 23.0, 3.0], [30, 60, 120]), plain)


@pytest.mark.parametrize(
    ("scores", "layers", "message"),
    [
        ([1.0, 2.0], [3], r"expected scores \(m,\) and layers \(m,\), got \(2,\) and \(1,\)"),
        ([], [], r"got \(0,\)"),
        ([[1.0]], [[1]], r"got \(1, 1\)"),
        ([np.nan, 1.0], [1, 1], "expected finite scores"),
        ([1.0, 2.0], [0, 4], "at least one layer each, .* layers from 0"),
    ],
)
def test_what_has_no_meaning_is_refused(
    scores: list[float], layers: list[int], message: str
) -> None:
    with pytest.raises(ScoreInputError, match=message):
        with_depth(scores, layers)


def test_a_name_says_which_score_is_deepened() -> None:
    assert (base_of("parc+depth"), base_of("parc")) == ("parc", "parc")
