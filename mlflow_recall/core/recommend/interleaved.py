"""Models from the ranking of the history and from that of the scores, in turn."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.prior import prior
from mlflow_recall.core.standardize import normal_scores


def interleaved(evidence: Evidence) -> Ranking:
    """Alternate between the prior's ranking and that of the propagated scores.

    The first pick is the prior's. A *set* of first models holds a near-best model more often than
    that of either ranking alone, since the two are wrong about different models. Models of one
    cluster share a score and are ordered by the prior. The score of a rank is its reciprocal.
    Several scores count as the mean of their normal scores.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> scores = {"logme": np.array([0.1, 0.9, 0.2])}
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix), scores=scores
        ... )
        >>> interleaved(evidence).models
        ('a', 'b', 'c')
    """
    history = prior(evidence)
    prior_of = dict(zip(history.models, history.scores, strict=True))
    proxy_of = dict(zip(evidence.matrix.models, _combined_score(evidence), strict=True))
    by_score = sorted(
        (model for model in history.models if not np.isnan(proxy_of[model])),
        key=lambda model: -proxy_of[model],  # sorting is stable: ties keep the prior's order
    )
    turns = zip(history.models, [*by_score, *history.models], strict=False)
    order = tuple(dict.fromkeys(model for turn in turns for model in turn))
    order = (*order, *(model for model in history.models if model not in order))
    return Ranking(
        order,
        1.0 / np.arange(1, len(order) + 1),
        {
            "prior": np.array([prior_of[model] for model in order]),
            "proxy": np.array([proxy_of[model] for model in order]),
        },
    )


def _combined_score(evidence: Evidence) -> FloatArray:
    """Return (m,) scores of the models, propagated from representatives; NaN where unknown."""
    scores = (
        evidence.propagated_scores()
        if evidence.scores and not evidence.representative_scores
        else {}
    )
    if len(scores) == 1:
        return next(iter(scores.values()))
    if scores:
        return nan_mean(np.array([normal_scores(values) for values in scores.values()]), axis=0)
    return evidence.propagated_representative_scores()
