"""Facts of gaps: what choosing a model, or a set of models, has cost."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_gaps import slow_gaps

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import (
    HeldOutRankings,
    Ranking,
    empirical_gaps,
    find_smallest_set,
    predict_gaps,
)
from mlflow_recall.core.recommend.gaps import PredictedGaps

NAN = math.nan


def gaps(values: object, tolerance: float = 0.01) -> PredictedGaps:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    matrix = PerformanceMatrix(tuple("abcdef"[:models]), tuple("uvwxyz"[:datasets]), array)
    return empirical_gaps(matrix, tolerance)


#: best is 0.9 (a), 0.8 (b) and 0.7 (a and c)
EXAMPLE = [[0.9, 0.6, 0.7], [0.5, 0.8, NAN], [NAN, 0.75, 0.7], [NAN, NAN, NAN]]


def test_gaps_by_hand() -> None:
    got = gaps(EXAMPLE, tolerance=0.1)

    np.testing.assert_allclose(
        got.joint_gaps, [[0, 0.2, 0], [0.4, 0, NAN], [NAN, 0.05, 0], [NAN, NAN, NAN]], atol=1e-12
    )
    np.testing.assert_allclose(got.mean, [0.2 / 3, 0.2, 0.025, NAN])
    np.testing.assert_allclose(got.predicted, [2.2 / 3, 0.65, 0.725, NAN])
    np.testing.assert_allclose(got.p_within, [2 / 3, 1 / 2, 1, NAN])
    np.testing.assert_allclose(got.low, [0, 0.04, 0.005, NAN], atol=1e-12)
    np.testing.assert_allclose(got.high, [0.16, 0.36, 0.045, NAN], atol=1e-12)


@pytest.mark.parametrize(
    ("chosen", "share"),
    [("a", 2 / 3), ("b", 1 / 2), ("ab", 1.0), ("bc", 2 / 3), ("d", NAN), ("ad", 2 / 3), ("", NAN)],
)
def test_a_set_holds_the_best_where_any_of_its_members_does(chosen: str, share: float) -> None:
    """Datasets on which nobody of the set was measured do not count."""
    assert gaps(EXAMPLE).p_holds_best(list(chosen)) == pytest.approx(share, nan_ok=True)


def test_a_set_is_judged_jointly() -> None:
    """Shares of 1/2 each make 1 where the two win in turn, and 1/2 where they win together."""
    in_turn = gaps([[0.9, 0.1], [0.1, 0.9], [0.0, 0.0]])
    together = gaps([[0.9, 0.1], [0.9, 0.1], [0.0, 0.9]])

    assert in_turn.p_holds_best("ab") == 1.0
    assert together.p_holds_best("ab") == 0.5


@pytest.mark.parametrize("best", [0.9, 0.36, 0.29, 0.57])
def test_a_gap_of_exactly_the_tolerance_is_within_it(best: float) -> None:
    """One point is one point, though 0.9 - 0.89 is 0.010000000000000009 in binary."""
    got = gaps([[best], [round(best - 0.01, 2)]])

    assert got.p_within.tolist() == [1.0, 1.0]
    assert got.p_holds_best(["b"]) == 1.0


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_a_larger_set_holds_the_best_at_least_as_often(seed: int) -> None:
    """And everybody together always does; how hard a dataset is does not matter."""
    rng = np.random.default_rng(seed)
    values = rng.random((5, 6))
    first = gaps(values, 0.1)
    shares = [first.p_holds_best("abcde"[:k]) for k in range(1, 6)]

    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    np.testing.assert_allclose(
        gaps(values + rng.random(6), 0.1).joint_gaps, first.joint_gaps, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0), (2, 3)])
def test_nothing_measured_says_nothing(shape: tuple[int, int]) -> None:
    got = gaps(np.full(shape, NAN))

    assert np.isnan([got.mean, got.low, got.high, got.predicted, got.p_within]).all()
    assert math.isnan(got.p_holds_best(["a"]))


# --- gaps that are predicted from places --------------------------------------------------------


def names(count: int, letter: str = "m") -> tuple[str, ...]:
    return tuple(f"{letter}{i:02d}" for i in range(count))


def held(places: FloatArray, outcomes: FloatArray) -> HeldOutRankings:
    """What a recommender's places were worth: gaps to the best of each column of outcomes."""
    known = ~np.isnan(places)
    best = np.where(known, outcomes, -np.inf).max(axis=0)
    gaps = np.where(known, best - outcomes, NAN)
    return HeldOutRankings(names(len(places)), names(places.shape[1], "d"), places, gaps)


def random_held(
    rng: np.random.Generator, models: int, datasets: int, holes: float
) -> HeldOutRankings:
    """Places that are worth something, and two or more measured models on every dataset."""
    places = np.full((models, datasets), NAN)
    for column in places.T:
        column[:] = (rng.permutation(models) + 0.5) / models
        lost = rng.permutation(models)[: int(holes * rng.random() * (models - 2))]
        kept = np.setdiff1d(np.arange(models), lost)
        column[kept] = (np.argsort(np.argsort(column[kept])) + 0.5) / len(kept)
        column[lost] = NAN
    outcomes = -np.nan_to_num(places) + 0.5 * rng.normal(size=places.shape) * rng.random(datasets)
    return held(places, outcomes)


def ranking_of(order: list[str], ranked: int) -> Ranking:
    """A ranking of these models, the last ones unknown."""
    scores = np.where(np.arange(len(order)) < ranked, -np.arange(float(len(order))), NAN)
    return Ranking(tuple(order), scores, {})


@given(seed=st.integers(0, 2**32 - 1), datasets=st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_predicted_gaps_are_their_slow_definition(seed: int, datasets: int) -> None:
    """Every dataset is judged by a curve through all the others, at every level of coverage."""
    rng = np.random.default_rng(seed)
    models = int(rng.integers(2, 9))
    held_out = random_held(rng, models, datasets, float(rng.choice([0.0, 0.9])))
    order = rng.permutation(held_out.models).tolist()
    ranked = int(rng.integers(1, models + 1))
    places = {model: (i + 0.5) / ranked for i, model in enumerate(order[:ranked])}
    coverage = Fraction(str(rng.choice(["0.5", "0.6", "0.75", "0.8", "0.9"])))
    values = rng.random((models, datasets))
    matrix = PerformanceMatrix(held_out.models, held_out.datasets, values)

    got = predict_gaps(
        ranking_of(order, ranked), matrix, held_out, tolerance=0.2, coverage=float(coverage)
    )

    expected = slow_gaps(
        [places.get(model, NAN) for model in held_out.models],
        held_out.rank_shares.tolist(),
        held_out.gaps.tolist(),
        0.2,
        coverage,
    )
    assert got.models == held_out.models
    assert got.datasets == held_out.datasets
    assert got.held_out_expected is not None
    for array, slow in (
        (got.mean, expected.mean),
        (got.low, expected.low),
        (got.high, expected.high),
        (got.p_within, expected.within),
        (got.joint_gaps, expected.joint),
        (got.held_out_expected, expected.before),
        (got.predicted, values.max(axis=0).mean() - np.array(expected.mean)),
    ):
        np.testing.assert_allclose(array, np.array(slow), rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), chosen=st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_dataset_has_no_part_in_what_was_expected_of_it(seed: int, chosen: int) -> None:
    """Its own outcomes are what the expectation is judged by, so they must not move it.

    The promise of the intervals rests on that: errors of a fit to the datasets themselves would
    be too small for a new one.
    """
    rng = np.random.default_rng(seed)
    held_out = random_held(rng, 6, 6, 0.5)
    gaps = held_out.gaps.copy()
    gaps[:, chosen] = np.where(np.isnan(gaps[:, chosen]), NAN, 9.0 * rng.random(6))
    changed = replace(held_out, gaps=gaps)
    matrix = PerformanceMatrix(held_out.models, held_out.datasets, rng.random((6, 6)))
    ranking = ranking_of(list(held_out.models), 6)

    first = predict_gaps(ranking, matrix, held_out).held_out_expected
    second = predict_gaps(ranking, matrix, changed).held_out_expected

    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first[:, chosen], second[:, chosen])
    others = np.arange(6) != chosen
    assert (np.nan_to_num(first[:, others]) != np.nan_to_num(second[:, others])).any()


def test_intervals_have_the_width_of_errors_on_datasets_that_were_left_out() -> None:
    """A curve through all points has no error at all; without a dataset's own it is off by 1.

    Each of nine datasets has a place of its own, where the gap is 1 + d²: the mean of its two
    neighbors is 1 more. Of 80 % of the weight, the target's share included, that is the largest.
    """
    d = np.arange(9)
    places, gaps = np.full((2, 10, 9), NAN)
    places[0], gaps[0] = 0.05, 0.0
    places[d + 1, d], gaps[d + 1, d] = 0.1 + 0.1 * d, 1.0 + d**2
    held_out = HeldOutRankings(names(10), names(9, "d"), places, gaps)
    matrix = PerformanceMatrix(held_out.models, held_out.datasets, np.zeros((10, 9)))

    got = predict_gaps(ranking_of(list(held_out.models), 10), matrix, held_out, coverage=0.8)

    assert got.high - got.mean == pytest.approx(np.ones(10), rel=0.01)


def test_an_interval_is_as_wide_as_errors_at_its_place_usually_are() -> None:
    """Models of the first places are off by 0.01 at the most, those of the last by 1."""
    rng = np.random.default_rng(0)
    size = np.array([0.0, 0.01, 0.01, 0.01, 1.0, 1.0])[:, None]
    places = np.repeat((np.arange(6) + 0.5)[:, None] / 6, 40, axis=1)
    gaps = np.array([0.0, 1, 1, 1, 5, 5])[:, None] + size * rng.choice([-1.0, 1.0], (6, 40))
    held_out = HeldOutRankings(names(6), names(40, "d"), places, gaps)
    matrix = PerformanceMatrix(held_out.models, held_out.datasets, -gaps)

    got = predict_gaps(ranking_of(list(held_out.models), 6), matrix, held_out, coverage=0.8)

    width = got.high - got.mean
    assert (width[1:4] < 0.06).all()
    assert width[4:] == pytest.approx(np.ones(2), abs=0.15)


@pytest.mark.parametrize(("gap", "second", "third"), [(3.0, 3.0, 1.0), (40.0, 5.0, 8.0)])
def test_joint_outcomes_grow_with_what_is_expected_now(
    gap: float, second: float, third: float
) -> None:
    """Recorded gaps are 1 for b and ``gap`` for c; now they change places, and so do their gaps.

    So b is expected to lack ``gap`` times as much as it did, and c so much less, both within a
    factor of five.
    """
    places = np.repeat(np.array([[1.0], [3.0], [5.0]]) / 6, 4, axis=1)
    gaps = np.repeat(np.array([[0.0], [1.0], [gap]]), 4, axis=1)
    held_out = HeldOutRankings(("a", "b", "c"), names(4, "d"), places, gaps)
    matrix = PerformanceMatrix(held_out.models, held_out.datasets, -gaps)

    got = predict_gaps(ranking_of(["a", "c", "b"], 3), matrix, held_out)

    assert got.mean == pytest.approx([0.0, gap, 1.0])
    assert got.joint_gaps[1] == pytest.approx(np.full(4, second), rel=0.02)
    assert got.joint_gaps[2] == pytest.approx(np.full(4, third), rel=0.02)


@pytest.mark.parametrize("datasets", [1, 4, 9, 19, 24, 39])
@pytest.mark.parametrize("share", ["0.5", "0.28", "0.56", "0.7", "0.8", "0.9", "0.95"])
def test_as_many_models_as_the_exact_quantile_asks_for(datasets: int, share: str) -> None:
    """Of d counts the ⌈(d + 1) share⌉-th, in fractions: 25 x 0.56 is 14, not 14.000000000000002."""
    places = np.repeat((np.arange(datasets) + 0.5)[:, None] / datasets, datasets, axis=1)
    held_out = HeldOutRankings(
        names(datasets), names(datasets, "d"), places, 1.0 - np.eye(datasets)
    )
    ranking = ranking_of(list(held_out.models), datasets)
    wanted = math.ceil((datasets + 1) * Fraction(share))  # the k-th dataset needs k models

    got = find_smallest_set(ranking, held_out, confidence=float(share))

    assert len(got.models) == min(wanted, datasets)
    assert got.is_promised == (wanted <= datasets)
    assert got.p_holds_best == pytest.approx(min(wanted, datasets) / (datasets + 1))
