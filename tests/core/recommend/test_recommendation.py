"""Facts of recommendations: the ranking, the set, and what is promised of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence, predict_gaps, rank_held_out
from mlflow_recall.core.recommend.blend import blend
from mlflow_recall.core.recommend.portfolio import portfolio
from mlflow_recall.core.recommend.recommendation import RecommendOptions, recommend
from mlflow_recall.errors import ConfigError


def evidence(datasets: int = 12) -> Evidence:
    """``first`` leads by little where its ``twin`` is second, ``other`` wins the other half."""
    rows = {
        "first": (0.90, 0.60),
        "twin": (0.89, 0.60),
        "other": (0.60, 0.80),
        "weak": (0.40, 0.30),
        "poor": (0.20, 0.25),
        "worst": (0.10, 0.10),
    }
    values = np.array(
        [[pair[i % 2] - 0.001 * i for i in range(datasets)] for pair in rows.values()]
    )
    names = tuple(f"set-{i:02d}" for i in range(datasets))
    matrix = PerformanceMatrix(tuple(rows), names, values)
    return Evidence(matrix=matrix, clustering=cluster_models(matrix, count=3))


def leader(datasets: int) -> Evidence:
    """``a`` is the best everywhere, by far."""
    values = np.array([[0.9], [0.7], [0.5], [0.3]]) + 0.01 * np.arange(datasets)
    matrix = PerformanceMatrix(tuple("abcd"), tuple(f"set-{i}" for i in range(datasets)), values)
    return Evidence(matrix=matrix, clustering=cluster_models(matrix, count=2))


def test_by_default_the_blend_ranks_and_the_portfolio_selects_the_set() -> None:
    """The twin is ranked second, but beside the first the other adds more."""
    got = recommend(evidence(), RecommendOptions(top_k=2))

    assert (got.ranker, got.set_selector) == ("blend", "portfolio")
    assert got.ranking.models == blend(evidence()).models
    assert got.selected == portfolio(evidence()).models[:2]
    assert got.ranking.models[:2] == ("first", "twin")
    assert got.selected == ("first", "other")


def test_a_named_recommender_ranks_and_selects_the_set() -> None:
    got = recommend(evidence(), RecommendOptions(recommender="prior", top_k=2))

    assert (got.ranker, got.set_selector) == ("prior", "prior")
    assert got.selected == got.ranking.models[:2] == ("first", "twin")


def test_without_top_k_five_are_selected() -> None:
    got = recommend(evidence(), RecommendOptions())

    assert len(got.selected) == 5
    assert got.notes == ()


def test_more_than_are_eligible_is_clipped_and_noted() -> None:
    got = recommend(evidence(), RecommendOptions(top_k=50))

    assert sorted(got.selected) == sorted(evidence().matrix.models)
    assert got.notes == ("top_k: 50 requested, 6 models eligible",)


def test_fewer_models_than_the_default_are_not_noted() -> None:
    """Nobody asked for five."""
    got = recommend(leader(3), RecommendOptions())

    assert (len(got.selected), got.notes) == (4, ())


def test_gaps_are_those_of_the_ranker_on_the_recorded_datasets() -> None:
    known = evidence()

    got = recommend(known, RecommendOptions(tolerance=0.05))

    held_out = rank_held_out(known, RECOMMENDERS["blend"].rank)
    expected = predict_gaps(got.ranking, known.matrix, held_out, tolerance=0.05)
    assert got.gaps.mean == pytest.approx(expected.mean)
    assert got.gaps.p_within == pytest.approx(expected.p_within)
    assert got.p_holds_best == expected.p_holds_best(got.selected)
    assert 0 < got.p_holds_best < 1


def test_top_k_auto_promises_what_enough_datasets_have_shown() -> None:
    """One model was enough on each of 12: of 13 counts ⌈0.9 · 13⌉ = 12 must be known."""
    got = recommend(leader(12), RecommendOptions(top_k="auto"))

    assert got.selected == ("a",)
    assert got.notes == (
        "top_k auto: a set of 1 model holds one within 0.01 of the best with probability 90%, as "
        "counted on 12 datasets",
    )


def test_what_gaps_are_shares_of_is_noted() -> None:
    """A mean of scores without a common unit is not predicted."""
    unit = RegretUnit(("rmse",), ("rmse",))

    got = recommend(leader(12), RecommendOptions(top_k="auto", tolerance=0.1, unit=unit))

    assert got.notes == (
        *unit.notes,
        "top_k auto: a set of 1 model holds one within 0.1 of the spread of the best with "
        "probability 90%, as counted on 12 datasets",
    )
    assert np.isnan(got.gaps.predicted).all()


def test_top_k_auto_promises_nothing_by_too_few_datasets() -> None:
    """Nine datasets promise 90 %, as ⌈0.9 · 10⌉ = 9; eight do not, but 80 %."""
    few, enough = leader(8), leader(9)

    (note,) = recommend(few, RecommendOptions(top_k="auto")).notes
    (promise,) = recommend(enough, RecommendOptions(top_k="auto")).notes
    (modest,) = recommend(few, RecommendOptions(top_k="auto", confidence=0.8)).notes

    assert note == (
        "top_k auto: 8 datasets, too few to promise 90%: 1 model, enough for each of them"
    )
    assert "with probability 90%, as counted on 9 datasets" in promise
    assert "with probability 80%, as counted on 8 datasets" in modest


def test_top_k_auto_takes_as_many_as_the_set_selector_needed() -> None:
    """The best is second half of the time by ``prior``, so two are needed, and three cost more."""
    values = np.array([[0.9, 0.5], [0.6, 0.7], [0.1, 0.1]])
    matrix = PerformanceMatrix(
        tuple("abc"), tuple(f"set-{i}" for i in range(12)), np.tile(values, 6)
    )

    got = recommend(
        Evidence(matrix=matrix, clustering=cluster_models(matrix, count=2)),
        RecommendOptions(recommender="prior", top_k="auto"),
    )

    assert got.selected == ("a", "b")


def test_without_a_dataset_nothing_is_known_of_the_set() -> None:
    matrix = PerformanceMatrix(("a", "b"), ("only",), np.array([[0.9], [0.1]]))
    given = Evidence(matrix=matrix, clustering=cluster_models(matrix, count=1))

    bare = replace(given, matrix=matrix.without_dataset("only"))
    got = recommend(bare, RecommendOptions(top_k=1))

    assert math.isnan(got.p_holds_best)
    assert len(got.selected) == 1


def test_an_unknown_recommender_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown recommender 'friend': .*blend, .*portfolio"):
        recommend(evidence(), RecommendOptions(recommender="friend"))


def test_no_candidate_is_an_error() -> None:
    given = evidence()
    nobody = Evidence(matrix=given.matrix.select_models([]), clustering=given.clustering)

    with pytest.raises(ConfigError, match="recommend: expected at least one model, got none"):
        recommend(nobody, RecommendOptions())
