"""Which similarity and which algorithm group the models of a history best."""

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

#: largest number of clusters in the grid when none is asked for
_MOST_COUNTED = 12


@dataclass(frozen=True, kw_only=True)
class ClusteringComparison:
    """One clustering, and how well it is separated; NaN where a silhouette is undefined."""

    #: ``performance`` (Eq. 1) or ``description`` (text that describes a model)
    similarity: str
    #: ``hierarchical`` or ``kmeans``
    method: str
    #: how it was cut: ``auto``, ``count`` or ``cut``
    choice: str
    #: the number of clusters, or the height, that was asked for; None: auto
    requested: float | None
    #: with two members or more
    clusters: int
    singletons: int
    #: models in the former
    clustered_models: int
    #: standard silhouette in the distance of eq. 1, whatever similarity it was found by
    silhouette: float
    #: the authors' silhouette in the distance of their released code, likewise
    silhouette_paper: float
    #: standard silhouette in the distance of its own similarity
    own_silhouette: float
    #: the authors' formula in the distance of its own similarity
    own_silhouette_paper: float


@dataclass(frozen=True, eq=False)
class _Similarity:
    """What one similarity makes of the models, and where its clusterings are judged."""

    name: str
    distance: FloatArray  # (m, m)
    #: for the authors' formula
    released: FloatArray  # (m, m)
    points: FloatArray  # (m, v), for k-means
    cuts: Sequence[float]


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
    """Silhouettes by similarity, algorithm and number of clusters (Cui et al. 2024, I and X).

    A silhouette depends on the distance that it is measured in, and a clustering looks best in
    the one that it was found by. So each row has both:

    - ``silhouette`` and ``silhouette_paper`` are measured in the **performance** distance (eq. 1
      and that of the released code) for all rows. They are comparable down the table, and answer
      whether models of one group behave alike, which is what recall relies on.
    - ``own_silhouette`` and ``own_silhouette_paper`` are measured in the distance of the row's
      similarity. Two similarities are not comparable by them; where it is the performance, they
      are the same two numbers again. K-means of scores minimizes Euclidean distances, and is
      measured in eq. 1 like the tree.

    Two models that share too few datasets are ``FAR`` apart in the performance distance, and such
    pairs dominate its silhouettes: they then tell who was measured together, not who behaves alike.

    ``auto`` takes the number of clusters with the best ``own_silhouette``, as ``cluster`` does.

    Args:
        matrix: scores of m models; models that were never measured are left out.
        descriptions: Model -> the text that describes it; None: only scores are compared.
        encode: Sentence encoder of the descriptions; None: TF-IDF (``description_distance``).
        counts: numbers of clusters; by default 2 to 12, and fewer than the models.
        cuts: heights for the tree of the performance, in the unit of the scores; there
            ``silhouette_paper`` cuts the tree of the released distance, as ``cluster`` does.
        top: how many largest differences count in eq. 1.
        seed: of k-means.

    Returns:
        By similarity, then algorithm: auto, the counts, the cuts.

    Raises:
        HistoryError: fewer than three models with scores: no silhouette is defined.
        SettingError: an impossible count, cut or top, or descriptions of fewer than two models.
    """
    matrix = matrix.select_models(
        np.array(matrix.models, dtype=object)[~np.isnan(matrix.mean_score)]
    )
    models = len(matrix.models)
    if models < 3:
        raise HistoryError(f"compare: expected at least 3 models with scores, got {models}")
    counts = range(2, min(models - 1, _MOST_COUNTED) + 1) if counts is None else counts
    _check(models, counts, cuts, top)
    performance = _Similarity(
        "performance",
        top_difference(matrix.values, top=top),
        released_difference(matrix.values),
        impute_scores(matrix.values),
        cuts,
    )
    similarities = [performance]
    if descriptions is not None:
        text = description_distance(_texts(matrix.models, descriptions), encode)
        similarities.append(_Similarity("description", text, text, principal_coordinates(text), ()))
    return tuple(
        row
        for similarity in similarities
        for row in _rows(similarity, performance, tuple(counts), seed)
    )


def _rows(
    own: _Similarity, performance: _Similarity, counts: Sequence[int], seed: int
) -> Iterator[ClusteringComparison]:
    tried = sorted({*candidate_counts(len(own.distance)), *counts})
    merges, released = average_linkage(own.distance), average_linkage(own.released)
    for method, labels in (
        ("hierarchical", cut_into_counts(merges, tried)),
        ("kmeans", kmeans_labels(own.points, tried, seed)),
    ):
        found = dict(zip(tried, labels, strict=True))
        auto = best_by_silhouette(
            [found[count] for count in candidate_counts(len(own.distance))], own.distance
        )
        yield _row(own, performance, method, "auto", None, auto)
        for count in counts:
            yield _row(own, performance, method, "count", count, found[count])
        for height in own.cuts if method == "hierarchical" else ():
            labels_there = cut_at_height(released, height)
            yield _row(
                own, performance, method, "cut", height, cut_at_height(merges, height), labels_there
            )


def _row(
    own: _Similarity,
    performance: _Similarity,
    method: str,
    choice: str,
    requested: float | None,
    labels: IntArray,
    released: IntArray | None = None,
) -> ClusteringComparison:
    """Judge one clustering; ``released``: its labels in the released distance, if they differ."""
    there = labels if released is None else released
    sizes = np.unique(labels, return_counts=True)[1]
    standard = silhouette(performance.distance, labels)
    paper = pooled_silhouette(performance.released, there)
    same = own is performance
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
        own_silhouette=standard if same else silhouette(own.distance, labels),
        own_silhouette_paper=paper if same else pooled_silhouette(own.released, there),
    )


def _texts(models: Sequence[str], descriptions: Mapping[str, str]) -> list[str]:
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
