"""Advice as people and machines read it, and why a model stands where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core.history.matrix import indices_of
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.recommendation import Recommendation
from mlflow_recall.errors import ConfigError


def log_recommendation(recommendation: Recommendation, run: ActiveRun, folder: str) -> None:
    """Ranking and set into a run: a table, a picture and tags."""
    ranking = recommendation.ranking
    run.log_table(recommendation_rows(recommendation), f"{folder}/ranking.json")
    parts = {name: values.tolist() for name, values in ranking.parts.items()}
    picture = figures.ranking_figure(ranking.models, parts, recommendation.selected)
    run.log_figure(picture, f"{folder}/ranking.png")
    run.set_tags(
        {
            "recall.recommender": recommendation.ranker,
            "recall.set_selector": recommendation.set_selector,
            "recall.recalled": ", ".join(recommendation.selected),
        }
    )


def recommendation_rows(recommendation: Recommendation) -> list[dict[str, object]]:
    """One row a model, best first, for tables."""
    return [
        {
            "model": row["model"],
            "recalled": "yes" if row["model"] in recommendation.selected else "",
            **row["parts"],
            "gap to best": row["gap"],
            "P(within tolerance)": row["p_within_tolerance"],
        }
        for row in recommendation_data(recommendation)
    ]


def recommendation_data(recommendation: Recommendation) -> list[dict[str, Any]]:
    """One mapping a model, best first, with the keys that machines rely on; None is unknown."""
    gaps, ranking = recommendation.gaps, recommendation.ranking
    place = {model: i for i, model in enumerate(gaps.models)}
    return [
        {
            "model": model,
            "score": round_known(ranking.scores[i]),
            "gap": round_known(gaps.mean[place[model]]),
            "low": round_known(gaps.low[place[model]]),
            "high": round_known(gaps.high[place[model]]),
            "predicted": round_known(gaps.predicted[place[model]]),
            "p_within_tolerance": round_known(gaps.p_within[place[model]]),
            "parts": {name: round_known(values[i]) for name, values in ranking.parts.items()},
        }
        for i, model in enumerate(ranking.models)
    ]


def round_known(value: float) -> float | None:
    """For tables and JSON: rounded, None where unknown."""
    return None if np.isnan(value) else round(float(value), 6)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model stands where it stands."""

    model: str
    rank: int
    out_of: int
    is_selected: bool
    #: what each part adds to the score, and how many models it favors more
    parts: Sequence[Mapping[str, object]]
    #: recorded datasets: score, gap to the best and rank of the model there
    recorded: Sequence[Mapping[str, object]]
    #: representative of its cluster; empty for a model of no cluster
    representative: str
    cluster: Sequence[str]


def explain(recommendation: Recommendation, evidence: Evidence, model: str) -> Explanation:
    """What each part of the ranking added for one model, and what the history says of it.

    Raises:
        SettingError: it is not among the candidates.
    """
    ranking, matrix = recommendation.ranking, evidence.matrix
    if model not in ranking.models:
        raise ConfigError(
            f"explain: expected one of {', '.join(ranking.models[:12])}, got {model!r}"
        )
    at = ranking.models.index(model)
    parts = [
        {
            "part": name,
            "adds": round_known(values[at]),
            "rank by it": None if np.isnan(values[at]) else 1 + int((values > values[at]).sum()),
        }
        for name, values in ranking.parts.items()
    ]
    (row,) = indices_of(matrix.models, [model])
    record = [
        {
            "dataset": dataset,
            "score": round_known(column[row]),
            "gap": round_known(np.nanmax(column) - column[row]),
            "rank": 1 + int((column > column[row]).sum()),
        }
        for dataset, column in zip(matrix.datasets, matrix.values.T, strict=True)
        if not np.isnan(column[row])
    ]
    group = evidence.clustering.cluster_of(model)
    return Explanation(
        model,
        at + 1,
        len(ranking.models),
        model in recommendation.selected,
        parts,
        record,
        group.representative if group else "",
        group.members if group else (),
    )
