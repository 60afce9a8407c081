"""Clusters of models that behave alike, and the representative of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.impute import KNNImputer
from sklearn.metrics import silhouette_score

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.clusters.similarity import released_difference, top_difference
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import ConfigError

#: largest number of clusters that is tried where none is requested
_MAX_CLUSTERS = 64


@dataclass(frozen=True)
class Cluster:
    """Models that behave alike; the best of them is the representative."""

    id: str
    representative: str
    #: names of all members, the best first, so that the representative comes first
    members: tuple[str, ...]

    @property
    def is_singleton(self) -> bool:
        """Whether it has one member only."""
        return len(self.members) == 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Clustering:
    """All clusters of a zoo, ordered from the best representative to the worst."""

    clusters: tuple[Cluster, ...]
    #: standard silhouette on ``distance``, singletons 0; NaN where undefined
    silhouette: float
    #: silhouette as the authors' released code computes it; NaN where undefined
    silhouette_paper: float
    #: the clustered models, in the order of ``distance``
    models: tuple[str, ...]
    #: (m, m) distances: one minus the similarity of Eq. 1, or the ones that were passed
    distance: FloatArray
    #: (m - 1, 4) merges as SciPy writes them; None when k-means made the clusters
    linkage: FloatArray | None = None

    @property
    def representatives(self) -> tuple[str, ...]:
        """Representatives of the non-singleton clusters: the models that are probed."""
        return tuple(c.representative for c in self.clusters if not c.is_singleton)

    def cluster_of(self, model: str) -> Cluster | None:
        """Return the cluster of a model; None for a model without history."""
        return next((c for c in self.clusters if model in c.members), None)


def cluster_prefix(modality: str, metric: str) -> str:
    """Return what the ids of clusters start with, such as ``text-primary`` for ``text-primary-1``.

    Args:
        modality: Modality of the models; empty where it is unknown.
        metric: Metric that they are compared by; only ``PRIMARY`` is part of the ids.
    """
    return "-".join(filter(None, (modality, PRIMARY if metric == PRIMARY else "")))


def no_clusters() -> Clustering:
    """Return a clustering without models, where nobody represents anybody else."""
    return Clustering(
        clusters=(),
        silhouette=float("nan"),
        silhouette_paper=float("nan"),
        models=(),
        distance=np.empty((0, 0)),
    )


def cluster_models(
    matrix: PerformanceMatrix,
    *,
    method: str = "hierarchical",
    cut: float | None = None,
    count: int | None = None,
    top: int = 5,
    prefix: str = "",
    seed: int = 0,
    distance: FloatArray | None = None,
) -> Clustering:
    """Cluster the models of a matrix (Cui et al. 2024, section III).

    Args:
        matrix: Scores of m models; models that were never measured are not clustered.
        method: ``hierarchical`` (average linkage on Eq. 1) or ``kmeans`` (the paper's alternative,
            on the score vectors, with missing cells as ``impute_scores`` fills them).
        cut: Height at which the tree is cut, in the unit of the scores (or of ``distance``).
        count: Number of clusters. Without ``cut`` and ``count`` the best silhouette decides among
            ``candidate_counts``.
        top: Number of largest differences that count in Eq. 1.
        prefix: Start of the cluster ids, as ``cluster_prefix`` returns it: ``text`` for ``text-1``.
        seed: Seed of k-means.
        distance: (m, m) distances of the models of ``matrix``, in its order, instead of Eq. 1,
            such as those of ``description_distance``; k-means then uses ``principal_coordinates``
            of them. The representatives and ``silhouette_paper`` depend on the scores still.

    Raises:
        ConfigError: The method is unknown, the cut or count is not possible, or ``distance`` has
            values that are no distances.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), scores)
        >>> [cluster.members for cluster in cluster_models(matrix, count=2).clusters]
        [('a', 'b'), ('c',)]
    """
    measured = ~np.isnan(matrix.mean_score)
    if distance is not None:
        distance = _check_distance(distance, len(measured))[np.ix_(measured, measured)]
    matrix = matrix.select_models(np.array(matrix.models, dtype=object)[measured])
    models = len(matrix.models)
    if count is not None and not 1 <= count <= max(1, models):
        raise ConfigError(f"clusters: expected between 1 and {models} models, got {count}")
    if method not in ("hierarchical", "kmeans"):
        raise ConfigError(f"method: expected hierarchical or kmeans, got {method!r}")
    if top < 1:
        raise ConfigError(f"top: expected at least 1, got {top}")
    if cut is not None and (not cut >= 0 or method == "kmeans"):
        raise ConfigError(f"cut: expected 0 or more, of a hierarchical tree, got {cut:g}")
    by_scores = distance is None
    if distance is None:
        distance = top_difference(matrix.values, top=top)
    merges = None
    if models < 2:
        labels = np.zeros(models, dtype=np.intp)
    elif method == "hierarchical":
        merges = average_linkage(distance)
        if cut is not None:
            labels = cut_at_height(merges, cut)
        else:
            labels = best_by_silhouette(
                cut_into_counts(merges, [count] if count else candidate_counts(models)), distance
            )
    else:
        points = impute_scores(matrix.values) if by_scores else principal_coordinates(distance)
        labels = best_by_silhouette(
            kmeans_labels(points, [count] if count else candidate_counts(models), seed), distance
        )
    # the height of a cut is comparable with the released distance only if both are of scores
    score_cut = cut if by_scores and merges is not None else None
    return Clustering(
        clusters=_make_clusters(matrix, labels, prefix),
        silhouette=silhouette(distance, labels),
        silhouette_paper=silhouette_paper(matrix.values, labels, score_cut),
        models=matrix.models,
        distance=distance,
        linkage=merges,
    )


def cluster_by_id(
    matrix: PerformanceMatrix, groups: Mapping[str, str], *, top: int = 5
) -> Clustering:
    """Return a clustering that was decided before, for the models of a matrix.

    Args:
        matrix: Scores; every model with a history must be in ``groups``.
        groups: Model -> id of its cluster.
        top: Number of largest differences that count in Eq. 1.
    """
    matrix = matrix.select_models(
        np.array(matrix.models, dtype=object)[~np.isnan(matrix.mean_score)]
    )
    _, labels = np.unique([groups[model] for model in matrix.models], return_inverse=True)
    distance = top_difference(matrix.values, top=top)
    clusters = tuple(
        replace(c, id=groups[c.representative])
        for c in _make_clusters(matrix, labels.astype(np.intp), "")
    )
    return Clustering(
        clusters=clusters,
        silhouette=silhouette(distance, labels),
        silhouette_paper=silhouette_paper(matrix.values, labels),
        models=matrix.models,
        distance=distance,
    )


def silhouette(distance: FloatArray, labels: IntArray) -> float:
    """Return the mean silhouette over models (Rousseeuw 1987), 0 for singletons.

    Args:
        distance: (m, m) distances.
        labels: (m,) cluster of each model.

    Returns:
        In [-1, 1]; NaN where there is one cluster only, or only singletons.

    Example:
        >>> distance = np.array([[0.0, 0.1, 1.0], [0.1, 0.0, 1.0], [1.0, 1.0, 0.0]])
        >>> round(silhouette(distance, np.array([0, 0, 1])), 2)
        0.6
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(distance, labels, metric="precomputed"))


def silhouette_paper(values: FloatArray, labels: IntArray, cut: float | None = None) -> float:
    """Return the silhouette as the authors' released code computes it; NaN where undefined.

    It is the mean of (b - a) / max(a, b) over members of non-singleton clusters, in the distance
    of ``released_difference``: a is the mean distance to the other members, and b the mean distance
    to all models of other clusters together.

    Args:
        values: (m, d) scores.
        labels: (m,) cluster of each model.
        cut: Height at which the tree of the released distance is cut, as their code does, instead
            of using ``labels``; the two can differ where a score is not positive. None: no cut.
    """
    distance = released_difference(values)
    if cut is not None:
        labels = cut_at_height(average_linkage(distance), cut)
    return pooled_silhouette(distance, labels)


def pooled_silhouette(distance: FloatArray, labels: IntArray) -> float:
    """Return the authors' silhouette in any distance; NaN where undefined.

    Args:
        distance: (m, m) distances.
        labels: (m,) cluster of each model.
    """
    same = labels[:, None] == labels[None, :]
    inside, outside = same.sum(axis=1) - 1, (~same).sum(axis=1)
    judged = (inside > 0) & (outside > 0)
    if not judged.any():
        return float("nan")
    a = (distance * same).sum(axis=1)[judged] / inside[judged]
    b = (distance * ~same).sum(axis=1)[judged] / outside[judged]
    largest = np.maximum(a, b)
    return float(np.divide(b - a, largest, out=np.zeros_like(a), where=largest > 0).mean())


def average_linkage(distance: FloatArray) -> FloatArray:
    """Return the (m - 1, 4) merges of average linkage, as SciPy has them, of two models or more."""
    merges: FloatArray = linkage(squareform(distance, checks=False), method="average")
    return merges


def cut_at_height(merges: FloatArray, height: float) -> IntArray:
    """Return the (m,) labels of a tree that is cut at ``height``."""
    return fcluster(merges, height, "distance").astype(np.intp)


def cut_into_counts(merges: FloatArray, counts: Iterable[int]) -> list[IntArray]:
    """Return (m,) labels for each number of clusters; there are fewer clusters at tied merges."""
    return [fcluster(merges, count, "maxclust").astype(np.intp) for count in counts]


def kmeans_labels(points: FloatArray, counts: Iterable[int], seed: int = 0) -> list[IntArray]:
    """Return the (m,) labels of k-means for each number of clusters.

    There are fewer clusters where several models are the same point.

    Args:
        points: (m, v) vectors of the models.
        counts: Numbers of clusters.
        seed: Seed of the ten starts for each number.
    """
    distinct = len(np.unique(points, axis=0))
    return [
        KMeans(min(count, distinct), n_init=10, random_state=seed)
        .fit_predict(points)
        .astype(np.intp)
        for count in counts
    ]


def impute_scores(values: FloatArray) -> FloatArray:
    """Return (m, v) scores without missing cells, as k-means needs them.

    A missing cell is filled from the two models with a score there that are nearest on the common
    datasets, weighted by inverse distance; with the dataset's mean where no model has a dataset in
    common. (The mean for all would draw models together that miss the same cells.) Datasets without
    any score are left out.
    """
    values = values[:, ~np.isnan(values).all(axis=0)]
    if not np.isnan(values).any():
        return values
    points: FloatArray = KNNImputer(n_neighbors=2, weights="distance").fit_transform(values)
    return points


def principal_coordinates(distance: FloatArray) -> FloatArray:
    """Return (m, m) principal coordinates (Gower 1966): points with squared distances 2 x distance.

    They are exact where ``distance`` is one minus a cosine, so that k-means of them is k-means of
    the unit vectors; else they are the nearest such points. Models with equal rows are one point.

    Args:
        distance: (m, m) symmetric, zero on the diagonal.
    """
    centered = distance - distance.mean(axis=0)
    gram = -(centered - centered.mean(axis=1, keepdims=True))
    eigenvalues, axes = np.linalg.eigh((gram + gram.T) / 2)
    points = axes * np.sqrt(np.maximum(eigenvalues, 0.0))
    _, first, row = np.unique(distance, axis=0, return_index=True, return_inverse=True)
    return np.asarray(points[first[row.ravel()]], dtype=np.float64)


def candidate_counts(models: int) -> range:
    """Return the numbers of clusters to choose from, singletons included, if none is requested."""
    return range(2, max(3, min(models, _MAX_CLUSTERS + 1)))


def best_by_silhouette(candidates: list[IntArray], distance: FloatArray) -> IntArray:
    """Return the labels with the best silhouette; the first where none is defined.

    Labels that put more than half of the models into one cluster are chosen only where all do. The
    best silhouette is often that of one outlier against the rest of the zoo, where a single model
    would represent everybody.
    """
    if len(candidates) == 1:
        return candidates[0]
    scored = [(silhouette(distance, labels), labels) for labels in candidates]
    defined = [pair for pair in scored if not np.isnan(pair[0])]
    if not defined:
        return candidates[0]
    balanced = [pair for pair in defined if 2 * np.bincount(pair[1]).max() <= len(pair[1])]
    return max(balanced or defined, key=lambda pair: pair[0])[1]


def _check_distance(distance: FloatArray, models: int) -> FloatArray:
    """Return a copy of distances if they are valid."""
    checked = np.array(distance, dtype=np.float64)
    if checked.shape != (models, models):
        raise ConfigError(f"distance: expected shape {(models, models)}, got {checked.shape}")
    if not np.isfinite(checked).all() or checked.min(initial=0.0) < 0:
        raise ConfigError("distance: expected finite numbers of 0 or more")
    if np.diag(checked).any() or not np.allclose(checked, checked.T, rtol=1e-9, atol=1e-12):
        raise ConfigError("distance: expected a symmetric matrix with a diagonal of zeros")
    return checked


def _make_clusters(matrix: PerformanceMatrix, labels: IntArray, prefix: str) -> tuple[Cluster, ...]:
    """Make clusters of labels (m,), the best model of each as its representative."""
    order = np.argsort(-matrix.mean_centered_score, kind="stable")
    groups: dict[int, list[str]] = {}
    for row in order:  # the best first, so that every group starts with its representative
        groups.setdefault(int(labels[row]), []).append(matrix.models[row])
    return tuple(
        Cluster(f"{prefix}-{i}" if prefix else str(i), members[0], tuple(members))
        for i, members in enumerate(groups.values(), start=1)
    )
