"""Facts of a policy's history: recorded curves by name, and what a recommender expected."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies import PolicyHistory
from mlflow_recall.core.policies.trends import mine_trends
from mlflow_recall.core.recommend import PredictedGaps

NAN = math.nan
SCORES = np.arange(12.0).reshape(2, 3, 2)
CURVES = Curves(
    models=("a", "b"),
    datasets=("x", "y", "z"),
    scores=SCORES,
    final_scores=np.array([[1.0, 2, 3], [4, 5, NAN]]),
)


def gaps(
    models: tuple[str, ...],
    target: list[float],
    datasets: tuple[str, ...],
    held_out: FloatArray | None,
) -> PredictedGaps:
    """What a recommender expects of these models on the target, and expected on datasets."""
    mean, unknown = np.array(target), np.full(len(models), NAN)
    return PredictedGaps(
        models=models,
        mean=mean,
        low=unknown,
        high=unknown,
        predicted=unknown,
        p_within=unknown,
        joint_gaps=np.empty((len(models), 0)),
        tolerance=0.01,
        datasets=datasets,
        held_out_expected=held_out,
    )


def test_rows_follow_the_names_and_an_unknown_model_has_none() -> None:
    """Cohorts are in trial order, curves in that of the history."""
    got = PolicyHistory(CURVES).rows_of(["b", "new", "a"], CURVES.final_scores)

    np.testing.assert_array_equal(got, [[4, 5, NAN], [NAN] * 3, [1, 2, 3]])
    np.testing.assert_array_equal(
        PolicyHistory(CURVES).rows_of(["a"], SCORES[:, :, 1]), [[1, 3, 5]]
    )


def test_without_expected_gaps_there_is_no_shift() -> None:
    unranked = gaps(("a", "b"), [0.1, 0.2], ("x",), None)

    assert PolicyHistory(CURVES).gap_shift(["a", "b"]) is None
    assert PolicyHistory(CURVES, unranked).gap_shift(["a", "b"]) is None


def test_the_shift_is_the_gap_expected_then_less_the_gap_expected_now_centered_over_models() -> (
    None
):
    """Datasets and models in other orders; nothing of ``y``, which was never ranked for.

    On x, a was expected 0.5 off and is expected 0.1 off, b 0.2 and 0.2: 0.4 and 0, beside 0.2.
    """
    held_out = np.array([[0.9, 0.2], [NAN, 0.5]])
    history = PolicyHistory(CURVES, gaps(("b", "a"), [0.2, 0.1], ("z", "x"), held_out))

    got = history.gap_shift(["a", "new", "b"])

    assert got is not None
    assert got == pytest.approx(np.array([[0.2, 0, 0], [0, 0, 0], [-0.2, 0, 0]]))


def test_trends_are_those_of_the_curves_and_mined_once() -> None:
    history = PolicyHistory(CURVES)
    expected = mine_trends(CURVES)

    np.testing.assert_array_equal(history.trends.centers, expected.centers)
    assert history.trends is history.trends
