"""Advice as people and machines read it, and why a model stands where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.ledger import OpenRun
from mlflow_recall.core.advice import Advice
from mlflow_recall.core.matrix import positions
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.errors import SettingError


def log_advice(advice: Advice, run: OpenRun, folder: str) -> None:
    """Ranking and set into a run: a table, a picture and tags."""
    ranking = advice.ranking
    run.table(advice_rows(advice), f"{folder}/ranking.json")
    parts = {name: values.tolist() for name, values in ranking.parts.items()}
    picture = figures.ranking(ranking.models, parts, advice.chosen)
    run.picture(picture, f"{folder}/ranking.png")
    run.tag(
        {
            "recall.recommender": advice.ranker,
            "recall.set_by": advice.picker,
            "recall.recalled": ", ".join(advice.chosen),
        }
    )


def advice_rows(advice: Advice) -> list[dict[str, object]]:
    """One row a model, best first, for tables."""
    return [
        {
            "model": row["model"],
            "recalled": "yes" if row["model"] in advice.chosen else "",
            **row["parts"],
            "gap to best": row["gap"],
            "P(within tolerance)": row["p_within_tolerance"],
        }
        for row in advice_data(advice)
    ]


def advice_data(advice: Advice) -> list[dict[str, Any]]:
    """One mapping a model, best first, with the keys that machines rely on; None is unknown."""
    gaps, ranking = advice.gaps, advice.ranking
    place = {model: i for i, model in enumerate(gaps.models)}
    return [
        {
            "model": model,
            "score": known(ranking.scores[i]),
            "gap": known(gaps.mean[place[model]]),
            "low": known(gaps.low[place[model]]),
            "high": known(gaps.high[place[model]]),
            "predicted": known(gaps.predicted[place[model]]),
            "p_within_tolerance": known(gaps.within[place[model]]),
            "parts": {name: known(values[i]) for name, values in ranking.parts.items()},
        }
        for i, model in enumerate(ranking.models)
    ]


def known(value: float) -> float | None:
    """For tables and JSON: rounded, None where unknown."""
    return None if np.isnan(value) else round(float(value), 6)


@dataclass(frozen=True, eq=False)
class Explained:
    """Why a model stands where it stands."""

    model: str
    rank: int
    of: int
    chosen: bool
    #: what each part adds to the score, and how many models it favours more
    parts: Sequence[Mapping[str, object]]
    #: recorded datasets: score, gap to the best and rank of the model there
    record: Sequence[Mapping[str, object]]
    #: representative of its cluster; empty for a model of no cluster
    representative: str
    cluster: Sequence[str]


def explain(advice: Advice, evidence: Evidence, model: str) -> Explained:
    """What each part of the ranking added for one model, and what the history says of it.

    Raises:
        SettingError: it is not among the candidates.
    """
    ranking, matrix = advice.ranking, evidence.matrix
    if model not in ranking.models:
        raise SettingError(
            f"explain: expected one of {', '.join(ranking.models[:12])}, got {model!r}"
        )
    at = ranking.models.index(model)
    parts = [
        {
            "part": name,
            "adds": known(values[at]),
            "rank by it": None if np.isnan(values[at]) else 1 + int((values > values[at]).sum()),
        }
        for name, values in ranking.parts.items()
    ]
    (row,) = positions(matrix.models, [model])
    record = [
        {
            "dataset": dataset,
            "score": known(column[row]),
            "gap": known(np.nanmax(column) - column[row]),
            "rank": 1 + int((column > column[row]).sum()),
        }
        for dataset, column in zip(matrix.datasets, matrix.values.T, strict=True)
        if not np.isnan(column[row])
    ]
    group = evidence.clustering.of(model)
    return Explained(
        model,
        at + 1,
        len(ranking.models),
        model in advice.chosen,
        parts,
        record,
        group.representative if group else "",
        group.members if group else (),
    )
