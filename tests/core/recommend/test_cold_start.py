"""Facts of ``core.cold_start``: whom models without a history are taken to be like."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.recommend import RECOMMENDERS, Evidence
from mlflow_recall.core.recommend.cold_start import (
    add_to_clusters,
    estimate_from_features,
    gower_distance,
    model_features,
)
from mlflow_recall.core.recommend.evidence import FeatureColumn

NAN = math.nan
#: two families of two, and a new model of the second
VALUES = [[0.9, 0.8, 0.7], [0.89, 0.81, 0.7], [0.5, 0.4, 0.2], [0.51, 0.41, 0.2], [NAN] * 3]
FEATURES: dict[str, FeatureColumn] = {
    "family": ["e5", "e5", "minilm", "minilm", "minilm"],
    "layers": [12.0, 6.0, 6.0, 2.0, 3.0],
}
MODELS = ("a", "b", "c", "d", "new")


def history() -> PerformanceMatrix:
    return PerformanceMatrix(MODELS, ("x", "y", "z"), np.array(VALUES))


def test_labels_differ_by_all_or_nothing_and_numbers_by_their_share_of_the_range() -> None:
    distance = gower_distance({"family": ["e5", "e5", "minilm"], "layers": [12.0, 7.0, 2.0]}, 3)

    np.testing.assert_allclose(distance[0], [0.0, (0 + 0.5) / 2, (1 + 1) / 2])
    np.testing.assert_array_equal(distance, distance.T)


def test_what_is_unknown_of_one_is_left_out_of_the_pair() -> None:
    distance = gower_distance({"family": ["e5", "", "minilm"], "layers": [1.0, 2.0, NAN]}, 3)

    assert distance[0, 1] == 1.0  # by layers alone
    assert distance[0, 2] == 1.0  # by family alone
    assert math.isnan(distance[1, 2])


def test_a_newcomer_joins_the_nearest_and_takes_its_strength_from_three() -> None:
    matrix = history()
    groups = cluster_models(matrix, count=2)

    (estimate,) = estimate_from_features(matrix, groups, FEATURES)

    near = np.array([(0 + 0.1) / 2, (0 + 0.3) / 2, (1 + 0.3) / 2])  # d, c, b
    similarity = 1 - near
    strength = matrix.mean_z_score[[3, 2, 1]]
    expected = similarity @ strength / similarity.sum() * similarity.mean()
    assert (estimate.model, estimate.nearest_model) == ("new", "d")
    assert estimate.distance == pytest.approx(near[0])
    assert estimate.z_score == pytest.approx(expected)
    assert groups.cluster_of("d") is not None
    assert "new" in add_to_clusters(groups, [estimate]).cluster_of("c").members  # type: ignore[union-attr]


def test_without_new_models_measured_models_or_features_nothing_is_estimated() -> None:
    matrix = history()
    nothing = PerformanceMatrix(MODELS, ("x",), np.full((5, 1), NAN))

    measured = {name: column[:4] for name, column in FEATURES.items()}

    assert (
        estimate_from_features(matrix.select_models("abcd"), cluster_models(matrix), measured) == []
    )
    assert estimate_from_features(nothing, cluster_models(nothing), FEATURES) == []
    assert (
        estimate_from_features(matrix, cluster_models(matrix), {"family": ["e5"] * 4 + [""]}) == []
    )


def test_a_model_without_history_joins_a_cluster_and_the_prior_ranks_it() -> None:
    matrix = history()
    estimates = estimate_from_features(matrix, cluster_models(matrix, count=2), FEATURES)
    evidence = Evidence(
        matrix=matrix,
        clustering=add_to_clusters(cluster_models(matrix, count=2), estimates),
        estimated_z_scores={estimate.model: estimate.z_score for estimate in estimates},
    )

    ranking = RECOMMENDERS["prior"].rank(evidence)

    assert ranking.models[:2] == ("a", "b")
    assert not np.isnan(ranking.scores).any()
    assert math.isnan(Evidence(matrix=matrix, clustering=cluster_models(matrix)).mean_z_score[-1])


def test_the_nearest_model_of_a_winner_is_the_one_it_was_made_of() -> None:
    zoo = [
        Member(name=name, version="1", modality="text", arch="transformers/bert", family="e5")
        for name in "abcd"
    ]
    winner = Member(
        name="new",
        version="1",
        modality="text",
        arch="transformers/bert",
        family="e5",
        base_model="c",
    )
    matrix = history()

    (estimate,) = estimate_from_features(
        matrix, cluster_models(matrix, count=2), model_features([*zoo, winner])
    )

    assert estimate.nearest_model == "c"


def test_members_are_described_by_what_the_registry_knows() -> None:
    member = Member(
        name="a",
        version="1",
        modality="text",
        arch="transformers/bert",
        family="e5",
        upstream="pairs",
        source="hf:/x",
        parameters=100,
        config={"num_hidden_layers": 3},
    )

    columns = model_features(
        [member, Member(name="b", version="1", modality="text", arch="timm/vit")]
    )

    assert columns["family"] == ["e5", ""]
    assert columns["layers"][0] == 3.0
    assert columns["log_parameters"][0] == pytest.approx(math.log(100))
    assert columns["upstream"] == ["pairs", ""]
    assert math.isnan(float(columns["layers"][1]))
