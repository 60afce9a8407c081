"""Models without a history: whom they are like, and what that lets expect of them."""

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

#: all that is known of a model that was never scored
FEATURES = "features"
#: models whose strength a newcomer's is taken from
NEIGHBORS = 3


@dataclass(frozen=True)
class ColdStartEstimate:
    """What can be said of a model before it was ever fine-tuned."""

    model: str
    #: the measured model that is most like it
    nearest_model: str
    #: Gower distance to that one, in [0, 1]
    distance: float
    #: id of that one's cluster
    cluster_id: str
    #: expected mean z-score over the benchmark datasets, as ``PerformanceMatrix.strength``
    z_score: float
    #: recorded datasets on which it was scored; empty: its features alone speak for it
    scored_datasets: tuple[str, ...] = ()
    #: what those scores alone let expect, and their weight in the strength, in [0, 1]
    score_z_score: float = math.nan
    score_weight: float = 0.0
    #: what speaks for it, for people
    basis: str = FEATURES


def estimate_from_features(
    matrix: PerformanceMatrix, clustering: Clustering, features: Mapping[str, FeatureColumn]
) -> list[ColdStartEstimate]:
    """Provisional cluster and strength of every model that was never measured.

    A newcomer joins the cluster of the model whose features are nearest, and its strength is the
    mean of the three nearest, weighted by similarity and drawn to 0, the average model, by how
    unlike they are.

    Args:
        matrix: (m, d) scores; newcomers have rows of NaN.
        clustering: of the measured models.
        features: feature -> one value a model of ``matrix``; NaN or empty where unknown.

    Returns:
        Nobody where nobody was measured, or nothing is known of a newcomer.
    """
    strength = matrix.mean_z_score
    measured = np.flatnonzero(~np.isnan(strength))
    if not len(measured):
        return []
    distance = gower_distance(features, len(matrix.models))
    found = []
    for row in np.flatnonzero(np.isnan(strength)):
        near = nearest_by_features(distance[row], strength, measured)
        if near is None:
            continue
        like = matrix.models[near.row]
        group = clustering.cluster_of(like)
        found.append(
            ColdStartEstimate(
                matrix.models[row],
                like,
                float(distance[row, near.row]),
                group.id if group else "",
                near.z_score,
            )
        )
    return found


@dataclass(frozen=True)
class NearestModel:
    """The measured model whose features are nearest, and what the three nearest let expect."""

    row: int
    z_score: float


def nearest_by_features(
    distance: FloatArray, strength: FloatArray, measured: IntArray
) -> NearestModel | None:
    """What its features say of a model; None where it has none in common with the measured.

    Args:
        distance: (m,) of all models to it.
        strength: (m,) of all models.
        measured: rows that may speak for it.
    """
    near = distance[measured]
    if not (~np.isnan(near)).any():
        return None
    order = np.argsort(near, kind="stable")[:NEIGHBORS]  # NaN comes last
    order = order[~np.isnan(near[order])]
    similarity = 1.0 - near[order]
    weight = similarity / max(1e-12, float(similarity.sum()))
    expected = float(weight @ strength[measured[order]]) * float(similarity.mean())
    return NearestModel(int(measured[order[0]]), expected)


def prior_evidence(
    matrix: PerformanceMatrix,
    clustering: Clustering,
    members: Sequence[Member],
    found: Sequence[ColdStartEstimate],
) -> Evidence:
    """What ranks members before anybody has looked at the target.

    Args:
        matrix: the rows are those of ``members``.
        clustering: the newcomers ``joined``.
        members: everyone, in the order of the matrix.
        found: those without a history.
    """
    return Evidence(
        matrix,
        clustering,
        model_features=model_features(members),
        estimated_z_scores={each.model: each.z_score for each in found},
    )


def model_features(members: Sequence[Member]) -> dict[str, FeatureColumn]:
    """What is known of models without any history, feature by feature."""
    return {
        "family": [member.family for member in members],
        "architecture": [member.arch for member in members],
        "upstream": [member.tags.get("recall.upstream", "") for member in members],
        # the winner of a selection is the model that won, trained on
        "origin": [member.tags.get("recall.model") or member.name for member in members],
        "source": [member.tags.get("recall.source", "") for member in members],
        "log_parameters": [
            math.log(member.parameters) if member.parameters else math.nan for member in members
        ],
        "log_gmacs": [_logarithm(member.tags.get("recall.gmacs", "")) for member in members],
        "log_input_size": [
            _logarithm(member.tags.get("recall.input_size", "")) for member in members
        ],
        "layers": [_number(member.config.get("num_hidden_layers")) for member in members],
    }


def _logarithm(text: str) -> float:
    """Of a positive number in a tag; tags are anybody's to write."""
    try:
        return math.log(float(text))
    except ValueError:
        return math.nan


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def add_to_clusters(clustering: Clustering, found: Sequence[ColdStartEstimate]) -> Clustering:
    """The clustering with its newcomers as members, so that representatives speak for them."""
    more: dict[str, tuple[str, ...]] = {}
    for each in found:
        more[each.cluster_id] = (*more.get(each.cluster_id, ()), each.model)
    clusters = tuple(
        replace(group, members=(*group.members, *more.get(group.id, ())))
        for group in clustering.clusters
    )
    return replace(clustering, clusters=clusters)


def gower_distance(features: Mapping[str, FeatureColumn], models: int) -> FloatArray:
    """(m, m) mean dissimilarity over the features that both models have (Gower 1971).

    Labels differ by 0 or 1, numbers by their difference over the range of all. NaN where two
    models have no feature in common.
    """
    total, count = np.zeros((2, models, models))
    for column in features.values():
        if all(isinstance(value, (int, float)) for value in column):
            numbers = np.array(column, dtype=np.float64)
            known = ~np.isnan(numbers)
            span = np.ptp(numbers[known]) if known.any() else 0.0
            apart = np.abs(numbers[:, None] - numbers[None, :]) / (span or 1.0)
        else:
            labels = np.array([str(value) for value in column])
            known = labels != ""
            apart = (labels[:, None] != labels[None, :]).astype(np.float64)
        both = known[:, None] & known[None, :]
        total += np.where(both, apart, 0.0)
        count += both
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
