"""What the recommenders are worth on real records; skipped where there are none."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import (
    RECOMMENDERS,
    Evidence,
    find_smallest_set,
    predict_gaps,
    rank_held_out,
)

RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data"))
TEXT = RECORDS / "transfergraph_nlp"
pytestmark = pytest.mark.skipif(not TEXT.exists(), reason="needs the records in RECALL_RECORDS")
LORA = "eval_accuracy_lora"


def cases(folder: Path, metric: str) -> list[tuple[Evidence, FloatArray]]:
    """Every dataset with scores, left out."""
    history = FolderHistory(folder)
    matrix = PerformanceMatrix.from_records(history.records(metric))
    scores = {
        name: np.array(
            [[cells.get((m, d), math.nan) for d in matrix.datasets] for m in matrix.models]
        )
        for name, cells in history.scores().items()
    }
    found = []
    for j, dataset in enumerate(matrix.datasets):
        keep = ~np.isnan(matrix.values[:, j])
        if not all((~np.isnan(values[keep, j])).sum() > 5 for values in scores.values()):
            continue
        models = [m for m, kept in zip(matrix.models, keep, strict=True) if kept]
        known = matrix.without_dataset(dataset).select_models(models)
        evidence = Evidence(
            known,
            cluster_models(known, count=20),
            scores={name: values[keep, j] for name, values in scores.items()},
            recorded_scores={
                name: np.delete(values, j, axis=1)[keep] for name, values in scores.items()
            },
        )
        found.append((evidence, matrix.values[keep, j]))
    return found


@pytest.fixture(scope="module")
def lora() -> list[tuple[Evidence, FloatArray]]:
    return cases(TEXT, LORA)


def regret(given: list[tuple[Evidence, FloatArray]], name: str, k: int) -> float:
    lost = []
    for evidence, truth in given:
        of = dict(zip(evidence.matrix.models, truth, strict=True))
        picked = RECOMMENDERS[name](evidence).models[:k]
        lost.append(truth.max() - max(of[model] for model in picked))
    return float(np.mean(lost))


def test_the_blends_first_pick_and_the_portfolios_five_lack_little(
    lora: list[tuple[Evidence, FloatArray]],
) -> None:
    assert len(lora) == 8
    assert regret(lora, "blend", 1) <= 0.010
    assert regret(lora, "portfolio", 5) <= 0.002
    assert regret(lora, "portfolio", 5) <= regret(lora, "interleaved", 5)
    assert regret(lora, "paper", 1) > regret(lora, "blend", 1)


def test_linear_predictions_agree_with_the_outcomes(
    lora: list[tuple[Evidence, FloatArray]],
) -> None:
    found = []
    for evidence, truth in lora:
        ranking = RECOMMENDERS["linear"](evidence)
        of = dict(zip(evidence.matrix.models, truth, strict=True))
        found.append(np.corrcoef(ranking.scores, [of[m] for m in ranking.models])[0, 1])

    assert np.mean(found) >= 0.86


def test_intervals_and_sets_hold_what_they_promise(
    lora: list[tuple[Evidence, FloatArray]],
) -> None:
    """Eight targets tell a gross error only."""
    inside, held = [], []
    for evidence, truth in lora[::2]:
        blend = RECOMMENDERS["portfolio"]
        ranking, past = blend(evidence), rank_held_out(evidence, blend)
        said = predict_gaps(ranking, evidence.matrix, past)
        gap = truth.max() - truth
        inside.append(np.mean((gap >= said.low) & (gap <= np.nan_to_num(said.high, nan=np.inf))))
        of = dict(zip(evidence.matrix.models, gap, strict=True))
        held.append(min(of[m] for m in find_smallest_set(ranking, past).models) <= 0.01)

    assert np.mean(inside) >= 0.7
    assert sum(held) >= 3
