"""Facts of ``core.clustering``: whom it puts together, and what the paper's own matrices give."""

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

from mlflow_recall.core.clustering import cluster, silhouette, silhouette_paper
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.similarity import FAR
from mlflow_recall.errors import SettingError

NAN = math.nan
_RECORDS = os.environ.get("RECALL_RECORDS", Path(__file__).parents[3] / "shared" / "data")
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

    got = cluster(history, cut=cut)
    sizes = [len(c.members) for c in got.clusters]

    assert history.values.shape == shape
    assert sum(s > 1 for s in sizes) == clusters
    assert sum(s for s in sizes if s > 1) == members
    assert sizes.count(1) == singletons
    assert got.silhouette_paper == pytest.approx(reported, abs=5e-4)


@pytest.mark.parametrize("holes", [0.0, 0.15])
@pytest.mark.parametrize("options", [{}, {"count": 3}, {"cut": 0.1}])
def test_families_are_found_in_the_tree(options: dict[str, Any], holes: float) -> None:
    got = cluster(families(holes=holes), **options)

    assert groups(tuple(c.members for c in got.clusters)) == THREE
    assert got.merges is not None


@pytest.mark.parametrize("options", [{}, {"count": 3}])
def test_families_are_found_by_kmeans(options: dict[str, Any]) -> None:
    got = cluster(families(), method="kmeans", **options)

    assert groups(tuple(c.members for c in got.clusters)) == THREE
    assert got.merges is None


def test_the_representative_is_the_strongest_and_clusters_are_numbered_by_it() -> None:
    """Probed are the representatives of clusters with two members or more."""
    low, high = np.full(4, 0.3), np.full(4, 0.8)
    got = cluster(matrix([low, low + 0.01, high, high + 0.02, low - 0.2]), cut=0.05, prefix="text")

    assert [(c.id, c.members, c.representative) for c in got.clusters] == [
        ("text-1", ("m3", "m2"), "m3"),
        ("text-2", ("m1", "m0"), "m1"),
        ("text-3", ("m4",), "m4"),
    ]
    assert got.probes == ("m3", "m1")
    assert [c.singleton for c in got.clusters] == [False, False, True]
    assert got.of("m0") is got.clusters[1]
    assert got.of("nobody") is None


def test_a_model_met_only_by_a_hard_dataset_can_still_represent() -> None:
    """m2 is the best on the one dataset that it knows, though its mean is the lowest."""
    got = cluster(matrix([[0.9, 0.2], [0.8, 0.1], [NAN, 0.3]]), cut=0.5)

    assert [c.members for c in got.clusters] == [("m2", "m0", "m1")]


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_order_of_models_and_datasets_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = families(seed, holes=0.1)
    models, datasets = rng.permutation(8), rng.permutation(8)
    shuffled = PerformanceMatrix(
        tuple(first.models[i] for i in models),
        tuple(first.datasets[i] for i in datasets),
        first.values[np.ix_(models, datasets)],
    )

    one, two = cluster(first), cluster(shuffled)

    assert [(c.id, c.members) for c in one.clusters] == [(c.id, c.members) for c in two.clusters]
    assert one.silhouette == pytest.approx(two.silhouette)
    np.testing.assert_allclose(one.distance[np.ix_(models, models)], two.distance)


def test_models_without_history_belong_to_no_cluster() -> None:
    first = families()
    got = cluster(first.take([*first.models[:3], "new", *first.models[3:]]))

    assert got.of("new") is None
    assert got.distance.shape == (8, 8)
    assert groups(tuple(c.members for c in got.clusters)) == THREE


def test_models_never_measured_together_do_not_join() -> None:
    got = cluster(matrix([[0.5, NAN], [0.5, NAN], [NAN, 0.5], [NAN, 0.5]]), cut=0.5)

    assert groups(tuple(c.members for c in got.clusters)) == groups((("m0", "m1"), ("m2", "m3")))
    assert got.distance.max() == FAR


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (3, 0)])
def test_no_history_makes_no_clusters(shape: tuple[int, int], method: str) -> None:
    got = cluster(matrix(np.empty(shape)), method=method)

    assert (got.clusters, got.probes) == ((), ())
    assert math.isnan(got.silhouette)
    assert math.isnan(got.silhouette_paper)


def test_one_model_is_a_cluster_of_its_own() -> None:
    got = cluster(matrix([[0.5, 0.6]]), cut=0.1)

    assert [c.members for c in got.clusters] == [("m0",)]


@pytest.mark.parametrize("method", ["hierarchical", "kmeans"])
@pytest.mark.parametrize("models", [3, 4, 6])
def test_models_that_are_all_alike_are_one_cluster(models: int, method: str) -> None:
    got = cluster(matrix(np.full((models, 3), 0.5)), method=method)

    assert len(got.clusters) == 1


def test_kmeans_copes_with_a_dataset_that_nobody_was_measured_on() -> None:
    """Taking some models of a larger history leaves such columns behind."""
    got = cluster(matrix([[0.1, NAN], [0.11, NAN], [0.9, NAN]]), method="kmeans", count=2)

    assert groups(tuple(c.members for c in got.clusters)) == groups((("m0", "m1"), ("m2",)))


def test_without_cut_or_count_no_other_number_of_clusters_has_a_better_silhouette() -> None:
    history = matrix(np.random.default_rng(3).random((9, 6)))
    chosen = cluster(history)

    others = [cluster(history, count=count).silhouette for count in range(2, 9)]

    assert chosen.silhouette == pytest.approx(max(others))


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_as_many_clusters_as_asked_for(count: int) -> None:
    history = matrix(np.random.default_rng(4).random((8, 6)))

    assert len(cluster(history, count=count).clusters) == count
    assert len(cluster(history, count=count, method="kmeans").clusters) == count


def test_a_cut_of_zero_joins_only_equals() -> None:
    got = cluster(matrix([[0.5, 0.5], [0.5, 0.5], [0.5, 0.6]]), cut=0.0)

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
    with pytest.raises(SettingError, match=message):
        cluster(families(), **options)


def test_an_unknown_method_is_refused_for_one_model_too() -> None:
    with pytest.raises(SettingError, match="expected hierarchical or kmeans, got 'dbscan'"):
        cluster(matrix([[0.5]]), method="dbscan")


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
