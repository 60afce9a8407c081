"""Groups of models that behave alike, and who speaks for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from mlflow_recall.core.arrays import FloatArray, IntArray, means
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.similarity import released_difference, top_difference
from mlflow_recall.errors import SettingError

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
    def singleton(self) -> bool:
        """Whether it has one member only."""
        return len(self.members) == 1


@dataclass(frozen=True, eq=False)
class Clustering:
    """All clusters of a zoo, the strongest representative's first."""

    clusters: tuple[Cluster, ...]
    #: standard silhouette on the distance of eq. 1, singletons 0; NaN where undefined
    silhouette: float
    #: what the authors' released code reports at the same cut or count; NaN where undefined
    silhouette_paper: float
    #: who was clustered, in the order of ``distance``
    models: tuple[str, ...]
    #: (m, m) distances
    distance: FloatArray
    #: (m - 1, 4) merges as SciPy writes them; None when k-means made the clusters
    merges: FloatArray | None = None

    @property
    def probes(self) -> tuple[str, ...]:
        """Representatives of the non-singleton clusters: whom a score is computed for."""
        return tuple(c.representative for c in self.clusters if not c.singleton)

    def of(self, model: str) -> Cluster | None:
        """The cluster of a model; None for a model without history."""
        return next((c for c in self.clusters if model in c.members), None)


def cluster(
    matrix: PerformanceMatrix,
    *,
    method: str = "hierarchical",
    cut: float | None = None,
    count: int | None = None,
    top: int = 5,
    prefix: str = "",
    seed: int = 0,
) -> Clustering:
    """Cluster the models of a matrix (Cui et al. 2024, section III).

    Args:
        matrix: scores of m models; models that were never measured are not clustered.
        method: ``hierarchical`` (average linkage on eq. 1) or ``kmeans`` (the paper's alternative,
            on the score vectors, missing cells filled with the dataset's mean).
        cut: height at which to cut the tree, in the unit of the scores.
        count: number of clusters. Without ``cut`` and ``count`` the best silhouette decides.
        top: how many largest differences count in eq. 1.
        prefix: modality, which starts the cluster ids: ``text-1``.
        seed: of k-means.

    Raises:
        SettingError: unknown method, or an impossible cut or count.
    """
    measured = ~np.isnan(matrix.mean)
    matrix = matrix.take(np.array(matrix.models, dtype=object)[measured])
    models = len(matrix.models)
    if count is not None and not 1 <= count <= max(1, models):
        raise SettingError(f"clusters: expected between 1 and {models} models, got {count}")
    if method not in ("hierarchical", "kmeans"):
        raise SettingError(f"method: expected hierarchical or kmeans, got {method!r}")
    if top < 1:
        raise SettingError(f"top: expected at least 1, got {top}")
    if cut is not None and (not cut >= 0 or method == "kmeans"):
        raise SettingError(f"cut: expected 0 or more, of a hierarchical tree, got {cut:g}")
    distance = top_difference(matrix.values, top=top)
    merges = None
    if models < 2:
        labels = np.zeros(models, dtype=np.intp)
    elif method == "hierarchical":
        merges = _tree(distance)
        labels = _cut(merges, distance, cut, count)
    else:
        filled = np.where(np.isnan(matrix.values), means(matrix.values, axis=0), matrix.values)
        filled = filled[:, ~np.isnan(filled).any(axis=0)]  # measured on someone
        distinct = len(np.unique(filled, axis=0))
        labels = _best(
            [
                KMeans(min(k, distinct), n_init=10, random_state=seed).fit_predict(filled)
                for k in ([count] if count else range(2, max(3, min(models, _MOST_CLUSTERS))))
            ],
            distance,
        )
    return Clustering(
        clusters=_named(matrix, labels, prefix),
        silhouette=silhouette(distance, labels),
        silhouette_paper=silhouette_paper(
            matrix.values, labels, cut if merges is not None else None
        ),
        models=matrix.models,
        distance=distance,
        merges=merges,
    )


def regroup(matrix: PerformanceMatrix, groups: Mapping[str, str], *, top: int = 5) -> Clustering:
    """The clustering that was decided before, of the models of a matrix.

    Args:
        matrix: scores; every model with a history must be in ``groups``.
        groups: model -> cluster id.
        top: as in ``cluster``.
    """
    matrix = matrix.take(np.array(matrix.models, dtype=object)[~np.isnan(matrix.mean)])
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
        labels = _cut(_tree(distance), distance, cut, None)
    same = labels[:, None] == labels[None, :]
    mates, outside = same.sum(axis=1) - 1, (~same).sum(axis=1)
    judged = (mates > 0) & (outside > 0)
    if not judged.any():
        return float("nan")
    a = (distance * same).sum(axis=1)[judged] / mates[judged]
    b = (distance * ~same).sum(axis=1)[judged] / outside[judged]
    largest = np.maximum(a, b)
    return float(np.divide(b - a, largest, out=np.zeros_like(a), where=largest > 0).mean())


def _tree(distance: FloatArray) -> FloatArray:
    merges: FloatArray = linkage(squareform(distance, checks=False), method="average")
    return merges


def _cut(
    merges: FloatArray, distance: FloatArray, cut: float | None, count: int | None
) -> IntArray:
    if cut is not None:
        return fcluster(merges, cut, "distance").astype(np.intp)
    if count is not None:
        return fcluster(merges, count, "maxclust").astype(np.intp)
    most = min(len(distance), _MOST_CLUSTERS + 1)
    return _best(
        [fcluster(merges, k, "maxclust").astype(np.intp) for k in range(2, most)], distance
    )


def _best(candidates: list[IntArray], distance: FloatArray) -> IntArray:
    """The labels with the best silhouette; the first where none has any."""
    alone = np.arange(len(distance), dtype=np.intp)
    scored = [(silhouette(distance, labels), labels) for labels in candidates]
    usable = [pair for pair in scored if not np.isnan(pair[0])]
    if not usable:
        return candidates[0] if candidates else alone
    return max(usable, key=lambda pair: pair[0])[1]


def _named(matrix: PerformanceMatrix, labels: IntArray, prefix: str) -> tuple[Cluster, ...]:
    order = np.argsort(-matrix.advantage, kind="stable")
    groups: dict[int, list[str]] = {}
    for row in order:  # strongest first, so every group opens with its representative
        groups.setdefault(int(labels[row]), []).append(matrix.models[row])
    return tuple(
        Cluster(f"{prefix}-{i}" if prefix else str(i), members[0], tuple(members))
        for i, members in enumerate(groups.values(), start=1)
    )
