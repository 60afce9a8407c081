"""Why a model has its rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.formatting import join_names, round_or_none
from mlflow_recall.core.history.matrix import indices_of
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.recommendation import Recommendation
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True, eq=False, kw_only=True)
class Explanation:
    """Why a model has its rank."""

    model: str
    rank: int
    #: number of ranked models
    out_of: int
    #: whether it is in the set to train
    is_selected: bool
    #: what each part adds to the score, and the rank by that part
    parts: Sequence[Mapping[str, object]]
    #: recorded datasets: score, gap to the best and rank of the model there
    recorded: Sequence[Mapping[str, object]]
    #: representative of its cluster; None for a model of no cluster
    representative: str | None
    cluster: Sequence[str]


def explain_model(recommendation: Recommendation, evidence: Evidence, model: str) -> Explanation:
    """Say what each part of the ranking adds for one model, and what the history has of it.

    Raises:
        ConfigError: The model is not among the candidates.
    """
    ranking, matrix = recommendation.ranking, evidence.matrix
    if model not in ranking.models:
        raise ConfigError(f"explain: expected one of {join_names(ranking.models)}, got {model!r}")
    place = ranking.models.index(model)
    parts = [
        {
            "part": name,
            "adds": round_or_none(values[place]),
            "rank": None if np.isnan(values[place]) else 1 + int((values > values[place]).sum()),
        }
        for name, values in ranking.parts.items()
    ]
    (row,) = indices_of(matrix.models, [model])
    recorded = [
        {
            "dataset": dataset,
            "score": round_or_none(scores[row]),
            "gap": round_or_none(np.nanmax(scores) - scores[row]),
            "rank": 1 + int((scores > scores[row]).sum()),
        }
        for dataset, scores in zip(matrix.datasets, matrix.values.T, strict=True)
        if not np.isnan(scores[row])
    ]
    cluster = evidence.clustering.cluster_of(model)
    return Explanation(
        model=model,
        rank=place + 1,
        out_of=len(ranking.models),
        is_selected=model in recommendation.selected,
        parts=parts,
        recorded=recorded,
        representative=cluster.representative if cluster else None,
        cluster=cluster.members if cluster else (),
    )
