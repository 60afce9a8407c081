"""Facts of stopping policies on the example's own history."""

from __future__ import annotations

import pytest
from prepared import RecordingReporter

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.workflows.backtest import backtest_history
from mlflow_recall_example import HISTORY
from mlflow_recall_example.other_tasks import DATASETS as OTHER_TASKS

#: a difference that the four decimals of a table do not show
SAME = 5e-5


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.slow
def test_cost_aware_has_no_more_regret_than_halving_and_fine_selection(modality: str) -> None:
    """Neither its area nor the nested one is above theirs on classes, so `auto` stands for it."""
    other = tuple(OTHER_TASKS) if modality == "text" else ()
    config = BacktestConfig(metric=PRIMARY, modality=modality, drop_datasets=other)

    (result,) = backtest_history(config, ExportHistory(HISTORY), RecordingReporter())

    assert result.policies is not None
    frontiers = result.policies.frontiers
    for name in ("halving", "fine_selection"):
        assert frontiers["cost_aware"].area < frontiers[name].area + SAME
        assert frontiers["cost_aware"].area_nested < frontiers[name].area_nested
    assert result.conclusion.defaults.policy == "cost_aware"


def test_repeats_give_the_noise_of_one_score() -> None:
    """Less from epoch to epoch on texts, from four points to one and a half; more on images."""
    records = [r for r in ExportHistory(HISTORY).records(PRIMARY) if r.dataset not in OTHER_TASKS]
    text, image = (
        Curves.from_records(select_comparable(records, kind).records).noise
        for kind in ("text", "image")
    )

    assert text.tolist() == sorted(text, reverse=True)
    assert (round(text[0], 2), round(text[-1], 3)) == (0.04, 0.016)
    assert (image > text).all()
