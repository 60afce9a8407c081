"""Models without a history: the models that they resemble, and what is expected of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.recommend.evidence import Evidence, FeatureColumn

#: basis of an estimate of a model that was never scored
FEATURES = "features"
#: models whose mean z-scores are averaged for one without a history
NEIGHBORS = 3


@dataclass(frozen=True, kw_only=True)
class ColdStartEstimate:
    """What is expected of a model without a history."""

    model: str
    #: the measured model that is most similar
    nearest_model: str
    #: Gower distance to that one, in [0, 1]; NaN: unknown
    distance: float
    #: id of that one's cluster; empty without one
    cluster_id: str
    #: expected mean z-score over the recorded datasets
    z_score: float
    #: recorded datasets on which it was scored; empty: the estimate is made of features alone
    scored_datasets: tuple[str, ...] = ()
    #: mean z-score that those scores alone let expect, and their weight in ``z_score``, in [0, 1]
    score_z_score: float = math.nan
    score_weight: float = 0.0
    #: what the estimate is made of, for people
    basis: str = FEATURES


def estimate_from_features(
    matrix: PerformanceMatrix, clustering: Clustering, features: Mapping[str, FeatureColumn]
) -> list[ColdStartEstimate]:
    """Estimate cluster and mean z-score of every model without a history.

    Such a model joins the cluster of the model with the nearest features. Its expected mean z-score
    is that of the three nearest models, weighted by similarity and drawn to 0, the average model,
    the less similar they are.

    Args:
        matrix: (m, d) scores; models without a history have rows of NaN.
        clustering: Clusters of the measured models.
        features: Feature -> one value for each model of ``matrix``; NaN or empty where unknown.

    Returns:
        One estimate for each model that shares a feature with a measured one.
    """
    mean_z_score = matrix.mean_z_score
    measured = np.flatnonzero(~np.isnan(mean_z_score))
    if not len(measured):
        return []
    distance = gower_distance(features, len(matrix.models))
    estimates = []
    for row in np.flatnonzero(np.isnan(mean_z_score)):
        nearest = nearest_by_features(distance[row], mean_z_score, measured)
        if nearest is None:
            continue
        nearest_model = matrix.models[nearest.row]
        cluster = clustering.cluster_of(nearest_model)
        estimates.append(
            ColdStartEstimate(
                model=matrix.models[row],
                nearest_model=nearest_model,
                distance=float(distance[row, nearest.row]),
                cluster_id=cluster.id if cluster else "",
                z_score=nearest.z_score,
            )
        )
    return estimates


@dataclass(frozen=True)
class NearestModel:
    """The measured model with the nearest features."""

    row: int
    #: expected mean z-score, of the three nearest models
    z_score: float


def nearest_by_features(
    distance: FloatArray, mean_z_score: FloatArray, measured: IntArray
) -> NearestModel | None:
    """Find the measured model with the nearest features; None if they have no feature in common.

    Args:
        distance: (m,) Gower distance of every model to the one in question.
        mean_z_score: (m,) in the history; NaN without one.
        measured: Indices of the models with a history.
    """
    near = distance[measured]
    if not (~np.isnan(near)).any():
        return None
    order = np.argsort(near, kind="stable")[:NEIGHBORS]  # NaN comes last
    order = order[~np.isnan(near[order])]
    similarity = 1.0 - near[order]
    weight = similarity / max(1e-12, float(similarity.sum()))
    expected = float(weight @ mean_z_score[measured[order]]) * float(similarity.mean())
    return NearestModel(int(measured[order[0]]), expected)


def prior_evidence(
    matrix: PerformanceMatrix,
    clustering: Clustering,
    members: Sequence[Member],
    estimates: Sequence[ColdStartEstimate],
) -> Evidence:
    """Return what ranks the models before any of them has looked at the target.

    Args:
        matrix: Its rows are those of ``members``.
        clustering: Clusters, with the models without a history as members.
        members: Models in the order of the matrix.
        estimates: Models without a history.
    """
    return Evidence(
        matrix=matrix,
        clustering=clustering,
        model_features=model_features(members),
        estimated_z_scores={estimate.model: estimate.z_score for estimate in estimates},
    )


def model_features(members: Sequence[Member]) -> dict[str, FeatureColumn]:
    """Return what is known of models without any history, by feature."""
    return {
        "family": [member.family for member in members],
        "architecture": [member.arch for member in members],
        "upstream": [member.upstream for member in members],
        # the winner of a selection is its base model, trained further
        "origin": [member.base_model or member.name for member in members],
        "source": [member.source for member in members],
        "log_parameters": [_logarithm(member.parameters) for member in members],
        "log_gmacs": [_logarithm(member.gmacs) for member in members],
        "log_input_size": [_logarithm(member.input_size) for member in members],
        "layers": [_number(member.config.get("num_hidden_layers")) for member in members],
    }


def _logarithm(value: float | None) -> float:
    return math.log(value) if value else math.nan


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def add_to_clusters(clustering: Clustering, estimates: Sequence[ColdStartEstimate]) -> Clustering:
    """Return the clusters with the estimated models as members, whom representatives stand for."""
    more: dict[str, tuple[str, ...]] = {}
    for estimate in estimates:
        more[estimate.cluster_id] = (*more.get(estimate.cluster_id, ()), estimate.model)
    clusters = tuple(
        replace(cluster, members=(*cluster.members, *more.get(cluster.id, ())))
        for cluster in clustering.clusters
    )
    return replace(clustering, clusters=clusters)


def gower_distance(features: Mapping[str, FeatureColumn], models: int) -> FloatArray:
    """Return the (m, m) mean dissimilarity over the features that both models have (Gower 1971).

    Labels differ by 0 or 1, numbers by their difference over the range of all, so distances are in
    [0, 1]. NaN where two models have no feature in common.
    """
    total, count = np.zeros((2, models, models))
    for column in features.values():
        if all(isinstance(value, (int, float)) for value in column):
            numbers = np.array(column, dtype=np.float64)
            known = ~np.isnan(numbers)
            span = np.ptp(numbers[known]) if known.any() else 0.0
            distance = np.abs(numbers[:, None] - numbers[None, :]) / (span or 1.0)
        else:
            labels = np.array([str(value) for value in column])
            known = labels != ""
            distance = (labels[:, None] != labels[None, :]).astype(np.float64)
        both = known[:, None] & known[None, :]
        total += np.where(both, distance, 0.0)
        count += both
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
