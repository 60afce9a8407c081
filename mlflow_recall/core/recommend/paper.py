"""The paper's coarse recall."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.matrix import indices_of
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.errors import ConfigError


def paper(
    evidence: Evidence,
    *,
    own_scores: bool = False,
    cosine_decay: bool = False,
    exponential: bool = False,
) -> Ranking:
    """Rank by mean benchmark score times normalized proxy (Cui et al. 2024, Eq. 2-4).

    The proxies p of the c non-singleton clusters' representatives are normalized to [0, 1]. With
    acc the mean benchmark score of a model, a member of cluster k scores acc · p_k (Eq. 2 and 3);
    a singleton scores acc · mean_k(sim(model, representative_k) · p_k), with the similarity of
    Eq. 1 (Eq. 4).

    Args:
        evidence: History, and proxies or a score; of several scores the first is used.
        own_scores: Whether members have their own proxy where it is known (the authors' code)
            instead of their representative's (Eq. 3).
        cosine_decay: Whether the similarity of singletons is the cosine of two models' benchmark
            scores (the authors' code) instead of Eq. 1.
        exponential: Whether proxies become exp(p) (the authors' code) instead of being normalized
            to [0, 1].

    Raises:
        ConfigError: There are fewer than two proxies, which cannot be normalized, or a mean score
            is negative, which a higher proxy would make worse.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.9, 0.7], [0.5, 0.4], [0.5, 0.5]])
        >>> matrix = PerformanceMatrix(("a", "b", "c", "d"), ("x", "y"), values)
        >>> clusters = cluster_models(matrix, count=2)
        >>> evidence = Evidence(
        ...     matrix=matrix,
        ...     clustering=clusters,
        ...     representative_scores={"a": 0.1, "d": 0.8},
        ... )
        >>> paper(evidence).models
        ('d', 'c', 'a', 'b')
    """
    known = evidence.usable_representative_scores
    if own_scores and not evidence.representative_scores and evidence.scores:
        first = next(iter(evidence.scores.values()))
        known = {m: float(v) for m, v in zip(evidence.matrix.models, first, strict=True)}
        known = {m: v for m, v in known.items() if np.isfinite(v)}
    probed = evidence.clustering.representatives
    names = [name for name in known if name in probed] if own_scores else list(known)
    if len(names) < 2:
        raise ConfigError(
            f"recommender paper: expected scores of two clusters or more, got {len(names)}: "
            "use --recommender prior, blend or portfolio, which need none, or cut the tree into "
            "more clusters"
        )
    accuracy = evidence.matrix.mean_score
    if (accuracy < 0).any():
        raise ConfigError(
            "recommender paper: expected a metric that is not negative, since Eq. 2 multiplies by "
            f"its mean, got {np.nanmin(accuracy):.3f}: use --recommender prior, blend or portfolio"
        )
    raw = np.array(list(known.values()))
    span = raw.max() - raw.min()
    if exponential:
        proxy = np.exp(raw)
    else:
        proxy = (raw - raw.min()) / span if span > 0 else np.ones_like(raw)
    normalized = dict(zip(known, proxy.tolist(), strict=True))
    proxies = np.array([normalized[name] for name in names])
    similarity = _cosine(evidence, names) if cosine_decay else evidence.similarity(names)
    propagated = similarity @ proxies / len(names)  # Eq. 4
    for i, model in enumerate(evidence.matrix.models):
        cluster = evidence.clustering.cluster_of(model)
        if cluster is not None and cluster.representative in names:
            propagated[i] = normalized[cluster.representative]  # Eq. 3
            if own_scores:
                propagated[i] = normalized.get(model, propagated[i])
    parts = {"mean": accuracy, "proxy": propagated}
    return Ranking.from_scores(evidence.matrix.models, accuracy * propagated, parts)


def paper_code(evidence: Evidence) -> Ranking:
    """Rank as the authors' released code does, which differs from the equations in three ways.

    How that code cuts the tree is an option of ``cluster_models``.
    """
    return paper(evidence, own_scores=True, cosine_decay=True, exponential=True)


def _cosine(evidence: Evidence, others: list[str]) -> FloatArray:
    """Return the (m, k) cosine of the scores of two models over their common datasets."""
    values = np.where(np.isnan(evidence.matrix.values), 0.0, evidence.matrix.values)
    measured = (~np.isnan(evidence.matrix.values)).astype(np.float64)
    rows = indices_of(evidence.matrix.models, others)
    product = values @ values[rows].T
    size = np.sqrt((values**2 @ measured[rows].T) * (measured @ (values[rows] ** 2).T))
    cosine: FloatArray = np.divide(product, size, out=np.zeros_like(product), where=size > 0)
    return cosine
