"""A recorded dataset as if it were new."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.history.curves import Curves

NAN = math.nan


def recorded() -> Curves:
    """Three models on x and y; the curve of c on x ends early."""
    scores = np.arange(12.0).reshape(3, 2, 2) / 12
    scores[2, 0, 1] = NAN
    return Curves(("a", "b", "c"), ("x", "y"), scores, scores[..., 0])


def on_x(order: str = "cab") -> Target:
    ends = {"a": 0.5, "b": 0.7, "c": 0.6, "d": NAN}
    return Target.of("x", order, ends, recorded())


def test_candidates_keep_the_order_and_need_a_whole_curve_where_there_are_any() -> None:
    target = on_x()

    assert target.truth.models == ("c", "a", "b")
    assert target.candidates == tuple(target.curves) == ("a", "b")
    assert target.stages == 2
    assert list(target.curves["b"]) == pytest.approx([4 / 12, 5 / 12])


def test_who_was_not_measured_or_not_recommended_is_no_candidate() -> None:
    assert on_x("db").truth.models == ("b",)


def test_the_past_is_all_but_the_dataset_itself() -> None:
    past = on_x().past

    assert past is not None
    assert past.curves.datasets == ("y",)


def test_without_curves_whoever_was_measured_can_be_selected() -> None:
    target = Target.of("x", "ba", {"a": 0.5, "b": 0.7})

    assert (target.candidates, target.stages, target.past) == (("b", "a"), 0, None)


def test_another_recommendation_is_the_same_dataset_in_another_order() -> None:
    """Regrets count from the best of those that are recommended at all."""
    before = on_x()

    after = before.recommended(["b", "stranger", "a"], probes=("c",))

    assert (after.candidates, after.probes) == (("b", "a"), ("c",))
    assert after.past is before.past
    assert after.curves["a"] == before.curves["a"]
    assert after.truth.regret("a") == pytest.approx(0.2)
