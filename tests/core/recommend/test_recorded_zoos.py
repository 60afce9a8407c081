"""Facts of the recommenders on real records; skipped where there are none."""

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
    """Every dataset with scores, held out."""
    history = FolderHistory(folder)
    matrix = PerformanceMatrix.from_records(history.records(metric))
    scores = {
        name: np.array(
            [[cells.get((m, d), math.nan) for d in matrix.datasets] for m in matrix.models]
        )
        for name, cells in history.scores().items()
    }
    targets = []
    for j, dataset in enumerate(matrix.datasets):
        keep = ~np.isnan(matrix.values[:, j])
        if not all((~np.isnan(values[keep, j])).sum() > 5 for values in scores.values()):
            continue
        models = [m for m, kept in zip(matrix.models, keep, strict=True) if kept]
        known = matrix.without_dataset(dataset).select_models(models)
        evidence = Evidence(
            matrix=known,
            clustering=cluster_models(known, count=20),
            scores={name: values[keep, j] for name, values in scores.items()},
            recorded_scores={
                name: np.delete(values, j, axis=1)[keep] for name, values in scores.items()
            },
        )
        targets.append((evidence, matrix.values[keep, j]))
    return targets


@pytest.fixture(scope="module")
def lora() -> list[tuple[Evidence, FloatArray]]:
    return cases(TEXT, LORA)


def regret(given: list[tuple[Evidence, FloatArray]], name: str, k: int) -> float:
    regrets = []
    for evidence, truth in given:
        score = dict(zip(evidence.matrix.models, truth, strict=True))
        chosen = RECOMMENDERS[name].rank(evidence).models[:k]
        regrets.append(truth.max() - max(score[model] for model in chosen))
    return float(np.mean(regrets))


def test_the_blends_first_model_and_the_portfolios_five_have_little_regret(
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
    correlations = []
    for evidence, truth in lora:
        ranking = RECOMMENDERS["linear"].rank(evidence)
        score = dict(zip(evidence.matrix.models, truth, strict=True))
        true = [score[model] for model in ranking.models]
        correlations.append(np.corrcoef(ranking.scores, true)[0, 1])

    assert np.mean(correlations) >= 0.86


def test_intervals_and_sets_hold_what_they_promise(
    lora: list[tuple[Evidence, FloatArray]],
) -> None:
    """Eight targets tell a gross error only."""
    inside, is_near = [], []
    for evidence, truth in lora[::2]:
        rank = RECOMMENDERS["portfolio"].rank
        ranking, held_out = rank(evidence), rank_held_out(evidence, rank)
        predicted = predict_gaps(ranking, evidence.matrix, held_out)
        gap = truth.max() - truth
        high = np.nan_to_num(predicted.high, nan=np.inf)
        inside.append(np.mean((gap >= predicted.low) & (gap <= high)))
        gap_of = dict(zip(evidence.matrix.models, gap, strict=True))
        smallest = find_smallest_set(ranking, held_out)
        is_near.append(min(gap_of[m] for m in smallest.models) <= 0.01)

    assert np.mean(inside) >= 0.7
    assert sum(is_near) >= 3
