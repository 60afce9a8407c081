"""Facts of replaying a recommender, and of what follows for sets and intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from worlds import evidence

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import (
    Evidence,
    HeldOutRankings,
    Ranking,
    find_smallest_set,
    predict_gaps,
    rank_held_out,
)
from mlflow_recall.core.recommend.paper import paper
from mlflow_recall.core.recommend.prior import prior
from mlflow_recall.errors import ConfigError

NAN = math.nan


def plain(values: object) -> Evidence:
    array = np.array(values, dtype=np.float64)
    matrix = PerformanceMatrix(
        tuple("abcdefgh"[: len(array)]), tuple(f"d{j}" for j in range(array.shape[1])), array
    )
    return Evidence(matrix=matrix, clustering=cluster_models(matrix))


def test_places_and_gaps_by_hand() -> None:
    """On each dataset the order is the other one's; of c nothing else was known."""
    got = rank_held_out(plain([[0.9, 0.5], [0.7, 0.6], [0.1, NAN]]), prior)

    assert got.datasets == ("d0", "d1")
    np.testing.assert_allclose(got.rank_shares, [[3 / 4, 1 / 4], [1 / 4, 3 / 4], [NAN, NAN]])
    np.testing.assert_allclose(got.gaps, [[0, 0.1], [0.2, 0], [NAN, NAN]], atol=1e-12)


def test_a_dataset_has_no_part_in_its_own_prediction() -> None:
    first = evidence().matrix.values
    other = first.copy()
    other[:, 3] = -other[:, 3]

    def places(values: object) -> np.ndarray:
        names = tuple(f"m{i:02d}" for i in range(12))
        matrix = PerformanceMatrix(names, tuple(f"d{j}" for j in range(6)), np.array(values))
        return rank_held_out(
            Evidence(matrix=matrix, clustering=cluster_models(matrix, count=3)), prior
        ).rank_shares

    np.testing.assert_array_equal(places(first)[:, 3], places(other)[:, 3])


def test_datasets_that_cannot_be_ranked_for_are_left_out() -> None:
    """The paper's product needs scores, and recorded datasets have none."""
    assert rank_held_out(plain(np.random.default_rng(0).random((4, 3))), paper).datasets == ()


def held_out_of(counts: list[int], models: int = 6) -> HeldOutRankings:
    """On each dataset exactly the model at that place is best, all others 1 below."""
    places = np.tile((np.arange(models) + 0.5) / models, (len(counts), 1)).T
    gaps = np.ones((models, len(counts)))
    gaps[np.array(counts, dtype=np.intp) - 1, np.arange(len(counts))] = 0.0
    names = tuple("abcdef"[:models])
    return HeldOutRankings(names, tuple(f"d{j}" for j in range(len(counts))), places, gaps)


RANKED = Ranking(tuple("abcdef"), np.arange(6.0)[::-1], {})


def test_the_smallest_set_is_a_conformal_quantile() -> None:
    """Of 9 datasets the ninth smallest count promises 0.9, the fifth 0.5."""
    counts = [1, 1, 1, 2, 2, 3, 4, 4, 5]

    got = find_smallest_set(RANKED, held_out_of(counts), confidence=0.9)
    half = find_smallest_set(RANKED, held_out_of(counts), confidence=0.5)

    assert (got.models, got.is_promised) == (tuple("abcde"), True)
    assert got.p_holds_best == pytest.approx(0.9)
    assert (half.models, half.is_promised) == (tuple("ab"), True)
    assert half.p_holds_best == pytest.approx(0.5)


def test_too_few_datasets_cannot_promise_it() -> None:
    got = find_smallest_set(RANKED, held_out_of([1, 3, 2]), confidence=0.9)

    assert (got.models, got.is_promised) == (tuple("abc"), False)
    assert got.p_holds_best == pytest.approx(3 / 4)


def test_without_any_history_everybody_is_taken() -> None:
    got = find_smallest_set(RANKED, held_out_of([]))

    assert got.models == RANKED.models
    assert math.isnan(got.p_holds_best)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5])
def test_impossible_shares_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="confidence: expected a share between 0 and 1, got"):
        find_smallest_set(RANKED, held_out_of([1]), confidence=share)
    with pytest.raises(ConfigError, match="coverage: expected a share between 0 and 1, got"):
        predict_gaps(RANKED, plain(np.ones((6, 1))).matrix, held_out_of([1]), coverage=share)


def test_gaps_grow_with_the_place_and_lie_in_their_interval() -> None:
    given = evidence(models=20, datasets=12)
    ranking = prior(given)

    got = predict_gaps(ranking, given.matrix, rank_held_out(given, prior), tolerance=0.5)

    of = dict(zip(got.models, got.mean, strict=True))
    assert (np.diff([of[model] for model in ranking.models]) >= -1e-12).all()
    assert ((got.low <= got.mean) & (got.mean <= got.high) & (got.low >= 0)).all()
    assert ((got.p_within > 0) & (got.p_within < 1)).all()
    assert 0 < got.p_holds_best(ranking.models[:1]) <= got.p_holds_best(ranking.models[:5]) < 1
    np.testing.assert_allclose(np.nanmin(got.joint_gaps, axis=0), 0, atol=1e-12)


def test_what_was_expected_of_the_recorded_datasets_grows_with_their_places() -> None:
    """One column a dataset, one row a model of the matrix, in whatever order both were asked."""
    given = evidence(models=20, datasets=12)
    known = rank_held_out(given, prior)

    got = predict_gaps(prior(given), given.matrix, known)

    assert got.held_out_expected is not None
    assert got.datasets == known.datasets
    order = [known.models.index(model) for model in got.models]
    for places, expected in zip(known.rank_shares[order].T, got.held_out_expected.T, strict=True):
        assert (np.diff(expected[np.argsort(places)]) >= -1e-12).all()
        assert np.ptp(expected) > 0


def test_few_datasets_have_no_upper_end() -> None:
    """Of three, 80 % cannot be promised: a fourth may be arbitrarily bad."""
    given = evidence(models=8, datasets=3)

    got = predict_gaps(prior(given), given.matrix, rank_held_out(given, prior), coverage=0.8)

    assert np.isnan(got.high).all()
    assert (got.low == 0).all()


def test_without_history_nothing_is_said() -> None:
    given = plain(np.full((3, 0), 0.5))

    got = predict_gaps(prior(given), given.matrix, rank_held_out(given, prior))

    assert np.isnan([got.mean, got.low, got.high, got.p_within]).all()
    assert math.isnan(got.p_holds_best(["a"]))


def test_intervals_hold_what_they_promise_on_new_datasets() -> None:
    """80 % of the gaps, and 90 % of the smallest sets, over newly sampled worlds."""
    covered, held = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(15, 3)) @ rng.normal(size=(3, 13))  # models err together
        values = rng.normal(size=(15, 1)) + 0.7 * shared + 0.5 * rng.normal(size=(15, 13))
        names = tuple(f"m{i:02d}" for i in range(15))
        matrix = PerformanceMatrix(names, tuple(f"d{j}" for j in range(12)), values[:, :12])
        given = Evidence(matrix=matrix, clustering=cluster_models(matrix, count=3))
        gap = dict(zip(names, values[:, 12].max() - values[:, 12], strict=True))
        ranking, known = prior(given), rank_held_out(given, prior)
        predicted = predict_gaps(ranking, matrix, known, tolerance=0.5)
        true = np.array([gap[model] for model in predicted.models])
        covered.append(np.mean((true >= predicted.low) & (true <= predicted.high)))
        chosen = find_smallest_set(ranking, known, tolerance=0.5).models
        held.append(min(gap[model] for model in chosen) <= 0.5)

    assert np.mean(covered) == pytest.approx(0.8, abs=0.06)
    assert np.mean(held) >= 0.85
