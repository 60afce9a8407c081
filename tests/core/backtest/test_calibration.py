"""Facts of calibration: what is said of gaps, and what they were."""

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
    given = hold_out_each(world(d=8))
    case = given[3]
    said = predict_gaps(
        blend(case.evidence),
        case.evidence.matrix,
        rank_held_out(case.evidence, blend),
        tolerance=0.4,
    )
    gap = case.truth.max() - case.truth

    got = check_calibration(given, "blend", tolerance=0.4)

    assert got.datasets == tuple(c.dataset for c in given)
    assert got.covered[3] == np.mean((said.low <= gap) & (gap <= said.high))
    assert got.width[3] == pytest.approx(np.mean(said.high - said.low))
    assert got.brier[3] == pytest.approx(np.mean((said.p_within - (gap <= 0.4)) ** 2))
    assert got.observed[3] == np.mean(gap <= 0.4)
    assert got.predicted_first[3] == said.p_holds_best(blend(case.evidence).models[:5])
    assert set(got.observed_first) | set(got.observed_smallest) <= {0.0, 1.0}


def test_what_is_said_is_what_is_on_data_like_the_recorded() -> None:
    got = check_calibration(hold_out_each(world()), "blend", tolerance=0.4)

    assert got.is_nominal
    s = got.summary
    assert s["said"].mean == pytest.approx(s["was"].mean, abs=0.1)
    assert s["brier"].mean < s["was"].mean * (1 - s["was"].mean)  # better than the base rate
    assert s["covered"].standard_error == pytest.approx(got.covered.std(ddof=1) / math.sqrt(24))


def test_a_narrower_promise_makes_narrower_intervals() -> None:
    given = hold_out_each(world())

    half, most = (check_calibration(given, "prior", coverage=c).summary for c in (0.5, 0.9))

    assert half["covered"].mean < most["covered"].mean
    assert half["width"].mean < most["width"].mean


def test_few_datasets_have_no_upper_end_and_so_no_width() -> None:
    got = check_calibration(hold_out_each(world(d=4)), "prior")

    assert np.isnan(got.width).all()
    assert got.summary["width"].count == 0


def test_who_cannot_rank_is_calibrated_on_nothing() -> None:
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
