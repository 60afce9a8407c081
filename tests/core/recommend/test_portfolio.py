"""Facts of the portfolio: the set whose best is expected to be highest."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_outcomes import Taught, chances, moments
from worlds import evidence

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.blend import DatasetFit, blend
from mlflow_recall.core.recommend.portfolio import choose_set, portfolio, sample_outcomes


def expected_best(samples: np.ndarray, chosen: tuple[int, ...]) -> float:
    return float(samples[list(chosen)].max(axis=0).mean())


def test_a_model_that_wins_elsewhere_is_chosen_before_a_better_one() -> None:
    """The second row is better on average, but the third wins where the first fails."""
    samples = np.array([[9.0, 9.0, 0.0], [8.0, 8.0, 1.0], [0.0, 0.0, 7.0]])

    chosen, raises = choose_set(samples, 3)

    assert chosen == [0, 2, 1]
    assert raises[0] == pytest.approx(samples[0].mean() - samples.mean())
    assert raises[1:] == pytest.approx([7 / 3, 0.0])


@pytest.mark.parametrize("seed", range(8))
def test_the_set_is_near_the_best_set_of_all(seed: int) -> None:
    """Submodular: never below 1 - 1/e of what the best set raises over the first one."""
    samples = np.random.default_rng(seed).normal(size=(7, 40))
    chosen, _ = choose_set(samples, 3)
    got = expected_best(samples, tuple(chosen))
    base = expected_best(samples, (chosen[0],))
    sets = [c for c in itertools.combinations(range(7), 3) if chosen[0] in c]
    best = max(expected_best(samples, c) for c in sets)

    assert got - base >= (1 - 1 / math.e) * (best - base) - 1e-12


def test_the_set_is_the_best_of_all_where_no_other_is_as_good() -> None:
    """Each of three wins on a third of the samples, so that no other set is as good."""
    samples = np.zeros((6, 30))
    for i, model in enumerate((2, 0, 4)):
        samples[model, i * 10 : (i + 1) * 10] = 1.0 + i
    sets = itertools.combinations(range(6), 3)

    chosen, _ = choose_set(samples, 3)

    assert tuple(sorted(chosen)) == max(sets, key=lambda c: expected_best(samples, c))


@pytest.mark.parametrize("seed", range(4))
def test_the_first_pick_is_the_blends(seed: int) -> None:
    world = evidence(seed)

    got = portfolio(world)

    assert got.models[0] == blend(world).models[0]
    assert sorted(got.models) == sorted(world.matrix.models)
    assert set(got.parts) == {"prior", "s", "raises"}


def test_history_and_scores_that_disagree_are_both_among_the_first() -> None:
    """Two scenarios, two favorites."""
    values = np.linspace(1, 0, 12)[:, None] + np.zeros(4)
    matrix = PerformanceMatrix(tuple("abcdefghijkl"), tuple("wxyz"), values)
    world = Evidence(
        matrix=matrix,
        clustering=cluster_models(matrix, count=12),
        scores={"s": np.linspace(0, 1, 12)},
    )

    assert {"a", "l"} <= set(portfolio(world).models[:2])


def test_the_same_evidence_gives_the_same_set_in_any_order() -> None:
    first = evidence(3)
    order = np.random.default_rng(1).permutation(12)
    moved = Evidence(
        matrix=first.matrix.select_models(np.array(first.matrix.models, dtype=object)[order]),
        clustering=first.clustering,
        scores={"s": first.scores["s"][order]},
        recorded_scores={"s": first.recorded_scores["s"][order]},
    )

    one, two, other = portfolio(first), portfolio(moved), portfolio(first, seed=1)

    assert one.models == two.models == portfolio(first).models
    np.testing.assert_allclose(one.parts["raises"], two.parts["raises"])
    assert (one.parts["raises"] != other.parts["raises"]).any()
    assert other.models[0] == one.models[0]  # the blend's, whatever was sampled


def test_models_of_which_nothing_is_known_come_last() -> None:
    first = evidence()
    values = first.matrix.values.copy()
    values[[3, 7]] = np.nan
    matrix = PerformanceMatrix(first.matrix.models, first.matrix.datasets, values)

    got = portfolio(Evidence(matrix=matrix, clustering=cluster_models(matrix, count=10)))

    assert set(got.models[-2:]) == {"m03", "m07"}


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (2, 5)])
def test_the_portfolio_ranks_little_or_nothing(shape: tuple[int, int]) -> None:
    matrix = PerformanceMatrix(
        tuple("abc"[: shape[0]]), tuple("uvxyz"[: shape[1]]), np.full(shape, 0.5)
    )

    assert sorted(
        portfolio(Evidence(matrix=matrix, clustering=cluster_models(matrix))).models
    ) == sorted(matrix.models)


# --- the outcomes that the set is chosen on -----------------------------------------------------


def sampled(columns: FloatArray, datasets: list[Taught], seeds: int = 20) -> FloatArray:
    """Joint outcomes by several seeds, side by side; the models' rows stand in reverse order."""
    fits = [
        DatasetFit(
            None if dataset.weights is None else np.array(dataset.weights),
            np.array(dataset.errors)[::-1],
        )
        for dataset in datasets
    ]
    rows = np.arange(len(columns))[::-1]
    return np.hstack(
        [sample_outcomes(columns, fits, rows, np.random.default_rng(s)) for s in range(seeds)]
    )


@given(seed=st.integers(0, 2**32 - 1), scored=st.booleans(), datasets=st.integers(0, 6))
@settings(max_examples=25, deadline=None)
def test_outcomes_have_the_mean_and_covariance_of_their_definition(
    seed: int, scored: bool, datasets: int
) -> None:
    """Within five standard errors of 24,000 samples, in every direction."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(4, 2)) * [1.0, float(scored)]
    recorded = []
    for _ in range(datasets):
        weights = tuple(rng.normal(size=2).tolist())
        errors = 2.0 * rng.normal(size=4)
        errors[rng.random(4) < 0.2] = math.nan
        recorded.append(Taught(weights if rng.random() < 0.8 else None, errors.tolist()))

    got = sampled(columns, recorded)

    mean, covariance = moments(columns.tolist(), recorded)
    size = got.shape[1]
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(got.mean(axis=1) - mean) < 5 * spread / math.sqrt(size)).all()
    sampled_covariance = np.cov(got)
    error = np.sqrt((np.outer(spread**2, spread**2) + np.square(covariance)) / size)
    assert (np.abs(sampled_covariance - covariance) < 5 * 1.3 * error).all()


@pytest.mark.parametrize("angle", [-60, 10, 35, 55, 80, 170])
def test_recorded_datasets_vote_for_the_scenario_nearest_to_their_weights(angle: float) -> None:
    """Of thirty that agree, eleven votes of thirteen; columns this large show the scenario."""
    radians = math.radians(angle)
    recorded = [Taught((0.3 * math.cos(radians), 0.3 * math.sin(radians)), [0.0, 0.0])] * 30
    favored = 0 if angle < 22.5 else 2 if angle > 67.5 else 1

    got = sampled(np.array([[1e6, 0.0], [0.0, 1e6]]), recorded)

    shares = [np.mean((got > 1e5).all(axis=0) if k == 1 else got[k // 2] > 6e5) for k in range(3)]
    expected = np.full(3, 1 / 13)
    expected[favored] = 11 / 13
    assert chances(recorded, has_scores=True) == pytest.approx(expected)
    assert shares == pytest.approx(expected, abs=0.012)


def test_datasets_without_scores_of_their_own_do_not_vote() -> None:
    recorded = [Taught(None, [0.0, 0.0])] * 30

    got = sampled(np.array([[1e6, 0.0], [0.0, 1e6]]), recorded)

    assert np.mean(got[0] > 6e5) == pytest.approx(1 / 3, abs=0.015)
    assert np.mean(got[1] > 6e5) == pytest.approx(1 / 3, abs=0.015)


def test_half_of_the_variance_of_errors_is_shared_by_the_models_of_a_dataset() -> None:
    """Two models that err together by plus or minus 1 are correlated by one half, not by one."""
    recorded = [Taught(None, [1.0, 1.0]), Taught(None, [-1.0, -1.0])]

    got = sampled(np.zeros((2, 2)), recorded)

    assert np.cov(got) == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]), abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_the_second_pick_is_good_where_the_first_is_not(seed: int) -> None:
    """The models c and d are up where the others are down, so c adds more to a than b does."""
    rng = np.random.default_rng(seed)
    kind, swing = np.array([1.0, 1, -1, -1, 1, 1]), np.array([1.0, -1.0] * 6)
    values = np.linspace(0.5, 0.0, 6)[:, None] + 0.2 * kind[:, None] * swing
    values += 0.02 * rng.normal(size=values.shape)
    matrix = PerformanceMatrix(tuple("abcdef"), tuple("abcdefghijkl"), values)
    world = Evidence(matrix=matrix, clustering=cluster_models(matrix, count=6))

    assert blend(world).models == tuple("abcdef")
    assert portfolio(world).models[:3] == ("a", "c", "b")


def test_ranks_score_their_reciprocal() -> None:
    """Scores fall with the rank, so that sorting by them keeps the order."""
    got = portfolio(evidence(models=5))

    assert got.scores == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_twenty_four_are_chosen_as_a_set_and_the_others_follow_the_blend() -> None:
    """Nobody trains more than that, and the order is that of expectation."""
    world = evidence(models=30)

    got = portfolio(world)

    raises = got.parts["raises"]
    assert np.isnan(raises).tolist() == [False] * 24 + [True] * 6
    assert (np.diff(raises[1:24]) <= 1e-12).all()  # submodular: each adds no more than the last
    rest = [model for model in blend(world).models if model not in got.models[:24]]
    assert list(got.models[24:]) == rest
    assert list(got.models[:24]) != [m for m in blend(world).models if m in got.models[:24]]
