"""Facts of the prior: the history alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence
from mlflow_recall.core.recommend.prior import prior, prior_rank
from mlflow_recall.errors import ConfigError

NAN = math.nan


def evidence(values: object, names: str) -> Evidence:
    array = np.array(values, dtype=np.float64)
    matrix = PerformanceMatrix(tuple(names), tuple(map(str, range(array.shape[1]))), array)
    return Evidence(matrix=matrix, clustering=cluster_models(matrix))


def test_models_are_ranked_by_mean_z_score() -> None:
    """The narrow datasets weigh as much as the wide one, on which b is far behind."""
    z = math.sqrt(3 / 2)
    got = prior(evidence([[0.9, 0.50, 0.70], [0.1, 0.52, 0.72], [0.5, 0.51, 0.71]], "abc"))

    assert got.models == ("b", "c", "a")
    assert got.scores == pytest.approx([z / 3, 0.0, -z / 3])
    np.testing.assert_array_equal(got.parts["prior"], got.scores)


def test_missing_cells_are_neither_praise_nor_blame() -> None:
    """B won its only dataset and c lost its own; a is in the middle of both."""
    got = prior(evidence([[0.5, 0.5], [0.9, NAN], [NAN, 0.1]], "abc"))

    assert got.models == ("b", "a", "c")
    assert got.scores == pytest.approx([1.0, 0.0, -1.0])


def test_models_without_history_come_last() -> None:
    got = prior(evidence([[NAN, NAN], [0.1, 0.2], [0.3, 0.4]], "abc"))

    assert got.models == ("c", "b", "a")
    assert math.isnan(got.scores[-1])


def test_equals_are_ranked_by_name() -> None:
    assert prior(evidence(np.full((3, 2), 0.1), "cab")).models == ("a", "b", "c")


@pytest.mark.parametrize("shape", [(0, 0), (0, 2)])
def test_an_empty_zoo_has_an_empty_ranking(shape: tuple[int, int]) -> None:
    assert prior(evidence(np.empty(shape), "")).models == ()


def test_mean_places_by_hand() -> None:
    """Places from below: a has 5/6, 1/2 and 3/4, c lost its only two; one collapse is one place."""
    given = evidence([[0.9, 0.5, 0.2], [0.8, 0.6, NAN], [0.0, 0.4, 0.1], [NAN, NAN, NAN]], "abcd")

    got = prior_rank(given)

    assert got.models == ("a", "b", "c", "d")
    assert got.scores[:3] == pytest.approx([(5 / 6 + 1 / 2 + 3 / 4) / 3, 2 / 3, 7 / 36])
    assert math.isnan(got.scores[3])


def test_an_unknown_recommender_names_the_known_ones() -> None:
    assert RECOMMENDERS["prior"].rank is prior
    with pytest.raises(
        ConfigError,
        match="unknown recommender 'luck': expected one of blend, factorization, interleaved, ",
    ):
        RECOMMENDERS["luck"]
