"""Facts of clustering: which models are together, and what the paper's own matrices give."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import (
    candidate_counts,
    cluster_by_id,
    cluster_models,
    cluster_prefix,
    impute_scores,
    kmeans_labels,
    pooled_silhouette,
    principal_coordinates,
    silhouette,
    silhouette_paper,
)
from mlflow_recall.core.clusters.similarity import INCOMPARABLE, released_difference
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import ConfigError

NAN = math.nan
_RECORDS = os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data")
PAPER = Path(_RECORDS) / "two_phase_paper" / "matrix.csv"


def matrix(values: object) -> PerformanceMatrix:
    array = np.array(values, dtype=np.float64)
    models, datasets = array.shape
    return PerformanceMatrix(
        tuple(f"m{i}" for i in range(models)), tuple(f"d{i}" for i in range(datasets)), array
    )


def families(seed: int = 0, holes: float = 0.0) -> PerformanceMatrix:
    """Three families of models, the third with one member: m0-m3, m4-m6, m7."""
    rng = np.random.default_rng(seed)
    values = rng.random((3, 8))[[0, 0, 0, 0, 1, 1, 1, 2]] + rng.normal(scale=0.005, size=(8, 8))
    return matrix(np.where(rng.random(values.shape) < holes, NAN, values))


def groups(got: tuple[tuple[str, ...], ...]) -> set[frozenset[str]]:
    return {frozenset(members) for members in got}


THREE = groups((("m0", "m1", "m2", "m3"), ("m4", "m5", "m6"), ("m7",)))


@pytest.mark.skipif(not PAPER.exists(), reason=f"no records at {PAPER.parent}")
@pytest.mark.parametrize(
    ("metric", "cut", "shape", "clusters", "members", "singletons", "reported"),
    [
        ("acc_NLP", 0.09, (39, 21), 8, 31, 8, 0.536),
        ("acc_CV", 0.03, (30, 6), 5, 29, 1, 0.778),
    ],
)
def test_the_papers_matrices_give_the_papers_clusters(
    metric: str,
    cut: float,
    shape: tuple[int, int],
    clusters: int,
    members: int,
    singletons: int,
    reported: float,
) -> None:
    cells = pd.read_csv(PAPER).query("metric == @metric")
    table = cells.pivot_table(index="model", columns="dataset", values="value")
    history = PerformanceMatrix(tuple(table.index), tuple(table.columns), table.to_numpy())

    got = cluster_models(history, cut=cut)
    sizes = [len(c.members) for c in got.clusters]

    assert history.values.shape == shape
    assert sum(s > 1 for s in sizes) == clusters
    assert sum(s for s in sizes if s > 1) == members
    assert sizes.count(1) == singletons
    assert got.silhouette_paper == pytest.approx(reported, abs=5e-4)


@pytest.mark.parametrize("holes", [0.0, 0.15])
@pytest.mark.parametrize("options", [{}, {"count": 3}, {"cut": 0.1}])
def test_families_are_found_in_the_tree(options: dict[str, Any], holes: float) -> None:
    got = cluster_models(families(holes=holes), **options)

    assert groups(tuple(c.members for c in got.clusters)) == THREE
    assert got.linkage is not None


@pytest.mark.parametrize("options", [{}, {"count": 3}])
def test_families_are_found_by_kmeans(options: dict[str, Any]) -> None:
    got = cluster_models(families(), method="kmeans", **options)

    assert groups(tuple(c.members for c in got.clusters)) == THREE
    assert got.linkage is None


@pytest.mark.parametrize("seed", range(6))
def test_kmeans_finds_families_where_cells_are_missing(seed: int) -> None:
    """Filled with the mean of a dataset, models with the same gaps would look alike."""
    got = cluster_models(families(seed, holes=0.15), method="kmeans", count=3)

    assert groups(tuple(c.members for c in got.clusters)) == THREE


def test_the_representative_is_the_strongest_and_clusters_are_numbered_by_it() -> None:
    """Probed are the representatives of clusters with two members or more."""
    low, high = np.full(4, 0.3), np.full(4, 0.8)
    got = cluster_models(
        matrix([low, low + 0.01, high, high + 0.02, low - 0.2]), cut=0.05, prefix="text"
    )

    assert [(c.id, c.members, c.representative) for c in got.clusters] == [
        ("text-1", ("m3", "m2"), "m3"),
        ("text-2", ("m1", "m0"), "m1"),
        ("text-3", ("m4",), "m4"),
    ]
    assert got.representatives == ("m3", "m1")
    assert [c.is_singleton for c in got.clusters] == [False, False, True]
    assert got.cluster_of("m0") is got.clusters[1]
    assert got.cluster_of("nobody") is None


@pytest.mark.parametrize(
    ("modality", "metric", "expected"),
    [
        ("text", "primary", "text-primary-1"),
        ("text", "f1", "text-1"),
        ("", "primary", "primary-1"),
        ("", "f1", "1"),
    ],
)
def test_clusters_by_the_primary_metrics_say_so(modality: str, metric: str, expected: str) -> None:
    prefix = cluster_prefix(modality, metric)

    (cluster,) = cluster_models(matrix([np.zeros(3)]), prefix=prefix).clusters

    assert cluster.id == expected


def test_the_representative_of_kmeans_is_the_strongest_too() -> None:
    """m4 and m5 miss a cell, which is filled for k-means only."""
    low, high = np.full(4, 0.3), np.full(4, 0.8)
    lower, higher = low - 0.02, high + 0.1
    lower[1] = higher[0] = NAN
    history = matrix([low, low + 0.01, high, high + 0.01, lower, higher])

    got = cluster_models(history, method="kmeans", count=2, prefix="text")

    assert [(c.id, c.members) for c in got.clusters] == [
        ("text-1", ("m5", "m3", "m2")),
        ("text-2", ("m1", "m0", "m4")),
    ]
    assert got.representatives == ("m5", "m1")


@pytest.mark.parametrize("options", [{}, {"count": 5}])
def test_kmeans_is_the_same_each_time_for_a_seed(options: dict[str, Any]) -> None:
    values = np.random.default_rng(2).random((25, 6))
    values[::4, 1] = NAN
    first = cluster_models(matrix(values), method="kmeans", seed=11, **options)
    cluster_models(matrix(values), method="kmeans", seed=12, **options)
    second = cluster_models(matrix(values), method="kmeans", seed=11, **options)

    assert first.clusters == second.clusters
    assert 1 < len(first.clusters) < 25
    assert options.get("count", len(first.clusters)) == len(first.clusters)


def test_another_seed_may_group_otherwise() -> None:
    """On noise there is no best grouping, so the seed is really passed on."""
    history = matrix(np.random.default_rng(2).random((60, 8)))

    distinct = {
        cluster_models(history, method="kmeans", count=20, seed=s).clusters for s in range(4)
    }

    assert len(distinct) > 1


def test_a_model_met_only_by_a_hard_dataset_can_still_represent() -> None:
    """m2 is the best on the one dataset that it knows, though its mean is the lowest."""
    got = cluster_models(matrix([[0.9, 0.2], [0.8, 0.1], [NAN, 0.3]]), cut=0.5)

    assert [c.members for c in got.clusters] == [("m2", "m0", "m1")]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_the_order_of_models_and_datasets_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = families(seed, holes=0.1)
    models, datasets = rng.permutation(8), rng.permutation(8)
    shuffled = PerformanceMatrix(
        tuple(first.models[i] for i in models),
        tuple(first.datasets[i] for i in datasets),
        first.values[np.ix_(models, datasets)],
    )

    one, two = cluster_models(first), cluster_models(shuffled)

    assert [(c.id, c.members) for c in one.clusters] == [(c.id, c.members) for c in two.clusters]
    assert one.silhouette == pytest.approx(two.silhouette)
    np.testing.assert_allclose(one.distance[np.ix_(models, models)], two.distance)


def test_models_without_history_belong_to_no_cluster() -> None:
    first = families()
    got = cluster_models(first.select_models([*first.models[:3], "new", *first.models[3:]]))

    assert got.cluster_of("new") is None
    assert got.distance.shape == (8, 8)
    assert groups(tuple(c.members for c in got.clusters)) == THREE


def test_models_never_measured_together_do_not_join() -> None:
    got = cluster_models(matrix([[0.5, NAN], [0.5, NAN], [NAN, 0.5], [NAN, 0.5]]), cut=0.5)

    assert groups(tuple(c.members for c in got.clusters)) == groups((("m0", "m1"), ("m2", "m3")))
    assert got.distance.max() == INCOMPARABLE


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0)])
def test_no_history_makes_no_clusters(shape: tuple[int, int], method: str) -> None:
    got = cluster_models(matrix(np.empty(shape)), method=method)

    assert (got.clusters, got.representatives) == ((), ())
    assert math.isnan(got.silhouette)
    assert math.isnan(got.silhouette_paper)


def test_one_model_is_a_cluster_of_its_own() -> None:
    got = cluster_models(matrix([[0.5, 0.6]]), cut=0.1)

    assert [c.members for c in got.clusters] == [("m0",)]


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
@pytest.mark.parametrize("models", [3, 4, 6])
def test_models_that_are_all_alike_are_one_cluster(models: int, method: str) -> None:
    got = cluster_models(matrix(np.full((models, 3), 0.5)), method=method)

    assert len(got.clusters) == 1


def test_kmeans_copes_with_a_dataset_that_nobody_was_measured_on() -> None:
    """Taking some models of a larger history leaves such columns behind."""
    got = cluster_models(matrix([[0.1, NAN], [0.11, NAN], [0.9, NAN]]), method="kmeans", count=2)

    assert groups(tuple(c.members for c in got.clusters)) == groups((("m0", "m1"), ("m2",)))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_filling_keeps_what_was_measured_and_stays_in_its_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((7, 5)) < 0.5, NAN, rng.random((7, 5)))
    values[0, :4] = 0.5  # a dataset that nobody was measured on may remain: the last

    points = impute_scores(values)
    known = values[:, ~np.isnan(values).all(axis=0)]

    np.testing.assert_array_equal(points[~np.isnan(known)], known[~np.isnan(known)])
    assert (points >= np.nanmin(known, axis=0) - 1e-12).all()
    assert (points <= np.nanmax(known, axis=0) + 1e-12).all()


def test_a_gap_is_filled_by_those_who_behave_alike() -> None:
    """m2 equals m0 where both were measured, so it gets m0's score and not the mean."""
    points = impute_scores(np.array([[0.1, 0.2, 0.9], [0.7, 0.8, 0.3], [0.1, 0.2, NAN]]))

    assert points[2, 2] == pytest.approx(0.9)


def test_a_gap_is_filled_by_the_two_nearest_weighted_by_their_nearness() -> None:
    """On x the others are 0.1, 0.2 and 0.3 away: (0.9 / 1 + 0.3 / 2) / (1 / 1 + 1 / 2) = 0.7."""
    points = impute_scores(np.array([[0.6, 0.9], [0.7, 0.3], [0.8, 0.0], [0.5, NAN]]))

    assert points[3, 1] == pytest.approx(0.7)


def test_a_model_with_nothing_in_common_is_filled_with_the_mean() -> None:
    points = impute_scores(np.array([[0.1, NAN], [0.3, NAN], [NAN, 0.5]]))

    np.testing.assert_allclose(points, [[0.1, 0.5], [0.3, 0.5], [0.2, 0.5]])


def test_without_cut_or_count_no_other_fair_split_has_a_better_silhouette() -> None:
    history = matrix(np.random.default_rng(3).random((9, 6)))
    chosen = cluster_models(history)

    others = [cluster_models(history, count=count) for count in range(2, 9)]
    fair = [c.silhouette for c in others if max(len(g.members) for g in c.clusters) <= 4]

    assert chosen.silhouette == pytest.approx(max(fair))


@pytest.mark.parametrize(
    ("models", "fewest", "most"), [(2, 2, 2), (3, 2, 2), (10, 2, 9), (65, 2, 64), (500, 2, 64)]
)
def test_every_number_of_clusters_is_tried_up_to_sixty_four(
    models: int, fewest: int, most: int
) -> None:
    """All but one model each; more clusters than sixty-four would help nobody."""
    assert list(candidate_counts(models)) == list(range(fewest, most + 1))


def test_one_outlier_does_not_split_the_zoo_in_two() -> None:
    rng = np.random.default_rng(0)
    families = np.repeat(rng.random((4, 12)), 4, axis=0) + 0.3 * rng.random((16, 12))
    families[-1] = -5.0  # stands apart from all, and alone has the best silhouette

    automatic = cluster_models(matrix(families))

    assert cluster_models(matrix(families), count=2).silhouette > automatic.silhouette
    assert sorted(len(c.members) for c in automatic.clusters) == [1, 3, 4, 4, 4]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_as_many_clusters_as_asked_for(count: int) -> None:
    history = matrix(np.random.default_rng(4).random((8, 6)))

    assert len(cluster_models(history, count=count).clusters) == count
    assert len(cluster_models(history, count=count, method="kmeans").clusters) == count


def test_a_cut_of_zero_joins_only_equals() -> None:
    got = cluster_models(matrix([[0.5, 0.5], [0.5, 0.5], [0.5, 0.6]]), cut=0.0)

    assert groups(tuple(c.members for c in got.clusters)) == groups((("m0", "m1"), ("m2",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "clusters: expected between 1 and 8 models, got 0"),
        ({"count": 9}, "clusters: expected between 1 and 8 models, got 9"),
        ({"cut": -0.1}, "cut: expected 0 or more.*got -0.1"),
        ({"cut": NAN}, "cut: expected 0 or more.*got nan"),
        ({"cut": 0.1, "method": "kmeans"}, "cut: expected .* of a hierarchical tree, got 0.1"),
        ({"method": "dbscan"}, "method: expected hierarchical or kmeans, got 'dbscan'"),
        ({"top": 0}, "top: expected at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_models(families(), **options)


def test_an_unknown_method_is_refused_for_one_model_too() -> None:
    with pytest.raises(ConfigError, match="expected hierarchical or kmeans, got 'dbscan'"):
        cluster_models(matrix([[0.5]]), method="dbscan")


def by_color(colors: str) -> FloatArray:
    """Distance 0 of models with the same letter, 1 of others."""
    letters = np.array(list(colors))
    return np.where(letters[:, None] == letters, 0.0, 1.0)


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
@pytest.mark.parametrize("options", [{}, {"count": 3}])
def test_a_given_distance_takes_the_place_of_equation_1(
    options: dict[str, Any], method: str
) -> None:
    """The scores still say who represents; the authors' silhouette is still one of scores."""
    history, distance = families(), by_color("rgbrgbrg")

    got = cluster_models(history, method=method, distance=distance, **options)

    colors = groups((("m0", "m3", "m6"), ("m1", "m4", "m7"), ("m2", "m5")))
    assert groups(tuple(c.members for c in got.clusters)) == colors
    assert got.silhouette == pytest.approx(1.0)
    assert got.silhouette_paper == pytest.approx(
        silhouette_paper(history.values, np.array([0, 1, 2, 0, 1, 2, 0, 1]))
    )
    np.testing.assert_array_equal(got.distance, distance)
    for c in got.clusters:
        strength = [history.mean_centered_score[history.models.index(name)] for name in c.members]
        assert strength == sorted(strength, reverse=True)


def test_a_given_distance_is_cut_in_its_own_unit() -> None:
    history = families()
    got = cluster_models(history, distance=by_color("rgbrgbrg"), cut=0.5)

    assert sorted(len(c.members) for c in got.clusters) == [2, 3, 3]
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    assert got.silhouette_paper == pytest.approx(silhouette_paper(history.values, labels))


def test_a_given_distance_loses_the_models_without_history() -> None:
    history = families().select_models(["new", *families().models])

    got = cluster_models(history, distance=by_color("rrrrrgggb"))

    assert groups(tuple(c.members for c in got.clusters)) == THREE
    np.testing.assert_array_equal(got.distance, by_color("rrrrgggb"))


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        (np.zeros((7, 7)), r"distance: expected shape \(8, 8\), got \(7, 7\)"),
        (np.full((8, 8), NAN), "distance: expected finite numbers of 0 or more"),
        (np.eye(8) - 1.0, "distance: expected finite numbers of 0 or more"),
        (np.ones((8, 8)), "distance: expected a symmetric matrix with a diagonal of zeros"),
        (np.triu(np.ones((8, 8)), 1), "distance: expected a symmetric matrix"),
    ],
)
def test_what_is_no_distance_is_refused(distance: FloatArray, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster_models(families(), distance=distance)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_coordinates_of_cosines_are_the_vectors_again(seed: int) -> None:
    """|u - v|² = 2 (1 - cos) of unit vectors, so k-means of the two groups alike.

    Of starts that end equally well rounding decides which is taken, and so how groups are numbered.
    """
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(rng.integers(2, 12), 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distance = 1.0 - unit @ unit.T
    np.fill_diagonal(distance, 0.0)

    points = principal_coordinates(distance)

    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared, 2.0 * distance, atol=1e-9)
    for got, expected in zip(
        kmeans_labels(points, [2, 3]), kmeans_labels(unit, [2, 3]), strict=True
    ):
        np.testing.assert_array_equal(
            got[:, None] == got, expected[:, None] == expected
        )  # who is with whom


def test_models_at_distance_zero_are_one_point() -> None:
    """Else k-means would tell them apart by rounding errors."""
    points = principal_coordinates(by_color("rgbrgbrgrrgb"))

    assert len(np.unique(points, axis=0)) == 3


def test_silhouette_of_a_clustering_by_hand() -> None:
    """Pairs at distance 1, 3 apart from the others: (3 - 1) / 3 for everyone."""
    labels = np.array([0, 0, 1, 1])
    distance = np.where(labels[:, None] == labels, 1.0, 3.0) - np.eye(4)

    assert silhouette(distance, labels) == pytest.approx(2 / 3)
    assert silhouette(distance, labels) == pytest.approx(
        silhouette_score(distance, labels, metric="precomputed")
    )


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_silhouette_of_one_cluster_or_of_singletons_only_is_undefined(labels: list[int]) -> None:
    values = np.random.default_rng(0).random((3, 7))

    assert math.isnan(silhouette(1.0 - np.eye(3), np.array(labels)))
    assert math.isnan(silhouette_paper(values, np.array(labels)))


def test_the_papers_silhouette_pools_all_outsiders_and_skips_singletons() -> None:
    """Rows differ by constants, so a and b are differences: 0.1 inside, {0.3, 0.8} and 0.2, 0.7."""
    values = 0.1 + np.array([0.0, 0.1, 0.3, 0.8])[:, None] + np.zeros(6)

    got = silhouette_paper(values, np.array([0, 0, 1, 2]))

    assert got == pytest.approx(((0.55 - 0.1) / 0.55 + (0.45 - 0.1) / 0.45) / 2)


def test_the_papers_silhouette_is_the_pooled_one_in_the_released_distance() -> None:
    values = np.random.default_rng(5).random((6, 7))
    labels = np.array([0, 0, 1, 1, 1, 2])

    assert silhouette_paper(values, labels) == pooled_silhouette(
        released_difference(values), labels
    )


def slow_labels(values: FloatArray, cut: float) -> list[int]:
    """Average linkage up to ``cut`` on the distance of the authors' release, by merging sets."""

    def apart(i: int, j: int) -> float:
        pairs = [(a, b) for a, b in zip(values[i], values[j], strict=True) if a > 0 and b > 0]
        largest = sorted((abs(a - b) for a, b in pairs), reverse=True)[:5]
        return sum(largest) / 5 if len(pairs) > 5 else 1e7

    sets = [[i] for i in range(len(values))]
    while len(sets) > 1:
        height, a, b = min(
            (np.mean([apart(i, j) for i in sets[a] for j in sets[b]]), a, b)
            for b in range(len(sets))
            for a in range(b)
        )
        if height > cut:
            break
        sets[a] += sets.pop(b)
    return [next(k for k, group in enumerate(sets) if i in group) for i in range(len(values))]


def test_the_papers_silhouette_is_that_of_the_papers_tree_at_the_same_cut() -> None:
    """Their distance drops scores that are not positive, so their clusters can be other ones."""
    differ = 0
    for seed in range(12):
        values = np.random.default_rng(seed).random((9, 9)) - 0.15
        got = cluster_models(matrix(values), cut=0.45)

        theirs = slow_labels(values, 0.45)
        ours = [
            next(k for k, c in enumerate(got.clusters) if f"m{i}" in c.members) for i in range(9)
        ]
        expected = silhouette_paper(values, np.array(theirs))
        assert got.silhouette_paper == pytest.approx(expected, nan_ok=True)
        differ += silhouette_paper(values, np.array(ours)) != pytest.approx(expected, nan_ok=True)
    assert differ > 3


def test_a_decided_clustering_keeps_its_names_its_groups_and_what_they_are_worth() -> None:
    """The names are tags of registered models, and need not follow the strength of the clusters."""
    history = families()
    decided = dict.fromkeys(("m4", "m5", "m6"), "text-9")
    decided |= dict.fromkeys(("m0", "m1", "m2", "m3"), "text-2") | {"m7": "text-5"}
    fresh = cluster_models(history, count=3)

    got = cluster_by_id(
        history.select_models([*history.models, "new"]), {**decided, "gone": "text-1"}
    )

    assert {c.id: frozenset(c.members) for c in got.clusters} == {
        "text-9": frozenset({"m4", "m5", "m6"}),
        "text-2": frozenset({"m0", "m1", "m2", "m3"}),
        "text-5": frozenset({"m7"}),
    }
    assert [c.members for c in got.clusters] == [c.members for c in fresh.clusters]
    assert (got.silhouette, got.silhouette_paper) == (fresh.silhouette, fresh.silhouette_paper)
    assert got.models == history.models
    np.testing.assert_array_equal(got.distance, fresh.distance)
