"""What the example's own history says of stopping policies."""

from __future__ import annotations

import pytest
from prepared import RecordingReporter

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.config import BacktestConfig
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.workflows.backtest import backtest_history
from mlflow_recall_example import HISTORY, METRIC

#: what the four decimals of a table do not show
SAME = 5e-5


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.slow
def test_the_price_of_an_epoch_is_not_above_halving_and_fine_selection(modality: str) -> None:
    """Neither its area nor the nested one, so it is what `auto` stands for."""
    config = BacktestConfig(metric=METRIC, modality=modality)

    (found,) = backtest_history(config, ExportHistory(HISTORY), RecordingReporter())

    assert found.policies is not None
    fronts = found.policies.frontiers
    for name in ("halving", "fine_selection"):
        assert fronts["price"].area < fronts[name].area + SAME
        assert fronts["price"].area_nested < fronts[name].area_nested
    assert found.conclusion.defaults.policy == "price"


def test_repeats_tell_what_one_score_is_off_by() -> None:
    """Less from epoch to epoch on texts, from four points to one and a half; more on images."""
    records = ExportHistory(HISTORY).records(METRIC)
    text, image = (
        Curves.from_records(select_comparable(records, kind).records).noise
        for kind in ("text", "image")
    )

    assert text.tolist() == sorted(text, reverse=True)
    assert (round(text[0], 2), round(text[-1], 3)) == (0.04, 0.016)
    assert (image > text).all()
