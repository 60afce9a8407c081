"""Why a model has its rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.formatting import join_names, round_or_none
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.history.tasks import PRIMARY
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
    #: metric of the recorded scores; ``primary`` where datasets have several
    metric: str
    #: recorded datasets: score, gap to the best and rank of the model there
    recorded: Sequence[Mapping[str, object]]
    #: representative of its cluster; None for a model of no cluster
    representative: str | None
    cluster: Sequence[str]


def explain_model(
    recommendation: Recommendation, evidence: Evidence, model: str, records: Sequence[Record]
) -> Explanation:
    """Say what each part of the ranking adds for one model, and what the history has of it.

    Args:
        recommendation: The ranking.
        evidence: What it is based on.
        model: Name of the model.
        records: Records that the matrix of the evidence is made of.

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
    metrics = {record.dataset: record.metric for record in records}
    own = PerformanceMatrix.from_records([record for record in records if record.model == model])
    own_scores = dict(zip(own.datasets, own.values.ravel().tolist(), strict=True))
    label = RegretUnit(tuple(sorted({metrics[name] for name in matrix.datasets}))).metric
    recorded = [
        {
            "dataset": dataset,
            **({"metric": metrics[dataset]} if label == PRIMARY else {}),
            "score": round_or_none(to_maximize(metrics[dataset], own_scores[dataset])),
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
        metric=label,
        recorded=recorded,
        representative=cluster.representative if cluster else None,
        cluster=cluster.members if cluster else (),
    )
