"""Facts of trends: exact one-dimensional k-means, and what a trend predicts."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies.trends import kmeans_1d, mine_trends

NAN = math.nan


def squares(values: FloatArray) -> float:
    return float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0


def best_partition(values: FloatArray, groups: int) -> list[FloatArray]:
    """The contiguous partition of sorted values with the least sum of squares, by trying all."""
    return min(
        (
            [values[i:j] for i, j in zip((0, *inner), (*inner, len(values)), strict=True)]
            for inner in combinations(range(1, len(values)), groups - 1)
        ),
        key=lambda parts: sum(map(squares, parts)),
    )


def curves(seed: int, models: int = 4, datasets: int = 9, stages: int = 3) -> Curves:
    rng = np.random.default_rng(seed)
    scores, final_scores = rng.random((models, datasets, stages)), rng.random((models, datasets))
    scores[rng.random(scores.shape) < 0.2] = NAN
    final_scores[rng.random(final_scores.shape) < 0.1] = NAN
    scores[-1] = NAN  # never measured
    rows, columns = (f"m{i}" for i in range(models)), (f"d{i}" for i in range(datasets))
    return Curves(
        models=tuple(rows), datasets=tuple(columns), scores=scores, final_scores=final_scores
    )


@given(seed=st.integers(0, 2**32 - 1), offset=st.sampled_from([0.0, 1e3, 1e7]))
@settings(max_examples=20)
def test_kmeans_is_as_good_as_the_best_of_all_partitions(seed: int, offset: float) -> None:
    """Many rows at once, of different lengths and numbers of groups, with ties.

    Far from zero too, where sums of squares of the values themselves would cancel.
    """
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((12, 1)) < 0.5, rng.random((12, 8)), rng.integers(0, 4, (12, 8)))
    measured = rng.integers(1, 9, 12)
    values = np.sort(np.where(np.arange(8) < measured[:, None], values + offset, NAN), axis=1)
    groups = np.array([rng.integers(1, min(4, m) + 1) for m in measured])

    starts = kmeans_1d(values, groups, 4)

    for row, count, k, start in zip(values, measured, groups, starts, strict=True):
        assert start[0] == 0
        assert (np.diff(start) >= 0).all()
        assert (start[k:] == count).all()
        got = sum(squares(row[i:j]) for i, j in pairwise(start))
        expected = sum(map(squares, best_partition(row[:count], int(k))))
        assert got == pytest.approx(expected, abs=1e-9)


def test_rows_do_not_see_each_other() -> None:
    rng = np.random.default_rng(0)
    values, groups = np.sort(rng.random((20, 7)), axis=1), rng.integers(1, 4, 20)

    alone = np.vstack([kmeans_1d(values[[i]], groups[[i]], 3) for i in range(20)])

    np.testing.assert_array_equal(kmeans_1d(values, groups, 3), alone)


@given(seed=st.integers(0, 2**32 - 1), most=st.integers(1, 5))
@settings(max_examples=20)
def test_trends_equal_their_slow_definition(seed: int, most: int) -> None:
    """Section IV: group a model's datasets by validation score; their mean test is predicted."""
    history = curves(seed)
    got = mine_trends(history, most)

    for m in range(len(history.models)):
        for t in range(history.stages):
            known = ~np.isnan(history.scores[m, :, t]) & ~np.isnan(history.final_scores[m])
            pairs = sorted(
                zip(history.scores[m, known, t], history.final_scores[m, known], strict=True)
            )
            k = min(most, len(pairs) // 2) or min(1, len(pairs))
            expected = np.full((4, most), NAN)
            if k:
                at = 0
                for g, part in enumerate(best_partition(np.array([s for s, _ in pairs]), k)):
                    finals = [f for _, f in pairs[at : at + len(part)]]
                    expected[:, g] = part.mean(), np.mean(finals), min(finals), max(finals)
                    at += len(part)
            mined = (
                got.centers[m, t],
                got.final_scores[m, t],
                got.low_scores[m, t],
                got.high_scores[m, t],
            )
            np.testing.assert_allclose(mined, expected, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
@example(seed=128)
def test_the_order_of_datasets_does_not_matter_even_with_ties(seed: int) -> None:
    """Which dataset came first must not separate equal validation scores."""
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.1, 0.3, 0.7], (1, 8, 1))
    final_scores = rng.random((1, 8))
    order = rng.permutation(8)
    names = tuple("abcdefgh")

    one = mine_trends(
        Curves(models=("m",), datasets=names, scores=scores, final_scores=final_scores)
    )
    two = mine_trends(
        Curves(
            models=("m",),
            datasets=names,
            scores=scores[:, order],
            final_scores=final_scores[:, order],
        )
    )

    for score in (0.0, 0.1, 0.3, 0.7):
        first, second = one.predict("m", 1, score), two.predict("m", 1, score)
        assert first is not None
        assert second is not None
        assert (first.final_score, first.low, first.high) == pytest.approx(
            (second.final_score, second.low, second.high)
        )


def test_a_trend_is_that_of_its_own_model_and_stage() -> None:
    """Two models and two stages, each with one dataset pair of its own."""
    scores = np.array([[[0.1, 0.2], [0.1, 0.2]], [[0.3, 0.4], [0.3, 0.4]]])
    trends = mine_trends(
        Curves(
            models=("a", "b"),
            datasets=("x", "y"),
            scores=scores,
            final_scores=np.array([[0.5, 0.7], [0.6, 1.0]]),
        )
    )

    assert trends.centers[:, :, 0].tolist() == [[0.1, 0.2], [0.3, 0.4]]
    for stage in (1, 2):
        first, second = trends.predict("a", stage, 0.0), trends.predict("b", stage, 0.0)
        assert first is not None
        assert second is not None
        assert (first.final_score, first.low, first.high) == pytest.approx((0.6, 0.5, 0.7))
        assert (second.final_score, second.low, second.high) == pytest.approx((0.8, 0.6, 1.0))


def test_the_stage_that_is_asked_for_decides() -> None:
    """The same score is near the low trend after stage 1 and near the high one after stage 2."""
    scores = np.array([[[0.5, 0.1], [0.5, 0.1], [0.9, 0.5], [0.9, 0.5]]])
    trends = mine_trends(
        Curves(
            models=("a",),
            datasets=tuple("wxyz"),
            scores=scores,
            final_scores=np.array([[0.6, 0.6, 1.0, 1.0]]),
        )
    )

    early, late = trends.predict("a", 1, 0.5), trends.predict("a", 2, 0.5)

    assert early is not None
    assert late is not None
    assert (early.final_score, late.final_score) == pytest.approx((0.6, 1.0))


def two_trends() -> Curves:
    """Stage 1 tells two groups apart; they end in 0.5 (0.4 to 0.6) and 0.9 (0.8 to 1)."""
    scores = np.array([0.0, 0.25, 0.75, 1.0])
    return Curves(
        models=("a",),
        datasets=tuple("wxyz"),
        scores=np.array([[scores]]).transpose(0, 2, 1),
        final_scores=np.array([[0.4, 0.6, 0.8, 1]]),
    )


@pytest.mark.parametrize(
    ("score", "end", "low", "high"),
    [(-9.0, 0.5, 0.4, 0.6), (0.2, 0.5, 0.4, 0.6), (0.5, 0.5, 0.4, 0.6), (0.51, 0.9, 0.8, 1.0)],
)
def test_the_nearest_trend_foretells_the_lower_of_two(
    score: float, end: float, low: float, high: float
) -> None:
    """Centers are 0.125 and 0.875, so 0.5 is equally near."""
    got = mine_trends(two_trends()).predict("a", 1, score)

    assert got is not None
    assert (got.final_score, got.low, got.high) == pytest.approx((end, low, high))


def test_nothing_is_foretold_without_a_trend() -> None:
    trends = mine_trends(curves(0))

    assert trends.predict("m0", 1, 0.5) is not None
    assert trends.predict("m3", 1, 0.5) is None, "without history"
    assert trends.predict("new", 1, 0.5) is None
    assert trends.predict("m0", 0, 0.5) is None
    assert trends.predict("m0", trends.stages + 1, 0.5) is None
    assert trends.predict("m0", 1, NAN) is None


@pytest.mark.parametrize("shape", [(0, 0, 0), (1, 0, 2), (0, 3, 2), (2, 3, 0)])
def test_an_empty_history_has_no_trends(shape: tuple[int, int, int]) -> None:
    """The first selection of all starts from ``Curves.of([])``."""
    models, datasets = ("a", "b", "c")[: shape[0]], ("x", "y", "z")[: shape[1]]

    got = mine_trends(
        Curves(
            models=models,
            datasets=datasets,
            scores=np.empty(shape),
            final_scores=np.empty(shape[:2]),
        )
    )

    assert got.centers.shape == (shape[0], shape[2], 4)
    assert got.predict("a", 1, 0.5) is None
