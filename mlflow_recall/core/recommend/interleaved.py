"""One from the history, one from the scores, in turn."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.prior import prior
from mlflow_recall.core.standardize import normal_scores


def interleaved(evidence: Evidence) -> Ranking:
    """Alternate between the prior's ranking and that of the propagated scores.

    The first pick stays the prior's. As a *set* of candidates this holds a near-best model more
    often than either ranking alone, since the two are wrong about different models. Models of one
    cluster share a score, and the prior orders them. The score of a place is its reciprocal.
    Several scores count as the mean of their normal scores.
    """
    history = prior(evidence)
    strength = dict(zip(history.models, history.scores, strict=True))
    proxy = dict(zip(evidence.matrix.models, _proxy(evidence), strict=True))
    by_score = sorted(
        (model for model in history.models if not np.isnan(proxy[model])),
        key=lambda model: -proxy[model],  # stable: ties stay in the prior's order
    )
    turns = zip(history.models, [*by_score, *history.models], strict=False)
    order = tuple(dict.fromkeys(model for turn in turns for model in turn))
    order = (*order, *(model for model in history.models if model not in order))
    return Ranking(
        order,
        1.0 / np.arange(1, len(order) + 1),
        {
            "prior": np.array([strength[model] for model in order]),
            "proxy": np.array([proxy[model] for model in order]),
        },
    )


def _proxy(evidence: Evidence) -> FloatArray:
    signals = (
        evidence.propagated_scores()
        if evidence.scores and not evidence.representative_scores
        else {}
    )
    if len(signals) == 1:
        return next(iter(signals.values()))
    if signals:
        return nan_mean(np.array([normal_scores(values) for values in signals.values()]), axis=0)
    return evidence.propagated_representative_scores()
