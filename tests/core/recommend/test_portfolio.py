"""Facts of the portfolio: the set whose best is expected to be highest."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from worlds import evidence

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.blend import blend
from mlflow_recall.core.recommend.portfolio import greedy, portfolio


def expected_best(draws: np.ndarray, chosen: tuple[int, ...]) -> float:
    return float(draws[list(chosen)].max(axis=0).mean())


def test_greedy_prefers_who_wins_elsewhere() -> None:
    """B is second best on average, but wins only where a wins; c wins where a fails."""
    draws = np.array([[9.0, 9.0, 0.0], [8.0, 8.0, 1.0], [0.0, 0.0, 7.0]])

    chosen, raised = greedy(draws, 3)

    assert chosen == [0, 2, 1]
    assert raised[1:] == pytest.approx([7 / 3, 0.0])


@pytest.mark.parametrize("seed", range(8))
def test_greedy_is_near_the_best_set_of_all(seed: int) -> None:
    """Submodular: never below 1 - 1/e of what the best set raises over the first one."""
    draws = np.random.default_rng(seed).normal(size=(7, 40))
    chosen, _ = greedy(draws, 3)
    got = expected_best(draws, tuple(chosen))
    base = expected_best(draws, (chosen[0],))
    sets = [c for c in itertools.combinations(range(7), 3) if chosen[0] in c]
    best = max(expected_best(draws, c) for c in sets)

    assert got - base >= (1 - 1 / math.e) * (best - base) - 1e-12


def test_greedy_finds_the_best_set_by_brute_force() -> None:
    """Each wins on a third of the draws, so that no set but theirs is as good."""
    draws = np.zeros((6, 30))
    for i, model in enumerate((1, 3, 5)):
        draws[model, i * 10 : (i + 1) * 10] = 1.0 + i
    sets = itertools.combinations(range(6), 3)

    chosen, _ = greedy(draws, 3)

    assert tuple(sorted(chosen)) == max(sets, key=lambda c: expected_best(draws, c))


@pytest.mark.parametrize("seed", range(4))
def test_the_first_pick_is_the_blends(seed: int) -> None:
    given = evidence(seed)

    got = portfolio(given)

    assert got.models[0] == blend(given).models[0]
    assert sorted(got.models) == sorted(given.matrix.models)
    assert set(got.parts) == {"prior", "s", "raises"}


def test_history_and_scores_that_disagree_are_both_among_the_first() -> None:
    """Two suppositions, two favorites."""
    values = np.linspace(1, 0, 12)[:, None] + np.zeros(4)
    matrix = PerformanceMatrix(tuple("abcdefghijkl"), tuple("wxyz"), values)
    given = Evidence(matrix, cluster_models(matrix, count=12), scores={"s": np.linspace(0, 1, 12)})

    assert {"a", "l"} <= set(portfolio(given).models[:2])


def test_the_same_evidence_gives_the_same_set_in_any_order() -> None:
    first = evidence(3)
    order = np.random.default_rng(1).permutation(12)
    moved = Evidence(
        first.matrix.select_models(np.array(first.matrix.models, dtype=object)[order]),
        first.clustering,
        scores={"s": first.scores["s"][order]},
        recorded_scores={"s": first.recorded_scores["s"][order]},
    )

    assert portfolio(moved).models == portfolio(first).models == portfolio(first).models


def test_models_of_which_nothing_is_known_come_last() -> None:
    first = evidence()
    values = first.matrix.values.copy()
    values[[3, 7]] = np.nan
    matrix = PerformanceMatrix(first.matrix.models, first.matrix.datasets, values)

    got = portfolio(Evidence(matrix, cluster_models(matrix, count=10)))

    assert set(got.models[-2:]) == {"m03", "m07"}


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (2, 5)])
def test_little_or_nothing_is_ranked_without_complaint(shape: tuple[int, int]) -> None:
    matrix = PerformanceMatrix(
        tuple("abc"[: shape[0]]), tuple("uvxyz"[: shape[1]]), np.full(shape, 0.5)
    )

    assert sorted(portfolio(Evidence(matrix, cluster_models(matrix))).models) == sorted(
        matrix.models
    )
