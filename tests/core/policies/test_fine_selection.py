"""Facts of fine-selection: Algorithm 1, and what it never does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray, read_only
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies.fine_selection import decide_by_trends, fine_selection
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.core.policies.spec import PolicyOptions
from mlflow_recall.core.policies.trends import Trends, mine_trends

NAN = math.nan
STAGES = 3
Scores = dict[str, list[float]]


def slow_end(trends: Trends, model: str, stage: int, score: float) -> float | None:
    """The mean final test of the trend whose mean validation is nearest."""
    if model not in trends.models:
        return None
    row = trends.models.index(model)
    nearest, end = math.inf, None
    for k in range(trends.centers.shape[2]):
        away = abs(trends.centers[row, stage - 1, k] - score)
        if away < nearest:  # NaN is never nearer
            nearest, end = away, float(trends.final_scores[row, stage - 1, k])
    return end


def algorithm_1(cohort: Scores, trends: Trends, stage: int, threshold: float) -> list[str]:
    """Who is left, by removing one candidate after the other."""
    order = list(cohort)
    now = {model: cohort[model][stage - 1] for model in order}
    end = {model: slow_end(trends, model, stage, now[model]) for model in order}
    left = list(order)
    for model in sorted(order, key=lambda m: now[m]):  # from the worst to the best
        mine = end[model]
        rivals = [e for r in left if now[r] > now[model] and (e := end[r]) is not None]
        if mine is not None and rivals and max(rivals) - mine > threshold * abs(max(rivals)):
            left.remove(model)
    while len(left) > max(1, len(order) // 2):
        left.remove(min(left, key=lambda m: (now[m], -order.index(m))))
    return left


def random_trends(rng: np.random.Generator, models: int) -> Trends:
    """Sixteenths, so that ties abound and thresholds are met exactly; some models have none."""

    def sixteenths() -> FloatArray:
        return read_only(rng.integers(-4, 17, (models, STAGES, 3)) / 16)

    centers = np.sort(sixteenths(), axis=2)
    unused = rng.random(centers.shape) < 0.3
    unused[rng.random(models) < 0.2] = True
    centers, ends = (np.where(unused, NAN, a) for a in (centers, sixteenths()))
    return Trends(tuple(f"m{i}" for i in range(models)), centers, ends, ends - 0.1, ends + 0.1)


def random_cohort(rng: np.random.Generator) -> tuple[Scores, Trends, PolicyOptions]:
    n = int(rng.integers(1, 12))
    stage = int(rng.integers(1, STAGES + 1))
    scores = rng.integers(0, int(rng.choice([2, 5, 17])), (n, stage)) / 16
    names = rng.permutation([f"m{i}" for i in range(n)])
    cohort = dict(zip(map(str, names), scores.tolist(), strict=True))
    threshold = float(rng.choice([0.0, 1 / 8, 1 / 2, 2.0]))
    return cohort, random_trends(rng, max(1, n - 1)), PolicyOptions(STAGES + 1, threshold)


def test_it_is_algorithm_1_on_thousands_of_cohorts() -> None:
    rng = np.random.default_rng(0)
    by_trend = 0
    for _ in range(3000):
        cohort, trends, settings = random_cohort(rng)
        stage = len(next(iter(cohort.values())))
        verdicts = decide_by_trends(cohort, trends, settings)
        left = [model for model, v in verdicts.items() if not v.stop]
        halved = [model for model, v in halving(cohort, None, settings).items() if not v.stop]
        top = max(s[stage - 1] for s in cohort.values())

        assert list(verdicts) == list(cohort)
        assert sorted(left) == sorted(algorithm_1(cohort, trends, stage, settings.threshold))
        assert 1 <= len(left) <= len(halved)
        assert any(cohort[model][stage - 1] == top for model in left), "the best survives"
        assert all(verdicts[m].rival in cohort for m in verdicts if verdicts[m].stop)
        by_trend += left != halved
    assert by_trend > 300, "the cohorts must exercise the trends"


def test_trends_mined_from_curves_decide_alike() -> None:
    rng = np.random.default_rng(1)
    models, datasets = tuple(f"m{i}" for i in range(8)), tuple(f"d{i}" for i in range(6))
    for _ in range(100):
        scores = np.where(rng.random((8, 6, STAGES)) < 0.1, NAN, rng.random((8, 6, STAGES)))
        trends = mine_trends(Curves(models, datasets, scores, rng.random((8, 6))))
        cohort = {m: rng.random(2).tolist() for m in models}

        verdicts = decide_by_trends(cohort, trends, PolicyOptions(STAGES))

        left = [m for m, v in verdicts.items() if not v.stop]
        assert sorted(left) == sorted(algorithm_1(cohort, trends, 2, 0.0))


def test_nobody_is_stopped_after_the_last_stage() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        cohort, trends, _ = random_cohort(rng)
        last = PolicyOptions(len(next(iter(cohort.values()))))

        assert not any(v.stop for v in decide_by_trends(cohort, trends, last).values())


def test_without_trends_it_is_halving() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        cohort, _, settings = random_cohort(rng)

        assert fine_selection(cohort, None, settings) == halving(cohort, None, settings)


def test_a_diverged_candidate_neither_survives_nor_stops_the_best() -> None:
    trends = flat_trends(a=0.9, b=0.5)

    verdicts = decide_by_trends({"a": [NAN], "b": [0.4]}, trends, PolicyOptions(2))

    assert (verdicts["a"].stop, verdicts["b"].stop) == (True, False)


def flat_trends(**ends: float) -> Trends:
    """One trend for each model: whatever it scores, it ends here, give or take 0.1."""
    end = read_only(np.array([*ends.values()])[:, None, None])
    return Trends(tuple(ends), read_only(np.zeros_like(end)), end, end - 0.1, end + 0.1)


def test_a_verdict_tells_what_was_foretold_and_by_whom_it_was_beaten() -> None:
    """Four trail a: b and c are foretold less, d more, and e has no history."""
    cohort = {"a": [0.8], "b": [0.7], "c": [0.6], "d": [0.5], "e": [0.4]}

    got = decide_by_trends(cohort, flat_trends(a=0.6, b=0.5, c=0.59, d=0.9), PolicyOptions(2, 0.1))

    assert [m for m, v in got.items() if not v.stop] == ["a", "c"]
    assert (got["b"].predicted, got["b"].low, got["b"].high) == pytest.approx((0.5, 0.4, 0.6))
    assert got["b"].rival == "a"
    assert got["b"].reason == (
        "stands at 0.700 and is foretold 0.500; a stands at 0.800 and is foretold 0.600"
    )
    assert (got["e"].predicted, got["e"].rival) == (None, "c")


def test_the_rank_told_is_the_rank_on_validation() -> None:
    """C stands third on validation, whoever the trends stopped before it."""
    cohort = {"a": [0.8], "b": [0.7], "c": [0.6], "d": [0.5]}

    got = decide_by_trends(cohort, flat_trends(a=0.6, b=0.5, c=0.6, d=0.1), PolicyOptions(2))

    assert got["c"].reason == "rank 3 of 4 on validation"
