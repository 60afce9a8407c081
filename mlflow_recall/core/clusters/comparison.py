"""Comparison of clusterings by similarity, algorithm and number of clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.clusters.clustering import (
    average_linkage,
    best_by_silhouette,
    candidate_counts,
    cut_at_height,
    cut_into_counts,
    impute_scores,
    kmeans_labels,
    pooled_silhouette,
    principal_coordinates,
    silhouette,
)
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts, description_distance
from mlflow_recall.core.clusters.similarity import released_difference, top_difference
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.errors import ConfigError, HistoryError

#: largest number of clusters in the grid where none is requested
_MAX_COUNT = 12


@dataclass(frozen=True, kw_only=True)
class ClusteringComparison:
    """One clustering, and how well it is separated; NaN where a silhouette is undefined."""

    #: ``performance`` (Eq. 1) or ``description`` (text that describes a model)
    similarity: str
    #: ``hierarchical`` or ``kmeans``
    method: str
    #: how it was cut: ``auto``, ``count`` or ``cut``
    choice: str
    #: requested number of clusters, or height of the cut; None: auto
    requested: float | None
    #: number of clusters with two members or more
    clusters: int
    singletons: int
    #: models in clusters with two members or more
    clustered_models: int
    #: standard silhouette in the distance of Eq. 1, whatever similarity it was made by
    silhouette: float
    #: the authors' silhouette in the distance of their released code, likewise
    silhouette_paper: float
    #: standard silhouette in the distance of its own similarity
    own_silhouette: float
    #: the authors' formula in the distance of its own similarity
    own_silhouette_paper: float


@dataclass(frozen=True, eq=False, kw_only=True)
class _Similarity:
    """Distances and points of the models by one similarity."""

    name: str
    distance: FloatArray  # (m, m)
    released: FloatArray  # (m, m) distances of the authors' formula
    points: FloatArray  # (m, v) coordinates for k-means
    #: heights at which the tree is cut
    cuts: Sequence[float] = ()


def compare_clusterings(
    matrix: PerformanceMatrix,
    *,
    descriptions: Mapping[str, str] | None = None,
    encode: EncodeTexts | None = None,
    counts: Sequence[int] | None = None,
    cuts: Sequence[float] = (),
    top: int = 5,
    seed: int = 0,
) -> tuple[ClusteringComparison, ...]:
    """Compare clusterings by silhouette (Cui et al. 2024, tables I and X).

    A silhouette depends on the distance in which it is measured, and a clustering looks best in the
    distance by which it was made. So each row has both:

    - ``silhouette`` and ``silhouette_paper`` are measured in the **performance** distance (Eq. 1
      and that of the released code) for all rows. They can be compared between rows, and answer
      whether models of one cluster behave alike, which is what recall relies on.
    - ``own_silhouette`` and ``own_silhouette_paper`` are measured in the distance of the row's
      similarity. Two similarities cannot be compared by them; for the performance they are the
      same two numbers again. K-means of scores minimizes Euclidean distances, and is measured in
      Eq. 1 like the tree.

    Two models that share too few datasets are ``INCOMPARABLE`` in the performance distance. Such
    pairs dominate its silhouettes, which then depend on who was measured together, not on who
    behaves alike.

    ``auto`` has the number of clusters with the best ``own_silhouette``, as in ``cluster_models``.

    Args:
        matrix: Scores of m models; models that were never measured are left out.
        descriptions: Model -> the text that describes it; None: only scores are compared.
        encode: Sentence encoder of the descriptions; None: TF-IDF (``description_distance``).
        counts: Numbers of clusters; None: 2 to 12, and fewer than the models.
        cuts: Heights at which the tree of the performance is cut, in the unit of the scores; for
            ``silhouette_paper`` the tree of the released distance is cut, as in ``cluster_models``.
        top: Number of largest differences that count in Eq. 1.
        seed: Seed of k-means.

    Returns:
        Rows by similarity, then algorithm: auto, the counts, the cuts.

    Raises:
        HistoryError: Fewer than three models have scores, so that no silhouette is defined.
        ConfigError: A count, a cut or ``top`` is not possible, or fewer than two models have a
            description.
    """
    matrix = matrix.select_models(
        np.array(matrix.models, dtype=object)[~np.isnan(matrix.mean_score)]
    )
    models = len(matrix.models)
    if models < 3:
        raise HistoryError(f"compare: expected at least 3 models with scores, got {models}")
    counts = range(2, min(models - 1, _MAX_COUNT) + 1) if counts is None else counts
    _check(models, counts, cuts, top)
    performance = _Similarity(
        name="performance",
        distance=top_difference(matrix.values, top=top),
        released=released_difference(matrix.values),
        points=impute_scores(matrix.values),
        cuts=cuts,
    )
    similarities = [performance]
    if descriptions is not None:
        distance = description_distance(_texts_of(matrix.models, descriptions), encode)
        similarities.append(
            _Similarity(
                name="description",
                distance=distance,
                released=distance,
                points=principal_coordinates(distance),
            )
        )
    return tuple(
        row
        for similarity in similarities
        for row in _rows(similarity, performance, tuple(counts), seed)
    )


def _rows(
    own: _Similarity, performance: _Similarity, counts: Sequence[int], seed: int
) -> Iterator[ClusteringComparison]:
    """Yield the comparisons of one similarity."""
    tried = sorted({*candidate_counts(len(own.distance)), *counts})
    merges, released = average_linkage(own.distance), average_linkage(own.released)
    for method, labels in (
        ("hierarchical", cut_into_counts(merges, tried)),
        ("kmeans", kmeans_labels(own.points, tried, seed)),
    ):
        by_count = dict(zip(tried, labels, strict=True))
        auto = best_by_silhouette(
            [by_count[count] for count in candidate_counts(len(own.distance))], own.distance
        )
        yield _row(own, performance, method, "auto", None, auto)
        for count in counts:
            yield _row(own, performance, method, "count", count, by_count[count])
        for height in own.cuts if method == "hierarchical" else ():
            released_labels = cut_at_height(released, height)
            own_labels = cut_at_height(merges, height)
            yield _row(own, performance, method, "cut", height, own_labels, released_labels)


def _row(
    own: _Similarity,
    performance: _Similarity,
    method: str,
    choice: str,
    requested: float | None,
    labels: IntArray,
    released_labels: IntArray | None = None,
) -> ClusteringComparison:
    """Judge one clustering.

    Args:
        own: The similarity by which it was made.
        performance: The similarity by which all rows are judged.
        method: As in the row.
        choice: As in the row.
        requested: As in the row.
        labels: (m,) cluster of each model.
        released_labels: (m,) clusters in the released distance; None: they are the same.
    """
    if released_labels is None:
        released_labels = labels
    sizes = np.unique(labels, return_counts=True)[1]
    standard = silhouette(performance.distance, labels)
    paper = pooled_silhouette(performance.released, released_labels)
    is_same = own is performance
    return ClusteringComparison(
        similarity=own.name,
        method=method,
        choice=choice,
        requested=requested,
        clusters=int((sizes > 1).sum()),
        singletons=int((sizes == 1).sum()),
        clustered_models=int(sizes[sizes > 1].sum()),
        silhouette=standard,
        silhouette_paper=paper,
        own_silhouette=standard if is_same else silhouette(own.distance, labels),
        own_silhouette_paper=paper if is_same else pooled_silhouette(own.released, released_labels),
    )


def _texts_of(models: Sequence[str], descriptions: Mapping[str, str]) -> list[str]:
    """Return the description of each model; empty where it is missing."""
    texts = [descriptions.get(model, "") for model in models]
    described = sum(bool(text.strip()) for text in texts)
    if described < 2:
        raise ConfigError(
            f"descriptions: expected the text of at least 2 of {len(models)} models, got "
            f"{described}; "
            f"name them as the history does, e.g. {models[0]!r}"
        )
    return texts


def _check(models: int, counts: Iterable[int], cuts: Iterable[float], top: int) -> None:
    for count in counts:
        if not 1 <= count <= models:
            raise ConfigError(f"counts: expected between 1 and {models} models, got {count}")
    for cut in cuts:
        if not cut >= 0:
            raise ConfigError(f"cuts: expected 0 or more, got {cut:g}")
    if top < 1:
        raise ConfigError(f"top: expected at least 1, got {top}")
