"""Facts of the past: recorded curves by name, and what a recommender expected otherwise."""

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
CURVES = Curves(("a", "b"), ("x", "y", "z"), SCORES, np.array([[1.0, 2, 3], [4, 5, NAN]]))


def gaps(
    models: tuple[str, ...], here: list[float], datasets: tuple[str, ...], there: FloatArray | None
) -> PredictedGaps:
    """What a recommender expects of these models here, and expected on these datasets."""
    mean, unknown = np.array(here), np.full(len(models), NAN)
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
        held_out_expected=there,
    )


def test_rows_follow_the_names_and_a_stranger_has_none() -> None:
    """Cohorts are in trial order, curves in that of the history."""
    got = PolicyHistory(CURVES).rows_of(["b", "new", "a"], CURVES.final_scores)

    np.testing.assert_array_equal(got, [[4, 5, NAN], [NAN] * 3, [1, 2, 3]])
    np.testing.assert_array_equal(
        PolicyHistory(CURVES).rows_of(["a"], SCORES[:, :, 1]), [[1, 3, 5]]
    )


def test_nobody_was_farther_where_nobody_was_asked() -> None:
    silent = gaps(("a", "b"), [0.1, 0.2], ("x",), None)

    assert PolicyHistory(CURVES).gap_shift(["a", "b"]) is None
    assert PolicyHistory(CURVES, silent).gap_shift(["a", "b"]) is None


def test_farther_is_what_was_expected_there_less_here_beside_the_mean_of_the_models() -> None:
    """Datasets and models in other orders; nothing of ``y``, which was never ranked for.

    On x, a was expected 0.5 off and is expected 0.1 off, b 0.2 and 0.2: 0.4 and 0, beside 0.2.
    """
    there = np.array([[0.9, 0.2], [NAN, 0.5]])
    past = PolicyHistory(CURVES, gaps(("b", "a"), [0.2, 0.1], ("z", "x"), there))

    got = past.gap_shift(["a", "new", "b"])

    assert got is not None
    assert got == pytest.approx(np.array([[0.2, 0, 0], [0, 0, 0], [-0.2, 0, 0]]))


def test_trends_are_those_of_the_curves_and_mined_once() -> None:
    past = PolicyHistory(CURVES)
    expected = mine_trends(CURVES)

    np.testing.assert_array_equal(past.trends.centers, expected.centers)
    assert past.trends is past.trends
