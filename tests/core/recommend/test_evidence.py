"""Facts of evidence and rankings: propagated scores, held-out datasets, and order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from worlds import two_kinds

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence, Ranking
from mlflow_recall.errors import ConfigError

NAN = math.nan
#: rows are constants, so that similarities are 1 - difference; e was never measured
VALUES = np.array([0.9, 0.8, 0.5, 0.1, NAN])[:, None] + np.zeros(3)
MATRIX = PerformanceMatrix(tuple("abcde"), tuple("xyz"), VALUES)
#: {a, b} led by a, c and d alone
CLUSTERS = cluster_models(MATRIX, cut=0.15)


def test_similarity_is_one_minus_the_mean_difference() -> None:
    got = Evidence(matrix=MATRIX, clustering=CLUSTERS).similarity(["a", "d"])

    np.testing.assert_allclose(got, [[1.0, 0.2], [0.9, 0.3], [0.6, 0.6], [0.2, 1.0], [0.0, 0.0]])


def test_a_difference_above_one_is_no_similarity_at_all() -> None:
    matrix = PerformanceMatrix(("a", "b"), ("x",), np.array([[0.0], [3.0]]))

    got = Evidence(matrix=matrix, clustering=cluster_models(matrix)).similarity(["a"])

    np.testing.assert_array_equal(got, [[1.0], [0.0]])


def test_members_have_their_representatives_proxy_and_others_the_weighted_mean() -> None:
    """C is as near to a as to d: the mean of 3 and 7. Without history there is nothing to carry."""
    got = Evidence(
        matrix=MATRIX, clustering=CLUSTERS, representative_scores={"a": 3.0, "d": 7.0}
    ).propagated_representative_scores()

    np.testing.assert_allclose(got, [3, 3, 5, 7, NAN])


def test_one_proxy_is_carried_to_everyone_with_history() -> None:
    got = Evidence(
        matrix=MATRIX, clustering=CLUSTERS, representative_scores={"a": -2.0}
    ).propagated_representative_scores()

    np.testing.assert_allclose(got, [-2, -2, -2, -2, NAN])


@pytest.mark.parametrize("proxies", [{}, {"nobody": 1.0}, {"e": 1.0}, {"a": NAN}])
def test_without_a_usable_proxy_nothing_is_known(proxies: dict[str, float]) -> None:
    """Usable is a finite proxy of a model that similarities are known to."""
    assert np.isnan(
        Evidence(
            matrix=MATRIX, clustering=CLUSTERS, representative_scores=proxies
        ).propagated_representative_scores()
    ).all()


@pytest.mark.parametrize("useless", [{"nobody": 9.0}, {"e": 9.0}, {"c": NAN}])
def test_an_unusable_proxy_does_not_spoil_the_others(useless: dict[str, float]) -> None:
    got = Evidence(
        matrix=MATRIX, clustering=CLUSTERS, representative_scores={"a": 3.0, "d": 7.0, **useless}
    ).propagated_representative_scores()

    np.testing.assert_allclose(got, [3, 3, 5, 7, NAN])


@pytest.mark.parametrize("wanted", ["edcba", "dca", "acd", "c"])
def test_distances_follow_the_names_not_the_places(wanted: str) -> None:
    """Candidates may be filtered or sorted otherwise than the models that were clustered."""
    got = Evidence(
        matrix=MATRIX.select_models(wanted),
        clustering=CLUSTERS,
        representative_scores={"a": 3.0, "d": 7.0},
    ).propagated_representative_scores()

    expected = dict(zip("abcde", [3, 3, 5, 7, NAN], strict=True))
    np.testing.assert_allclose(got, [expected[name] for name in wanted])


def test_a_model_measured_after_the_clustering_has_no_similarity() -> None:
    grown = PerformanceMatrix(tuple("abcdef"), tuple("xyz"), np.vstack([VALUES, np.ones(3)]))

    got = Evidence(
        matrix=grown, clustering=CLUSTERS, representative_scores={"a": 3.0, "d": 7.0}
    ).propagated_representative_scores()

    np.testing.assert_allclose(got, [3, 3, 5, 7, NAN, NAN])


def test_rankings_sort_from_high_to_low_nan_last_ties_by_name() -> None:
    scores = np.array([NAN, 0.1, 0.7, 0.1, NAN])

    got = Ranking.from_scores(tuple("edcba"), scores, {"part": np.arange(5.0)})

    assert got.models == tuple("cbdae")
    np.testing.assert_array_equal(got.scores, [0.7, 0.1, 0.1, NAN, NAN])
    assert got.parts["part"].tolist() == [2, 3, 1, 4, 0]


def test_nobody_is_ranked_without_complaint() -> None:
    assert Ranking.from_scores((), np.empty(0), {"part": np.empty(0)}).models == ()


def test_the_held_out_dataset_is_the_target_of_the_label_distances() -> None:
    distance = np.arange(81.0).reshape(9, 9)
    blind = two_kinds(named=False)
    known = Evidence(matrix=blind.matrix, clustering=blind.clustering, label_distance=distance)

    got = known.hold_out(3).label_distance

    order = [0, 1, 2, 4, 5, 6, 7, 3]
    np.testing.assert_array_equal(got, distance[np.ix_(order, order)])


def test_distances_of_another_shape_are_refused() -> None:
    blind = two_kinds(named=False)

    with pytest.raises(ConfigError, match=r"label_distance: expected shape \(9, 9\), got \(8, 8\)"):
        Evidence(matrix=blind.matrix, clustering=blind.clustering, label_distance=np.zeros((8, 8)))
