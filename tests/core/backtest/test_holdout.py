"""Facts of holding out one dataset: what is known of a target, and what is not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import (
    HeldOutTarget,
    evenly_spaced,
    hold_out_curves,
    hold_out_each,
    hold_out_models,
    hold_out_recorded,
    informative_scores,
    keep_one_dataset,
    keep_scores,
    target_columns,
)
from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence, Ranking
from mlflow_recall.errors import ConfigError, HistoryError

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

    assert [target.dataset for target in got] == ["d0", "d1", "d2", "d3"]
    second = got[1]
    assert second.evidence.matrix.datasets == ("d0", "d2", "d3")
    np.testing.assert_array_equal(second.final_scores, known.values[:, 1])
    np.testing.assert_array_equal(second.evidence.matrix.values, known.values[:, [0, 2, 3]])
    np.testing.assert_array_equal(second.evidence.scores["s"], score[:, 1])
    np.testing.assert_array_equal(second.evidence.recorded_scores["s"], score[:, [0, 2, 3]])
    assert second.evidence.dataset_features == {"kind": ("a", "", "")}
    assert second.evidence.target_features == {"kind": "b"}
    np.testing.assert_equal(second.evidence.model_features["size"], [1.0] + [NAN] * 7)


def test_final_scores_on_the_target_change_only_the_ground_truth() -> None:
    known, score = world()
    other = known.values.copy()
    other[:, 2] = other[::-1, 2]

    first, second = (hold_out_each(matrix(v), {"s": score})[2] for v in (known.values, other))

    np.testing.assert_array_equal(first.evidence.matrix.values, second.evidence.matrix.values)
    assert first.evidence.clustering.clusters == second.evidence.clustering.clusters
    assert (first.final_scores != second.final_scores).any()


def test_candidates_were_measured_on_the_target_and_elsewhere() -> None:
    values = np.random.default_rng(0).random((8, 3))
    values[0, 0] = NAN  # not on the target
    values[1, 1:] = NAN  # nowhere else
    known = matrix(values)

    got = hold_out_each(known)[0]

    assert got.evidence.matrix.models == known.models[2:]
    np.testing.assert_array_equal(got.final_scores, values[2:, 0])


def test_datasets_with_few_models_are_history_but_no_targets() -> None:
    values = np.random.default_rng(0).random((8, 3))
    values[4:, 1] = NAN

    got = hold_out_each(matrix(values))

    assert [target.dataset for target in got] == ["d0", "d2"]
    assert got[0].evidence.matrix.datasets == ("d1", "d2")
    assert [target.dataset for target in hold_out_each(matrix(values), min_models=4)] == [
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
    assert [target.dataset for target in hold_out_each(known, {"one": one})] == [
        "d0",
        "d1",
        "d2",
        "d3",
    ]
    assert hold_out_each(known, {"one": one})[0].evidence.scores == {}


def test_a_limited_number_of_targets_is_evenly_spaced() -> None:
    known, _ = world(d=9)

    assert [target.dataset for target in hold_out_each(known, limit=3)] == ["d0", "d4", "d8"]
    assert evenly_spaced([1, 2], 5) == [1, 2]


def test_without_measured_models_there_is_no_target() -> None:
    assert hold_out_each(matrix(np.full((6, 3), NAN))) == []
    assert hold_out_each(matrix(np.empty((0, 0)))) == []


def test_scores_of_another_shape_are_refused() -> None:
    known, score = world()

    with pytest.raises(HistoryError, match=r"score s: expected \(8, 4\) values .* got \(8, 3\)"):
        hold_out_each(known, {"s": score[:, :3]})


@pytest.fixture
def target() -> HeldOutTarget:
    known, score = world(m=10)
    size = {"size": {"d0": 1.0, "d1": 2.0}}
    return hold_out_each(known, {"s": score, "t": -score}, None, size)[0]


def test_one_score_or_the_scores_of_representatives_can_be_kept(target: HeldOutTarget) -> None:
    one = keep_scores(target, "t").evidence
    few = keep_scores(target, representatives_only=True).evidence

    assert set(one.scores) == set(one.recorded_scores) == {"t"}
    probed = np.isin(few.matrix.models, few.clustering.representatives)
    for values in few.scores.values():
        np.testing.assert_array_equal(~np.isnan(values), probed)


def test_one_recorded_dataset_is_left(target: HeldOutTarget) -> None:
    got = keep_one_dataset(target, 1).evidence

    assert got.matrix.datasets == ("d2",)
    np.testing.assert_array_equal(
        got.recorded_scores["s"][:, 0], target.evidence.recorded_scores["s"][:, 1]
    )
    np.testing.assert_equal(got.dataset_features["size"], [NAN])


def test_hidden_models_are_judged_and_nothing_is_known_of_them(target: HeldOutTarget) -> None:
    ten = hold_out_models(target, 1)
    fifteen = hold_out_models(hold_out_each(world(m=15)[0])[0], 1)

    assert ten is None  # two models decide nothing
    assert fifteen is not None
    judged = ~np.isnan(fifteen.final_scores)
    assert np.flatnonzero(judged).tolist() == [1, 6, 11]
    assert np.isnan(fifteen.evidence.matrix.values[judged]).all()
    assert not np.isnan(fifteen.evidence.matrix.values[~judged]).any()
    assert fifteen.evidence.matrix.datasets[-1] == "d0"


# --- targets with curves -----------------------------------------------------------------------


def three_models() -> Curves:
    """Three models on x and y; the curve of c on x ends early."""
    scores = np.arange(12.0).reshape(3, 2, 2) / 12
    scores[2, 0, 1] = NAN
    return Curves(
        models=("a", "b", "c"), datasets=("x", "y"), scores=scores, final_scores=scores[..., 0]
    )


def on_x(order: str = "cab") -> HeldOutTarget:
    """The dataset x in some order of its models, the model d being unmeasured there."""
    final_scores = {"a": 0.5, "b": 0.7, "c": 0.6}
    matrix = PerformanceMatrix(tuple("abcd"), ("y",), np.full((4, 1), 0.5))
    bare = HeldOutTarget(
        dataset="x",
        evidence=Evidence(matrix=matrix, clustering=no_clusters()),
        ground_truth=GroundTruth(final_scores),
    )
    return bare.with_order(order).with_curves(three_models())


def test_candidates_keep_the_order_and_need_a_complete_curve_if_any_has_one() -> None:
    target = on_x()

    assert target.ground_truth.models == ("c", "a", "b")
    assert target.candidates == tuple(target.curves) == ("a", "b")
    assert target.stages == 2
    assert list(target.curves["b"]) == pytest.approx([4 / 12, 5 / 12])
    assert list(target.curves_of("ba")) == ["b", "a"]


def test_final_scores_follow_the_evidence_and_unmeasured_models_have_none() -> None:
    """The ground truth is in the recommended order, arrays are in that of the matrix."""
    np.testing.assert_equal(on_x().final_scores, [0.5, 0.7, 0.6, NAN])


def test_models_without_measurement_or_recommendation_are_no_candidates() -> None:
    assert on_x("db").ground_truth.models == ("b",)


def test_the_history_is_all_but_the_dataset_itself() -> None:
    history = on_x().history

    assert history is not None
    assert history.curves.datasets == ("y",)


def test_a_dataset_without_curves_has_the_others_as_history() -> None:
    """It is no target of a replay, but its ranking may still be asked for."""
    bare = on_x().with_curves(three_models().without_dataset("x"))

    assert (bare.candidates, bare.stages) == (("c", "a", "b"), 0)
    assert bare.history is not None
    assert bare.history.curves.datasets == ("y",)


def test_without_curves_every_measured_model_can_be_selected() -> None:
    (target, *_) = hold_out_each(world()[0])

    assert target.candidates == tuple(f"m{i:02d}" for i in range(8))
    assert (target.stages, target.history) == (0, None)


def test_another_order_is_the_same_dataset_with_other_first_candidates() -> None:
    """Regrets count from the best of those that are recommended at all."""
    before = on_x()

    after = before.with_order(["b", "unknown", "a"], probes=("c",))

    assert (after.candidates, after.probes) == (("b", "a"), ("c",))
    assert after.history is before.history
    assert after.curves["a"] == before.curves["a"]
    assert after.ground_truth.regret("a") == pytest.approx(0.2)


def test_curves_are_held_out_where_enough_models_have_a_complete_one() -> None:
    """The dataset x has two complete curves, y has three."""
    curves = three_models()

    two, three = (list(hold_out_curves(curves, min_models=n)) for n in (2, 3))

    assert [target.dataset for target in two] == ["x", "y"]
    assert [target.dataset for target in three] == ["y"]
    assert set(two[0].candidates) == {"a", "b"}


def test_the_history_of_a_target_is_in_its_unit() -> None:
    """What a model reached in nats says nothing of an accuracy."""
    units = {"d0": "points", "d1": "log_loss", "d2": "points", "d3": "log_loss"}
    curves = replace(random_curves(datasets=5), units={**units, "d4": "rmse of d4"})

    known = {t.dataset: t.history for t in hold_out_curves(curves)}

    datasets = {name: past.curves.datasets if past else None for name, past in known.items()}
    assert datasets == {"d0": ("d2",), "d1": ("d3",), "d2": ("d0",), "d3": ("d1",), "d4": ()}


def test_regrets_on_curves_may_be_shares_of_the_spread() -> None:
    curves = random_curves()
    unit = RegretUnit(("mae",), ("mae",))

    plain, shares = (list(hold_out_curves(curves, unit=u)) for u in (None, unit))

    for j, (one, other) in enumerate(zip(plain, shares, strict=True)):
        spread = curves.final_scores[:, j].std()
        assert one.candidates == other.candidates
        for model in one.candidates:
            regret = one.ground_truth.regret(model)
            assert other.ground_truth.regret(model) == pytest.approx(regret / spread)
        ordered = other.with_order(other.candidates[:3])
        assert ordered.ground_truth.spread == pytest.approx(spread)


# --- targets of a plan ---------------------------------------------------------------------------


def plain_evidence(curves: Curves) -> Evidence:
    matrix = PerformanceMatrix(curves.models, curves.datasets, curves.final_scores)
    return Evidence(matrix=matrix, clustering=no_clusters())


def random_curves(models: int = 8, datasets: int = 6) -> Curves:
    rng = np.random.default_rng(0)
    scores = np.sort(rng.random((models, datasets, 3)), axis=2)
    names = tuple(f"m{i}" for i in range(models))
    return Curves(
        models=names,
        datasets=tuple(f"d{j}" for j in range(datasets)),
        scores=scores,
        final_scores=scores[..., -1],
    )


def test_a_recorded_target_is_ranked_without_its_own_scores() -> None:
    """Turned upside down on one dataset, the models keep their order there."""
    curves = random_curves()
    final_scores = np.array(curves.final_scores)
    final_scores[:, 2] = -final_scores[:, 2]
    changed = Curves(
        models=curves.models,
        datasets=curves.datasets,
        scores=curves.scores,
        final_scores=final_scores,
    )
    rank = RECOMMENDERS["prior"].rank

    before, after = (
        hold_out_recorded(plain_evidence(known), rank, known, 48)[2] for known in (curves, changed)
    )

    assert before.ground_truth.models == after.ground_truth.models
    assert before.dataset == after.dataset == "d2"
    assert before.history is not None
    assert "d2" not in before.history.curves.datasets


def test_recorded_targets_are_evenly_spaced_over_many_datasets() -> None:
    curves = random_curves(3, 100)
    rank = RECOMMENDERS["prior"].rank

    targets = hold_out_recorded(plain_evidence(curves), rank, None, 48)

    assert len(targets) == 48
    assert (targets[0].dataset, targets[-1].dataset) == ("d0", "d99")
    assert not any(target.curves for target in targets)


def test_a_recorded_dataset_with_one_measured_model_is_no_target() -> None:
    values = np.random.default_rng(1).random((3, 4))
    values[1:, 2] = NAN
    known = Evidence(matrix=matrix(values), clustering=no_clusters())

    targets = hold_out_recorded(known, RECOMMENDERS["prior"].rank, None, 48)

    assert [target.dataset for target in targets] == ["d0", "d1", "d3"]


def test_datasets_that_the_recommender_cannot_rank_for_are_left_out() -> None:
    """The paper's recommender needs scores of the target, and a recorded dataset may lack them."""
    known = Evidence(
        matrix=matrix(np.random.default_rng(2).random((4, 3))), clustering=no_clusters()
    )

    def rank(evidence: Evidence) -> Ranking:
        if evidence.matrix.datasets == ("d0", "d2"):
            raise ConfigError("paper: expected a score of the target, got none")
        return RECOMMENDERS["prior"].rank(evidence)

    targets = hold_out_recorded(known, rank, None, 48)

    assert [target.dataset for target in targets] == ["d0", "d2"]
