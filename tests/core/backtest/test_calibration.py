"""Facts of calibration: predicted gaps and the observed ones."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.backtest.calibration import check_calibration
from mlflow_recall.core.backtest.holdout import hold_out_each
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import predict_gaps, rank_held_out
from mlflow_recall.core.recommend.blend import blend

RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data"))


def world(m: int = 12, d: int = 24, seed: int = 0) -> PerformanceMatrix:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(m, 1)) + 0.5 * rng.normal(size=(m, d))
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(m)), tuple(f"d{j:02d}" for j in range(d)), values
    )


def test_one_target_by_hand() -> None:
    targets = hold_out_each(world(d=8))
    evidence, final_scores = targets[3].evidence, targets[3].final_scores
    predicted = predict_gaps(
        blend(evidence), evidence.matrix, rank_held_out(evidence, blend), tolerance=0.4
    )
    gap = final_scores.max() - final_scores

    got = check_calibration(targets, "blend", tolerance=0.4)

    assert got.datasets == tuple(target.dataset for target in targets)
    assert got.covered[3] == np.mean((predicted.low <= gap) & (gap <= predicted.high))
    assert got.width[3] == pytest.approx(np.mean(predicted.high - predicted.low))
    assert got.brier[3] == pytest.approx(np.mean((predicted.p_within - (gap <= 0.4)) ** 2))
    assert got.observed[3] == np.mean(gap <= 0.4)
    assert got.predicted_first[3] == predicted.p_holds_best(blend(evidence).models[:5])
    assert set(got.observed_first) | set(got.observed_smallest) <= {0.0, 1.0}


def test_predictions_are_calibrated_on_data_like_the_recorded() -> None:
    got = check_calibration(hold_out_each(world()), "blend", tolerance=0.4)

    assert got.is_nominal
    summary = got.summary
    observed = summary["observed"].mean
    assert summary["predicted"].mean == pytest.approx(observed, abs=0.1)
    assert summary["brier"].mean < observed * (1 - observed)  # better than the base rate
    assert summary["covered"].standard_error == pytest.approx(
        got.covered.std(ddof=1) / math.sqrt(24)
    )


def test_a_narrower_promise_makes_narrower_intervals() -> None:
    targets = hold_out_each(world())

    half, most = (check_calibration(targets, "prior", coverage=c).summary for c in (0.5, 0.9))

    assert half["covered"].mean < most["covered"].mean
    assert half["width"].mean < most["width"].mean


def test_few_datasets_have_no_upper_end_and_so_no_width() -> None:
    got = check_calibration(hold_out_each(world(d=4)), "prior")

    assert np.isnan(got.width).all()
    assert got.summary["width"].count == 0


def test_a_recommender_that_cannot_rank_is_calibrated_on_no_target() -> None:
    got = check_calibration(hold_out_each(world(d=4)), "paper")

    assert got.datasets == ()
    assert math.isnan(got.summary["covered"].mean)
    assert not got.is_nominal


@pytest.mark.parametrize(
    ("folder", "metric", "tolerance"),
    [
        ("two_phase_paper", "acc_NLP", 0.01),
        ("vtab", "test_acc_full", 1.0),
        ("vtab", "test_acc_vtab1k", 1.0),
        ("medmnist_transfer", "test_auc_paper", 0.01),
    ],
)
def test_coverage_is_nominal_on_real_records(folder: str, metric: str, tolerance: float) -> None:
    if not (RECORDS / folder).exists():
        pytest.skip("needs the records in RECALL_RECORDS")
    history = FolderHistory(RECORDS / folder)
    matrix = PerformanceMatrix.from_records(history.records(metric))

    got = check_calibration(hold_out_each(matrix), "blend", tolerance=tolerance)

    assert len(got.datasets) >= 10
    assert got.is_nominal
