"""A recommendation as tables: for a run, for people and for machines."""

from __future__ import annotations

from typing import Any

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core.formatting import round_or_none
from mlflow_recall.core.recommend.recommendation import Recommendation


def log_recommendation(recommendation: Recommendation, run: ActiveRun, folder: str) -> None:
    """Log ranking and set to a run: a table, a figure and tags."""
    ranking = recommendation.ranking
    run.log_table(recommendation_rows(recommendation), f"{folder}/ranking.json")
    parts = {name: values.tolist() for name, values in ranking.parts.items()}
    figure = figures.ranking_figure(ranking.models, parts, recommendation.selected)
    run.log_figure(figure, f"{folder}/ranking.png")
    run.set_tags(
        {
            tags.RECOMMENDER: recommendation.ranker,
            tags.SET_SELECTOR: recommendation.set_selector,
            tags.RECALLED: ", ".join(recommendation.selected),
        }
    )


def recommendation_rows(recommendation: Recommendation) -> list[dict[str, object]]:
    """Return one row a model, best first, for tables."""
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
    """Return one mapping a model, best first, with the keys that machines rely on.

    None is unknown.
    """
    gaps, ranking = recommendation.gaps, recommendation.ranking
    row_of = {model: i for i, model in enumerate(gaps.models)}
    return [
        {
            "model": model,
            "score": round_or_none(ranking.scores[i]),
            "gap": round_or_none(gaps.mean[row_of[model]]),
            "low": round_or_none(gaps.low[row_of[model]]),
            "high": round_or_none(gaps.high[row_of[model]]),
            "predicted": round_or_none(gaps.predicted[row_of[model]]),
            "p_within_tolerance": round_or_none(gaps.p_within[row_of[model]]),
            "parts": {name: round_or_none(values[i]) for name, values in ranking.parts.items()},
        }
        for i, model in enumerate(ranking.models)
    ]
