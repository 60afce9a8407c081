"""Facts of the blend: history and scores added on normal scores."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from worlds import evidence

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.blend import (
    DEFAULT_WEIGHTS,
    blend,
    blend_weights,
    fit_datasets,
    standardized_components,
)
from mlflow_recall.core.recommend.prior import prior
from mlflow_recall.core.standardize import normal_scores
from mlflow_recall.errors import ConfigError

NAN = math.nan


def test_without_past_scores_the_default_weighs_two_to_one() -> None:
    values = np.array([[0.9, 0.8], [0.5, 0.6], [0.1, 0.2]])
    matrix = PerformanceMatrix(tuple("abc"), ("x", "y"), values)
    given = Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=3),
        scores={"s": np.array([1.0, 2.0, 3.0])},
    )
    quantile = float(normal_scores(np.array([1.0, 2.0, 3.0]))[2])

    got = blend(given)

    assert got.models == ("a", "b", "c")
    assert DEFAULT_WEIGHTS[0] == 2 * DEFAULT_WEIGHTS[1]
    np.testing.assert_allclose(got.parts["prior"], 0.6 * quantile * np.array([1, 0, -1]), atol=1e-9)
    np.testing.assert_allclose(got.parts["s"], 0.3 * quantile * np.array([-1, 0, 1]), atol=1e-9)


def test_parts_add_up_to_the_score() -> None:
    got = blend(evidence())

    np.testing.assert_allclose(sum(got.parts.values()), got.scores)


def test_two_scores_share_the_weight_of_one() -> None:
    first = evidence()
    twice = Evidence(
        matrix=first.matrix,
        clustering=first.clustering,
        scores={"s": first.scores["s"], "t": first.scores["s"]},
    )
    once = Evidence(matrix=first.matrix, clustering=first.clustering, scores=first.scores)

    np.testing.assert_allclose(blend(twice).scores, blend(once).scores)


def test_without_scores_it_is_the_priors_order() -> None:
    first = evidence()

    assert (
        blend(Evidence(matrix=first.matrix, clustering=first.clustering)).models
        == prior(first).models
    )


def test_weights_move_from_the_default_as_the_history_grows() -> None:
    """Sixteen datasets weigh as much as the default."""
    assert blend_weights([]) == pytest.approx(DEFAULT_WEIGHTS)
    assert blend_weights([None, None]) == pytest.approx(DEFAULT_WEIGHTS)
    assert blend_weights([np.array([0.0, 0.9])] * 16) == pytest.approx((0.3, 0.6))
    assert blend_weights([np.array([-9.0, 0.3])] * 16) == pytest.approx((0.0, 0.3))


def test_a_telling_score_of_the_past_earns_weight_and_a_random_one_loses_it() -> None:
    telling = [fit.weights for fit in fit_datasets(evidence(noise=0.1))]
    random = [fit.weights for fit in fit_datasets(evidence(noise=30.0))]

    assert blend_weights(telling)[1] > blend_weights(random)[1]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_candidates_and_the_difficulty_of_datasets_do_not_matter(seed: int) -> None:
    first = evidence(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(first.matrix.models))
    easier = PerformanceMatrix(
        tuple(np.array(first.matrix.models, dtype=object)[order]),
        first.matrix.datasets,
        first.matrix.values[order] + rng.normal(size=len(first.matrix.datasets)),
    )
    moved = Evidence(
        matrix=easier,
        clustering=first.clustering,
        scores={"s": 7 + 2 * first.scores["s"][order]},
        recorded_scores={"s": first.recorded_scores["s"][order]},
    )

    assert blend(moved).models == blend(first).models
    np.testing.assert_allclose(blend(moved).scores, blend(first).scores, atol=1e-9)


def test_a_model_without_history_is_ranked_by_its_score_and_else_comes_last() -> None:
    first = evidence()
    values = first.matrix.values.copy()
    values[:2] = NAN
    score = first.scores["s"].copy()
    score[0], score[1] = 99.0, NAN
    matrix = PerformanceMatrix(first.matrix.models, first.matrix.datasets, values)

    got = blend(
        Evidence(matrix=matrix, clustering=cluster_models(matrix, count=10), scores={"s": score})
    )

    assert got.models[-1] == "m01"
    assert math.isnan(got.scores[-1])
    assert got.models.index("m00") < 6


def test_representatives_speak_for_their_cluster() -> None:
    values = np.array([[0.901, 0.501], [0.9, 0.5], [0.101, 0.401], [0.1, 0.4]])
    matrix = PerformanceMatrix(tuple("abcd"), ("x", "y"), values)
    given = Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=2),
        scores={"s": np.array([1, NAN, 2, NAN])},
    )

    np.testing.assert_array_equal(given.propagated_scores()["s"], [1, 1, 2, 2])


def test_a_score_that_is_the_same_for_all_says_nothing() -> None:
    first = evidence()
    flat = Evidence(
        matrix=first.matrix, clustering=first.clustering, scores={"s": np.full(12, 0.5)}
    )

    assert blend(flat).models == prior(first).models


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (1, 1), (3, 0)])
def test_little_or_nothing_is_ranked_without_complaint(shape: tuple[int, int]) -> None:
    matrix = PerformanceMatrix(
        tuple("abc"[: shape[0]]), tuple("xyz"[: shape[1]]), np.full(shape, 0.5)
    )

    assert sorted(
        blend(Evidence(matrix=matrix, clustering=cluster_models(matrix))).models
    ) == sorted(matrix.models)


def test_scores_of_another_shape_are_named() -> None:
    first = evidence()

    with pytest.raises(ConfigError, match=r"scores: expected s with shape \(12,\), got \(3,\)"):
        Evidence(matrix=first.matrix, clustering=first.clustering, scores={"s": np.zeros(3)})
    with pytest.raises(
        ConfigError, match=r"recorded_scores: expected s with shape \(12, 6\), got \(12, 5\)"
    ):
        Evidence(
            matrix=first.matrix,
            clustering=first.clustering,
            recorded_scores={"s": np.zeros((12, 5))},
        )


def test_a_held_out_dataset_is_the_target() -> None:
    first = evidence()

    before = first.hold_out(2)

    assert before.matrix.datasets == ("d0", "d1", "d3", "d4", "d5")
    np.testing.assert_array_equal(before.scores["s"], first.recorded_scores["s"][:, 2])
    np.testing.assert_array_equal(
        before.recorded_scores["s"], np.delete(first.recorded_scores["s"], 2, axis=1)
    )


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_fits_by_the_history_alone_are_the_same_all_at_once(missing: float) -> None:
    """With a recorded score that was never computed, datasets are fitted one by one."""
    rng = np.random.default_rng(3)
    given = evidence(seed=3)
    values = np.where(rng.random(given.matrix.values.shape) < missing, NAN, given.matrix.values)
    values[0] = NAN  # a model without history, with an estimate
    values[1, 1:] = NAN  # known from the first dataset alone
    matrix = PerformanceMatrix(given.matrix.models, given.matrix.datasets, values)
    fast = replace(
        given, matrix=matrix, scores={}, recorded_scores={}, estimated_z_scores={"m00": 0.3}
    )
    slow = replace(fast, recorded_scores={"s": np.full(values.shape, NAN)})

    for one, other in zip(fit_datasets(fast), fit_datasets(slow), strict=True):
        assert one.weights is other.weights is None
        np.testing.assert_allclose(one.residuals, other.residuals, atol=1e-9)


def slow_normal_scores(values: list[float]) -> list[float]:
    """The normal quantile of each value's place among those known, ties at their mean place."""
    known = [v for v in values if not math.isnan(v)]
    return [
        NAN
        if math.isnan(value)
        else NormalDist().inv_cdf(
            (sum(v < value for v in known) + sum(v == value for v in known) / 2) / len(known)
        )
        for value in values
    ]


def slow_fit(
    values: list[list[float]], recorded: list[list[list[float]]], j: int
) -> tuple[list[float] | None, list[float]] | None:
    """Least squares of one dataset's outcomes on the history by the others and its mean score."""
    models, datasets = range(len(values)), [d for d in range(len(values[0])) if d != j]
    z: list[list[float]] = [[] for _ in models]
    for d in datasets:
        known = [i for i in models if not math.isnan(values[i][d])]
        mean = sum(values[i][d] for i in known) / len(known)
        spread = math.sqrt(sum((values[i][d] - mean) ** 2 for i in known) / len(known))
        for i in known:
            z[i].append((values[i][d] - mean) / spread)
    history = slow_normal_scores([sum(row) / len(row) if row else NAN for row in z])
    scores = [[table[i][j] for i in models] for table in recorded]
    scores = [c for c in scores if len({v for v in c if not math.isnan(v)}) > 1]  # else no order
    outcome = slow_normal_scores([values[i][j] for i in models])
    known = [
        i
        for i in models
        if not math.isnan(outcome[i])
        and not all(math.isnan(column[i]) for column in (history, *scores))
    ]
    if len(known) < 2:
        return None
    scored = any(sum(not math.isnan(column[i]) for i in known) >= 5 for column in scores)
    normal = [slow_normal_scores(column) for column in scores]
    first = [0.0 if math.isnan(v) else v for v in history]
    second = [
        sum(0.0 if math.isnan(c[i]) else c[i] for c in normal) / max(1, len(normal)) for i in models
    ]
    x = np.column_stack([first, second][: 2 if scored else 1])[known]
    fitted = np.linalg.solve(x.T @ x, x.T @ np.array(outcome)[known])
    explained = np.column_stack([first, second])[:, : len(fitted)] @ fitted
    left = [outcome[i] - explained[i] if i in known else NAN for i in models]
    return (fitted.tolist() if scored else None), left


@drawn(seed=st.integers(0, 2**32 - 1), holes=st.sampled_from([0.0, 0.3]))
@settings(max_examples=30, deadline=None)
def test_fits_of_two_scores_are_their_slow_definition(seed: int, holes: float) -> None:
    """Several scores count as their mean, and five scored models teach weights."""
    rng = np.random.default_rng(seed)
    first = evidence(seed, models=8, datasets=5)
    recorded = {name: rng.normal(size=(8, 5)) + first.recorded_scores["s"] for name in ("s", "t")}
    values = first.matrix.values.copy()
    for table in (values, *recorded.values()):
        table[rng.random((8, 5)) < holes] = NAN
    values[:2], recorded["s"][:2] = rng.random((2, 5)), rng.random((2, 5))  # known in any case
    world = Evidence(
        matrix=PerformanceMatrix(first.matrix.models, first.matrix.datasets, values),
        clustering=first.clustering,
        scores={name: rng.normal(size=8) for name in recorded},
        recorded_scores=recorded,
    )

    got = fit_datasets(world)

    tables = [recorded["s"].tolist(), recorded["t"].tolist()]
    fits = [slow_fit(values.tolist(), tables, j) for j in range(5)]
    expected = [fit for fit in fits if fit is not None]
    assert len(got) == len(expected)
    for fit, (fitted, left) in zip(got, expected, strict=True):
        assert (fit.weights is None) == (fitted is None)
        if fit.weights is not None and fitted is not None:
            assert fit.weights == pytest.approx(fitted)
        np.testing.assert_allclose(fit.residuals, left, atol=1e-9)


@pytest.mark.parametrize(("scored", "teaches"), [(4, False), (5, True)])
def test_five_scored_models_are_the_least_that_teach_weights(scored: int, teaches: bool) -> None:
    """Two weights fitted to fewer would be those of the noise."""
    first = evidence()
    recorded = first.recorded_scores["s"].copy()
    recorded[scored:, 0] = NAN
    world = replace(first, recorded_scores={"s": recorded})

    assert (fit_datasets(world)[0].weights is not None) == teaches


@pytest.mark.parametrize(("measured", "fits"), [(1, 5), (2, 6)])
def test_a_dataset_with_two_measured_models_teaches_and_with_one_does_not(
    measured: int, fits: int
) -> None:
    """One outcome has no order."""
    first = evidence()
    values = first.matrix.values.copy()
    values[measured:, 0] = NAN
    matrix = PerformanceMatrix(first.matrix.models, first.matrix.datasets, values)

    assert len(fit_datasets(replace(first, matrix=matrix))) == fits
    assert len(fit_datasets(replace(first, matrix=matrix, scores={}, recorded_scores={}))) == fits


def test_the_score_of_a_model_is_the_mean_of_its_scores() -> None:
    """Normal scores of three are 0.967, 0 and -0.967; an unknown one counts as 0."""
    first = evidence(models=3)
    scores = {"s": np.array([3.0, 2.0, 1.0]), "t": np.array([1.0, 2.0, 3.0])}
    scores["u"] = np.array([NAN, 5.0, 4.0])
    quantile, half = NormalDist().inv_cdf(5 / 6), NormalDist().inv_cdf(3 / 4)

    got = standardized_components(
        Evidence(matrix=first.matrix, clustering=first.clustering, scores=scores)
    )

    assert got.mean_score == pytest.approx([0.0, half / 3, -half / 3], abs=1e-9)
    assert got.scores["s"] == pytest.approx([quantile, 0.0, -quantile], abs=1e-9)
