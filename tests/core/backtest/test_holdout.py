"""Facts of leaving one dataset out: what is known of a target, and what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import (
    Case,
    evenly_spaced,
    hold_out_each,
    hold_out_models,
    informative_scores,
    keep_one_dataset,
    keep_scores,
    target_columns,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import HistoryError

NAN = math.nan


def matrix(values: FloatArray) -> PerformanceMatrix:
    m, d = values.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(m)), tuple(f"d{j}" for j in range(d)), values
    )


def world(m: int = 8, d: int = 4, seed: int = 0) -> tuple[PerformanceMatrix, FloatArray]:
    rng = np.random.default_rng(seed)
    return matrix(rng.random((m, d))), rng.random((m, d))


def test_every_dataset_is_the_target_once_and_unknown_then() -> None:
    known, score = world()

    got = hold_out_each(
        known, {"s": score}, {"size": {"m00": 1.0}}, {"kind": {"d0": "a", "d1": "b"}}
    )

    assert [case.dataset for case in got] == ["d0", "d1", "d2", "d3"]
    second = got[1]
    assert second.evidence.matrix.datasets == ("d0", "d2", "d3")
    np.testing.assert_array_equal(second.truth, known.values[:, 1])
    np.testing.assert_array_equal(second.evidence.matrix.values, known.values[:, [0, 2, 3]])
    np.testing.assert_array_equal(second.evidence.scores["s"], score[:, 1])
    np.testing.assert_array_equal(second.evidence.recorded_scores["s"], score[:, [0, 2, 3]])
    assert second.evidence.dataset_features == {"kind": ["a", "", ""]}
    assert second.evidence.target_features == {"kind": "b"}
    np.testing.assert_equal(second.evidence.model_features["size"], [1.0] + [NAN] * 7)


def test_outcomes_on_the_target_change_only_the_truth() -> None:
    known, score = world()
    other = known.values.copy()
    other[:, 2] = other[::-1, 2]

    first, second = (hold_out_each(matrix(v), {"s": score})[2] for v in (known.values, other))

    np.testing.assert_array_equal(first.evidence.matrix.values, second.evidence.matrix.values)
    assert first.evidence.clustering.clusters == second.evidence.clustering.clusters
    assert (first.truth != second.truth).any()


def test_candidates_were_measured_on_the_target_and_elsewhere() -> None:
    values = np.random.default_rng(0).random((8, 3))
    values[0, 0] = NAN  # not on the target
    values[1, 1:] = NAN  # nowhere else
    known = matrix(values)

    got = hold_out_each(known)[0]

    assert got.evidence.matrix.models == known.models[2:]
    np.testing.assert_array_equal(got.truth, values[2:, 0])


def test_datasets_with_few_models_are_history_but_no_targets() -> None:
    values = np.random.default_rng(0).random((8, 3))
    values[4:, 1] = NAN

    got = hold_out_each(matrix(values))

    assert [case.dataset for case in got] == ["d0", "d2"]
    assert got[0].evidence.matrix.datasets == ("d1", "d2")
    assert [case.dataset for case in hold_out_each(matrix(values), min_models=4)] == [
        "d0",
        "d1",
        "d2",
    ]


def test_where_two_datasets_have_scores_only_such_are_targets() -> None:
    known, score = world(d=4)
    two, one = score.copy(), score.copy()
    two[:, 2:] = NAN
    one[:, 1:] = NAN

    assert target_columns(known, {"s": two}) == [0, 1]
    assert informative_scores(known, {"one": one, "two": two}).keys() == {"two"}
    assert [case.dataset for case in hold_out_each(known, {"one": one})] == ["d0", "d1", "d2", "d3"]
    assert hold_out_each(known, {"one": one})[0].evidence.scores == {}


def test_at_most_so_many_are_evenly_spread() -> None:
    known, _ = world(d=9)

    assert [case.dataset for case in hold_out_each(known, most=3)] == ["d0", "d4", "d8"]
    assert evenly_spaced([1, 2], 5) == [1, 2]


def test_nothing_measured_is_no_case() -> None:
    assert hold_out_each(matrix(np.full((6, 3), NAN))) == []
    assert hold_out_each(matrix(np.empty((0, 0)))) == []


def test_scores_of_another_shape_are_refused() -> None:
    known, score = world()

    with pytest.raises(HistoryError, match=r"score s: expected \(8, 4\) values .* got \(8, 3\)"):
        hold_out_each(known, {"s": score[:, :3]})


@pytest.fixture
def case() -> Case:
    known, score = world(m=10)
    return hold_out_each(known, {"s": score, "t": -score}, None, {"size": {"d0": 1.0, "d1": 2.0}})[
        0
    ]


def test_of_scores_one_can_be_kept_or_those_of_representatives(case: Case) -> None:
    one = keep_scores(case, "t").evidence
    few = keep_scores(case, representatives=True).evidence

    assert set(one.scores) == set(one.recorded_scores) == {"t"}
    probed = np.isin(few.matrix.models, few.clustering.representatives)
    for values in few.scores.values():
        np.testing.assert_array_equal(~np.isnan(values), probed)


def test_one_recorded_dataset_is_left(case: Case) -> None:
    got = keep_one_dataset(case, 1).evidence

    assert got.matrix.datasets == ("d2",)
    np.testing.assert_array_equal(
        got.recorded_scores["s"][:, 0], case.evidence.recorded_scores["s"][:, 1]
    )
    np.testing.assert_equal(got.dataset_features["size"], [NAN])


def test_new_models_are_judged_and_nothing_is_known_of_them(case: Case) -> None:
    ten = hold_out_models(case, 1)
    fifteen = hold_out_models(hold_out_each(world(m=15)[0])[0], 1)

    assert ten is None  # two models decide nothing
    assert fifteen is not None
    judged = ~np.isnan(fifteen.truth)
    assert np.flatnonzero(judged).tolist() == [1, 6, 11]
    assert np.isnan(fifteen.evidence.matrix.values[judged]).all()
    assert not np.isnan(fifteen.evidence.matrix.values[~judged]).any()
    assert fifteen.evidence.matrix.datasets[-1] == "d0"
