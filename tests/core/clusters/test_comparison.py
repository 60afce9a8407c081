"""Facts of comparing clusterings: one row a clustering, all judged in the same distance."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.clusters.comparison import ClusteringComparison, compare_clusterings
from mlflow_recall.core.clusters.model_descriptions import description_distance
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import ConfigError, HistoryError

NAN = math.nan
_RECORDS = os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data")
PAPER = Path(_RECORDS) / "two_phase_paper" / "matrix.csv"
#: family of each model of ``families``
FAMILY = (0, 0, 0, 0, 1, 1, 1, 2)
DESCRIPTIONS = {
    f"m{i}": ("bert reviews", "vit photographs", "rnn speech")[f] for i, f in enumerate(FAMILY)
}


def families(holes: float = 0.0, seed: int = 0) -> PerformanceMatrix:
    """Three families of models, the third with one member: m0-m3, m4-m6, m7."""
    rng = np.random.default_rng(seed)
    values = rng.random((3, 8))[list(FAMILY)] + rng.normal(scale=0.005, size=(8, 8))
    values = np.where(rng.random(values.shape) < holes, NAN, values)
    return PerformanceMatrix(
        tuple(f"m{i}" for i in range(8)), tuple(f"d{i}" for i in range(8)), values
    )


def only(rows: tuple[ClusteringComparison, ...], **fields: object) -> ClusteringComparison:
    (row,) = [row for row in rows if fields.items() <= asdict(row).items()]
    return row


def plain(rows: tuple[ClusteringComparison, ...]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(not PAPER.exists(), reason=f"no records at {PAPER.parent}")
@pytest.mark.parametrize(
    ("metric", "cut", "clusters", "members", "singletons", "reported"),
    [("acc_NLP", 0.09, 8, 31, 8, 0.536), ("acc_CV", 0.03, 5, 29, 1, 0.778)],
)
def test_the_papers_matrices_give_the_papers_numbers(
    metric: str, cut: float, clusters: int, members: int, singletons: int, reported: float
) -> None:
    """And what table I concludes: scores group models better than text (here, their names)."""
    cells = pd.read_csv(PAPER).query("metric == @metric")
    table = cells.pivot_table(index="model", columns="dataset", values="value")
    history = PerformanceMatrix(tuple(table.index), tuple(table.columns), table.to_numpy())

    rows = compare_clusterings(
        history, descriptions={name: name for name in history.models}, cuts=[cut]
    )
    got = only(rows, choice="cut")

    assert (got.clusters, got.clustered_models, got.singletons) == (clusters, members, singletons)
    assert got.silhouette_paper == pytest.approx(reported, abs=5e-4)
    for method in ("hierarchical", "kmeans"):
        scores = only(rows, similarity="performance", method=method, choice="auto")
        text = only(rows, similarity="description", method=method, choice="auto")
        assert scores.silhouette > text.silhouette
        assert scores.silhouette_paper > text.silhouette_paper


@pytest.mark.parametrize("holes", [0.0, 0.15])
def test_every_row_agrees_with_cluster_models(holes: float) -> None:
    """Also with missing cells; the distance of the descriptions takes the place of eq. 1."""
    history = families(holes)
    text = description_distance([DESCRIPTIONS[name] for name in history.models])

    rows = compare_clusterings(history, descriptions=DESCRIPTIONS, cuts=[0.0, 0.1], seed=3)

    assert len(rows) == 2 * 2 * 7 + 2
    for row in rows:
        options: dict[str, Any] = {} if row.choice == "auto" else {row.choice: row.requested}
        is_text = row.similarity == "description"
        got = cluster_models(
            history, method=row.method, seed=3, distance=text if is_text else None, **options
        )
        assert row.own_silhouette == pytest.approx(got.silhouette, nan_ok=True)
        assert row.silhouette_paper == pytest.approx(got.silhouette_paper, nan_ok=True)
        assert row.clusters == sum(not c.is_singleton for c in got.clusters)
        assert row.singletons == sum(c.is_singleton for c in got.clusters)
        assert row.clustered_models == sum(
            len(c.members) for c in got.clusters if not c.is_singleton
        )
        if not is_text:
            assert row.silhouette == pytest.approx(row.own_silhouette, nan_ok=True)


def test_the_grid_is_auto_then_two_to_twelve_and_fewer_than_the_models() -> None:
    few = compare_clusterings(families())
    many = compare_clusterings(
        PerformanceMatrix(
            tuple(f"m{i:02}" for i in range(16)),
            tuple(f"d{i}" for i in range(6)),
            np.random.default_rng(0).random((16, 6)),
        )
    )

    assert [(row.method, row.choice, row.requested) for row in few[:7]] == [
        ("hierarchical", "auto", None),
        *(("hierarchical", "count", k) for k in range(2, 8)),
    ]
    assert [row.requested for row in many[:12]] == [None, *range(2, 13)]
    assert {row.method for row in few[7:]} == {"kmeans"}
    assert {row.similarity for row in few} == {"performance"}


def test_descriptions_that_name_the_families_are_as_good_as_scores() -> None:
    rows = compare_clusterings(families(), descriptions=DESCRIPTIONS)

    for method in ("hierarchical", "kmeans"):
        text = only(rows, similarity="description", method=method, choice="auto")
        scores = only(rows, similarity="performance", method=method, choice="auto")
        assert (text.clusters, text.singletons, text.clustered_models) == (2, 1, 7)
        assert text.silhouette == pytest.approx(scores.silhouette)
        assert text.silhouette_paper == pytest.approx(scores.silhouette_paper)


def test_misleading_descriptions_look_good_in_their_own_distance_only() -> None:
    """Equal texts have distance 0, others 1: silhouette 1 in that distance, none in the scores."""
    wrong = {f"m{i}": ("red", "green")[i % 2] for i in range(8)}

    rows = compare_clusterings(families(), descriptions=wrong, counts=[2])

    for method in ("hierarchical", "kmeans"):
        text = only(rows, similarity="description", method=method, choice="count")
        assert text.own_silhouette == pytest.approx(1.0)
        assert text.own_silhouette_paper == pytest.approx(1.0)
        assert text.silhouette < 0.1
        assert text.silhouette_paper < 0.1


def test_a_model_without_a_description_stays_alone() -> None:
    descriptions = {name: text for name, text in DESCRIPTIONS.items() if name not in ("m3", "m6")}

    got = only(
        compare_clusterings(families(), descriptions=descriptions),
        similarity="description",
        method="hierarchical",
        choice="auto",
    )

    assert (got.clusters, got.clustered_models, got.singletons) == (2, 5, 3)


def test_models_without_history_and_descriptions_of_others_change_nothing() -> None:
    history = families()
    more = history.select_models(["new", *history.models])

    got = compare_clusterings(more, descriptions={**DESCRIPTIONS, "new": "bert", "x": "y"})

    np.testing.assert_equal(
        plain(got), plain(compare_clusterings(history, descriptions=DESCRIPTIONS))
    )


def test_a_sentence_encoder_can_take_the_place_of_words() -> None:
    def encode(texts: Any) -> Any:
        return np.eye(3)[["brv".index(text[0]) for text in texts]]

    rows = compare_clusterings(families(), descriptions=DESCRIPTIONS, encode=encode)

    assert only(rows, similarity="description", method="kmeans", choice="auto").clusters == 2


def test_the_same_seed_gives_the_same_rows() -> None:
    """Only k-means is random, so another seed changes its rows, and no others."""
    history = PerformanceMatrix(
        tuple(f"m{i:02}" for i in range(20)),
        tuple(f"d{i}" for i in range(6)),
        np.random.default_rng(1).random((20, 6)),
    )

    first, second, other = (compare_clusterings(history, seed=seed) for seed in (7, 7, 8))

    assert first == second
    changed = [one for one, two in zip(first, other, strict=True) if one != two]
    assert {row.method for row in changed} == {"kmeans"}


def test_rows_are_plain_numbers_and_words() -> None:
    rows = plain(compare_clusterings(families(), descriptions=DESCRIPTIONS, cuts=[0.1]))

    np.testing.assert_equal(json.loads(json.dumps(rows)), rows)


def test_models_that_are_all_alike_have_no_silhouette() -> None:
    same = PerformanceMatrix(("a", "b", "c"), ("x", "y"), np.full((3, 2), 0.5))

    rows = compare_clusterings(same, descriptions=dict.fromkeys("abc", "bert"))

    assert {row.clusters for row in rows} == {1}
    assert all(math.isnan(row.silhouette) for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": [2, 9]}, "counts: expected between 1 and 8 models, got 9"),
        ({"cuts": [-0.1]}, "cuts: expected 0 or more, got -0.1"),
        ({"cuts": [NAN]}, "cuts: expected 0 or more, got nan"),
        ({"top": 0}, "top: expected at least 1, got 0"),
        (
            {"descriptions": {"m0": "bert", "M1": "x"}},
            "descriptions: expected .* at least 2 of 8 models, got 1",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_clusterings(families(), **options)


def test_two_models_cannot_be_compared() -> None:
    with pytest.raises(HistoryError, match="expected at least 3 models with scores, got 2"):
        compare_clusterings(families().select_models(["m0", "m1", "new"]))
