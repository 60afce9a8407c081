"""Groups of models that behave alike, and who speaks for each."""

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
from mlflow_recall.errors import ConfigError

#: cuts tried when none is asked for: more clusters than this help nobody
_MOST_CLUSTERS = 64


@dataclass(frozen=True)
class Cluster:
    """Models that behave alike; the representative is the strongest of them."""

    id: str
    representative: str
    #: strongest first, the representative among them
    members: tuple[str, ...]

    @property
    def is_singleton(self) -> bool:
        """Whether it has one member only."""
        return len(self.members) == 1


@dataclass(frozen=True, eq=False)
class Clustering:
    """All clusters of a zoo, the strongest representative's first."""

    clusters: tuple[Cluster, ...]
    #: standard silhouette on ``distance``, singletons 0; NaN where undefined
    silhouette: float
    #: what the authors' released code reports at the same cut or count; NaN where undefined
    silhouette_paper: float
    #: who was clustered, in the order of ``distance``
    models: tuple[str, ...]
    #: (m, m) distances: of eq. 1, or the ones that were given
    distance: FloatArray
    #: (m - 1, 4) merges as SciPy writes them; None when k-means made the clusters
    linkage: FloatArray | None = None

    @property
    def representatives(self) -> tuple[str, ...]:
        """Representatives of the non-singleton clusters: whom a score is computed for."""
        return tuple(c.representative for c in self.clusters if not c.is_singleton)

    def cluster_of(self, model: str) -> Cluster | None:
        """The cluster of a model; None for a model without history."""
        return next((c for c in self.clusters if model in c.members), None)


def no_clusters() -> Clustering:
    """Nobody clustered: nobody speaks for anybody else."""
    return Clustering((), float("nan"), float("nan"), (), np.empty((0, 0)))


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
        matrix: scores of m models; models that were never measured are not clustered.
        method: ``hierarchical`` (average linkage on eq. 1) or ``kmeans`` (the paper's alternative,
            on the score vectors, missing cells ``filled`` from the nearest models).
        cut: height at which to cut the tree, in the unit of the scores (or of ``distance``).
        count: number of clusters. Without ``cut`` and ``count`` the best silhouette decides among
            the ``usual`` numbers.
        top: how many largest differences count in eq. 1.
        prefix: modality, which starts the cluster ids: ``text-1``.
        seed: of k-means.
        distance: (m, m) distances of the models of ``matrix``, in its order, in place of eq. 1,
            such as those of ``card_distance``; k-means then runs on ``coordinates`` of them. The
            scores still say who represents, and ``silhouette_paper`` stays a matter of scores.

    Raises:
        SettingError: unknown method, an impossible cut or count, or no distances.
    """
    measured = ~np.isnan(matrix.mean_score)
    if distance is not None:
        distance = _checked(distance, len(measured))[np.ix_(measured, measured)]
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
    given = distance is not None
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
        points = principal_coordinates(distance) if given else impute_scores(matrix.values)
        labels = best_by_silhouette(
            kmeans_labels(points, [count] if count else candidate_counts(models), seed), distance
        )
    same_cut = None if given or merges is None else cut  # a height means scores there
    return Clustering(
        clusters=_named(matrix, labels, prefix),
        silhouette=silhouette(distance, labels),
        silhouette_paper=silhouette_paper(matrix.values, labels, same_cut),
        models=matrix.models,
        distance=distance,
        linkage=merges,
    )


def cluster_by_id(
    matrix: PerformanceMatrix, groups: Mapping[str, str], *, top: int = 5
) -> Clustering:
    """The clustering that was decided before, of the models of a matrix.

    Args:
        matrix: scores; every model with a history must be in ``groups``.
        groups: model -> cluster id.
        top: as in ``cluster``.
    """
    matrix = matrix.select_models(
        np.array(matrix.models, dtype=object)[~np.isnan(matrix.mean_score)]
    )
    _, labels = np.unique([groups[model] for model in matrix.models], return_inverse=True)
    distance = top_difference(matrix.values, top=top)
    clusters = tuple(
        replace(c, id=groups[c.representative]) for c in _named(matrix, labels.astype(np.intp), "")
    )
    return Clustering(
        clusters,
        silhouette(distance, labels),
        silhouette_paper(matrix.values, labels),
        matrix.models,
        distance,
    )


def silhouette(distance: FloatArray, labels: IntArray) -> float:
    """Mean silhouette over models (Rousseeuw 1987), singletons 0; NaN where undefined.

    Args:
        distance: (m, m).
        labels: (m,) cluster of each model.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(distance, labels, metric="precomputed"))


def silhouette_paper(values: FloatArray, labels: IntArray, cut: float | None = None) -> float:
    """The silhouette of the authors' released code; NaN where undefined.

    Over members of non-singleton clusters only: a is the mean distance to the other members, b
    the mean distance to all models outside together, and the mean of (b - a) / max(a, b) is
    taken on the distance of ``released_difference``.

    Args:
        values: (m, d) scores.
        labels: (m,) cluster of each model.
        cut: where given, the tree of the released distance is cut there as their code does, in
            place of ``labels``: the two can differ where a score is not positive.
    """
    distance = released_difference(values)
    if cut is not None:
        labels = cut_at_height(average_linkage(distance), cut)
    return pooled_silhouette(distance, labels)


def pooled_silhouette(distance: FloatArray, labels: IntArray) -> float:
    """``silhouette_paper`` on any distance: members of non-singletons against all others at once.

    Args:
        distance: (m, m).
        labels: (m,) cluster of each model.
    """
    same = labels[:, None] == labels[None, :]
    mates, outside = same.sum(axis=1) - 1, (~same).sum(axis=1)
    judged = (mates > 0) & (outside > 0)
    if not judged.any():
        return float("nan")
    a = (distance * same).sum(axis=1)[judged] / mates[judged]
    b = (distance * ~same).sum(axis=1)[judged] / outside[judged]
    largest = np.maximum(a, b)
    return float(np.divide(b - a, largest, out=np.zeros_like(a), where=largest > 0).mean())


def average_linkage(distance: FloatArray) -> FloatArray:
    """(m - 1, 4) merges of average linkage, as SciPy writes them, of two models or more."""
    merges: FloatArray = linkage(squareform(distance, checks=False), method="average")
    return merges


def cut_at_height(merges: FloatArray, height: float) -> IntArray:
    """(m,) labels of a tree that is cut at ``height``."""
    return fcluster(merges, height, "distance").astype(np.intp)


def cut_into_counts(merges: FloatArray, counts: Iterable[int]) -> list[IntArray]:
    """(m,) labels of a tree for each number of clusters; fewer where merges are tied."""
    return [fcluster(merges, count, "maxclust").astype(np.intp) for count in counts]


def kmeans_labels(points: FloatArray, counts: Iterable[int], seed: int = 0) -> list[IntArray]:
    """(m,) labels of k-means for each number of clusters; fewer where models are the same point.

    Args:
        points: (m, v) vectors of the models.
        counts: numbers of clusters.
        seed: of the ten starts that each number gets.
    """
    distinct = len(np.unique(points, axis=0))
    return [
        KMeans(min(count, distinct), n_init=10, random_state=seed)
        .fit_predict(points)
        .astype(np.intp)
        for count in counts
    ]


def impute_scores(values: FloatArray) -> FloatArray:
    """(m, v) scores without a gap, as k-means needs them.

    A missing cell is filled from the two models with a score there that are nearest on the
    datasets in common, weighted by that nearness; with the dataset's mean where no model has any
    in common. (The mean for all would draw models together that miss the same cells.) A dataset
    that nobody was measured on is left out.
    """
    values = values[:, ~np.isnan(values).all(axis=0)]
    if not np.isnan(values).any():
        return values
    points: FloatArray = KNNImputer(n_neighbors=2, weights="distance").fit_transform(values)
    return points


def principal_coordinates(distance: FloatArray) -> FloatArray:
    """(m, m) principal coordinates (Gower 1966) whose squared distances are twice those given.

    Exact where the given ones are one minus a cosine, so that k-means of them is k-means of the
    unit vectors; else the nearest such points. Models with the same row are the same point.

    Args:
        distance: (m, m) symmetric, zero on the diagonal.
    """
    centered = distance - distance.mean(axis=0)
    gram = -(centered - centered.mean(axis=1, keepdims=True))
    length, axes = np.linalg.eigh((gram + gram.T) / 2)
    points = axes * np.sqrt(np.maximum(length, 0.0))
    _, first, row = np.unique(distance, axis=0, return_index=True, return_inverse=True)
    return np.asarray(points[first[row.ravel()]], dtype=np.float64)


def candidate_counts(models: int) -> range:
    """Numbers of clusters to choose from where none is asked for, singletons included."""
    return range(2, max(3, min(models, _MOST_CLUSTERS + 1)))


def best_by_silhouette(candidates: list[IntArray], distance: FloatArray) -> IntArray:
    """The labels with the best silhouette; the first where none has any.

    Labels that put more than half of the models into one cluster count only where all do: the
    best silhouette is often that of one outlier against the rest of the zoo, and then a single
    representative would speak for everybody.
    """
    if len(candidates) == 1:
        return candidates[0]
    scored = [(silhouette(distance, labels), labels) for labels in candidates]
    usable = [pair for pair in scored if not np.isnan(pair[0])]
    if not usable:
        return candidates[0]
    split = [pair for pair in usable if 2 * np.bincount(pair[1]).max() <= len(pair[1])]
    return max(split or usable, key=lambda pair: pair[0])[1]


def _checked(distance: FloatArray, models: int) -> FloatArray:
    """A copy of given distances, once they are some."""
    given = np.array(distance, dtype=np.float64)
    if given.shape != (models, models):
        raise ConfigError(f"distance: expected shape {(models, models)}, got {given.shape}")
    if not np.isfinite(given).all() or given.min(initial=0.0) < 0:
        raise ConfigError("distance: expected finite numbers of 0 or more")
    if np.diag(given).any() or not np.allclose(given, given.T, rtol=1e-9, atol=1e-12):
        raise ConfigError("distance: expected a symmetric matrix with a diagonal of zeros")
    return given


def _named(matrix: PerformanceMatrix, labels: IntArray, prefix: str) -> tuple[Cluster, ...]:
    order = np.argsort(-matrix.mean_centered_score, kind="stable")
    groups: dict[int, list[str]] = {}
    for row in order:  # strongest first, so every group opens with its representative
        groups.setdefault(int(labels[row]), []).append(matrix.models[row])
    return tuple(
        Cluster(f"{prefix}-{i}" if prefix else str(i), members[0], tuple(members))
        for i, members in enumerate(groups.values(), start=1)
    )
