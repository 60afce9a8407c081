"""The paper's coarse recall."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.errors import SettingError


def paper(evidence: Evidence) -> Ranking:
    """Mean benchmark score times normalised proxy (Cui et al. 2024, eq. 2-4).

    The proxies p of the c non-singleton clusters' representatives are normalised to [0, 1]. With
    acc the mean benchmark score of a model, a member of cluster k scores acc · p_k (eq. 2 and 3);
    a singleton scores acc · mean_k(sim(model, representative_k) · p_k), with the similarity of
    eq. 1 (eq. 4).

    Raises:
        SettingError: fewer than two proxies, which cannot be normalised, or a negative mean score,
            which a higher proxy would make worse.
    """
    proxies = evidence.usable
    names = list(proxies)
    if len(names) < 2:
        raise SettingError(
            f"recommender paper: expected scores of two clusters or more, got {len(names)}: "
            "use --recommender prior, or cut the tree into more clusters"
        )
    accuracy = evidence.matrix.mean
    if (accuracy < 0).any():
        raise SettingError(
            "recommender paper: expected a metric that is not negative, since eq. 2 multiplies by "
            f"its mean, got {np.nanmin(accuracy):.3f}: use --recommender prior or interleaved"
        )
    raw = np.array([proxies[name] for name in names])
    span = raw.max() - raw.min()
    proxy = (raw - raw.min()) / span if span > 0 else np.ones_like(raw)
    normalised = dict(zip(names, proxy.tolist(), strict=True))
    carried = evidence.similarity(names) @ proxy / len(names)  # eq. 4
    for i, model in enumerate(evidence.matrix.models):
        cluster = evidence.clustering.of(model)
        if cluster is not None and cluster.representative in normalised:
            carried[i] = normalised[cluster.representative]  # eq. 3
    parts = {"mean": accuracy, "proxy": carried}
    return Ranking.by(evidence.matrix.models, accuracy * carried, parts)
