"""Facts of fine-selection: Algorithm 1, and what it never does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray, read_only
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.policies.fine_selection import (
    FineSelectionOptions,
    decide_by_trends,
    fine_selection,
)
from mlflow_recall.core.policies.halving import halving
from mlflow_recall.core.policies.trends import Trends, mine_trends

NAN = math.nan
STAGES = 3
Scores = dict[str, list[float]]


def slow_prediction(trends: Trends, model: str, stage: int, score: float) -> float | None:
    """The mean final score of the trend whose mean validation score is nearest."""
    if model not in trends.models:
        return None
    row = trends.models.index(model)
    nearest, predicted = math.inf, None
    for k in range(trends.centers.shape[2]):
        distance = abs(trends.centers[row, stage - 1, k] - score)
        if distance < nearest:  # NaN is never nearer
            nearest, predicted = distance, float(trends.final_scores[row, stage - 1, k])
    return predicted


def algorithm_1(cohort: Scores, trends: Trends, stage: int, threshold: float) -> list[str]:
    """The models that are left when one candidate after the other is removed."""
    order = list(cohort)
    now = {model: cohort[model][stage - 1] for model in order}
    predicted = {model: slow_prediction(trends, model, stage, now[model]) for model in order}
    left = list(order)
    for model in sorted(order, key=lambda m: now[m]):  # from the worst to the best
        own = predicted[model]
        rivals = [p for r in left if now[r] > now[model] and (p := predicted[r]) is not None]
        if own is not None and rivals and max(rivals) - own > threshold * abs(max(rivals)):
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
    centers, final_scores = (np.where(unused, NAN, a) for a in (centers, sixteenths()))
    names = tuple(f"m{i}" for i in range(models))
    return Trends(
        models=names,
        centers=centers,
        final_scores=final_scores,
        low_scores=final_scores - 0.1,
        high_scores=final_scores + 0.1,
    )


def random_cohort(rng: np.random.Generator) -> tuple[Scores, Trends, FineSelectionOptions]:
    n = int(rng.integers(1, 12))
    stage = int(rng.integers(1, STAGES + 1))
    scores = rng.integers(0, int(rng.choice([2, 5, 17])), (n, stage)) / 16
    names = rng.permutation([f"m{i}" for i in range(n)])
    cohort = dict(zip(map(str, names), scores.tolist(), strict=True))
    threshold = float(rng.choice([0.0, 1 / 8, 1 / 2, 15 / 16]))
    return cohort, random_trends(rng, max(1, n - 1)), FineSelectionOptions(STAGES + 1, threshold)


def test_it_is_algorithm_1_on_thousands_of_cohorts() -> None:
    rng = np.random.default_rng(0)
    by_trend = 0
    for _ in range(3000):
        cohort, trends, options = random_cohort(rng)
        stage = len(next(iter(cohort.values())))
        verdicts = decide_by_trends(cohort, trends, options)
        left = [model for model, v in verdicts.items() if not v.stop]
        halved = [model for model, v in halving(cohort, None, options).items() if not v.stop]
        top = max(s[stage - 1] for s in cohort.values())

        assert list(verdicts) == list(cohort)
        assert sorted(left) == sorted(algorithm_1(cohort, trends, stage, options.threshold))
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
        trends = mine_trends(
            Curves(models=models, datasets=datasets, scores=scores, final_scores=rng.random((8, 6)))
        )
        cohort = {m: rng.random(2).tolist() for m in models}

        verdicts = decide_by_trends(cohort, trends, FineSelectionOptions(STAGES))

        left = [m for m, v in verdicts.items() if not v.stop]
        assert sorted(left) == sorted(algorithm_1(cohort, trends, 2, 0.0))


def test_nobody_is_stopped_after_the_last_stage() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        cohort, trends, _ = random_cohort(rng)
        last = FineSelectionOptions(len(next(iter(cohort.values()))))

        assert not any(v.stop for v in decide_by_trends(cohort, trends, last).values())


def test_without_trends_it_is_halving() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        cohort, _, options = random_cohort(rng)

        assert fine_selection(cohort, None, options) == halving(cohort, None, options)


def test_a_diverged_candidate_is_stopped_and_stops_nobody() -> None:
    trends = flat_trends(a=0.9, b=0.5)

    verdicts = decide_by_trends({"a": [NAN], "b": [0.4]}, trends, FineSelectionOptions(2))

    assert (verdicts["a"].stop, verdicts["b"].stop) == (True, False)


def flat_trends(**final_scores: float) -> Trends:
    """One trend for each model: this final score whatever it scores now, give or take 0.1."""
    predicted = read_only(np.array([*final_scores.values()])[:, None, None])
    centers = read_only(np.zeros_like(predicted))
    return Trends(
        models=tuple(final_scores),
        centers=centers,
        final_scores=predicted,
        low_scores=predicted - 0.1,
        high_scores=predicted + 0.1,
    )


def test_a_verdict_holds_the_prediction_and_the_rival() -> None:
    """Four trail a: less is predicted of b and c, more of d, and e has no history."""
    cohort = {"a": [0.8], "b": [0.7], "c": [0.6], "d": [0.5], "e": [0.4]}

    verdicts = decide_by_trends(
        cohort, flat_trends(a=0.6, b=0.5, c=0.59, d=0.9), FineSelectionOptions(2, 0.1)
    )

    assert [m for m, v in verdicts.items() if not v.stop] == ["a", "c"]
    assert (verdicts["b"].predicted, verdicts["b"].low, verdicts["b"].high) == pytest.approx(
        (0.5, 0.4, 0.6)
    )
    assert verdicts["b"].rival == "a"
    assert verdicts["b"].reason == (
        "validation 0.700, predicted final 0.500; a: validation 0.800, predicted final 0.600"
    )
    assert (verdicts["e"].predicted, verdicts["e"].rival) == (None, "c")


def test_the_rank_in_a_reason_is_the_rank_on_validation() -> None:
    """The model c is third on validation, whoever the trends stopped before it."""
    cohort = {"a": [0.8], "b": [0.7], "c": [0.6], "d": [0.5]}

    verdicts = decide_by_trends(
        cohort, flat_trends(a=0.6, b=0.5, c=0.6, d=0.1), FineSelectionOptions(2)
    )

    assert verdicts["c"].reason == "rank 3 of 4 on validation"
