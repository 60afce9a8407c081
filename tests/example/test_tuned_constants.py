"""Constants that were tuned on records, judged on the example's own history, which is everywhere.

They were not tuned on it, so they need not be its best ones; but a change that spoils them is seen.
The history has 16 text models, or 17 image models, on 16 datasets each, without scores.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.core.backtest.calibration import check_calibration
from mlflow_recall.core.backtest.held_out_target import held_out_targets
from mlflow_recall.core.backtest.holdout import hold_out_each
from mlflow_recall.core.backtest.policy_frontiers import frontier, policy_settings
from mlflow_recall.core.backtest.recommender_comparison import (
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.backtest.strategies import policy_strategy, replay_strategy
from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall_example import HISTORY, METRIC

BOTH = pytest.mark.parametrize("modality", ["text", "image"])


class Recorded(NamedTuple):
    """What one modality of the example has."""

    matrix: PerformanceMatrix
    curves: Curves


@cache
def recorded(modality: str) -> Recorded:
    records = select_comparable(ExportHistory(HISTORY).records(METRIC), modality).records
    return Recorded(PerformanceMatrix.from_records(records), Curves.from_records(records))


@cache
def judged(modality: str) -> RecommenderComparison:
    """Every recommender that needs no scores, each dataset held out in turn."""
    names = ["prior", "blend", "portfolio", "interleaved", "linear"]
    return compare_recommenders(hold_out_each(recorded(modality).matrix), names)


@BOTH
def test_every_first_pick_lacks_less_than_one_at_random(modality: str) -> None:
    """By more than two paired standard errors, for one, three and five picks."""
    found = judged(modality).results

    for name in ("prior", "blend", "portfolio", "interleaved", "linear"):
        for picks in ("regret@1", "regret@3", "regret@5"):
            difference, error = found[name].paired_difference(found["random"], picks)
            assert difference < -2 * error


@pytest.mark.parametrize(("modality", "most"), [("text", 0.0014), ("image", 0.0015)])
def test_the_portfolios_five_lack_no_more_than_the_blends(modality: str, most: float) -> None:
    """The share of common errors and the suppositions were tuned for sets of this size."""
    summary = {name: result.summary for name, result in judged(modality).results.items()}

    assert summary["portfolio"]["regret@5"].mean <= most
    for other in ("blend", "prior", "interleaved"):
        assert summary["portfolio"]["regret@5"].mean <= summary[other]["regret@5"].mean


@pytest.mark.parametrize(("modality", "least"), [("text", 0.69), ("image", 0.75)])
def test_a_linear_prediction_orders_models_as_well_as_the_history(
    modality: str, min_models: float
) -> None:
    """Its penalties draw it to the prior, from which these histories give no reason to part."""
    summary = {name: result.summary for name, result in judged(modality).results.items()}

    assert summary["linear"]["spearman"].mean >= min_models
    assert summary["linear"]["regret@5"].mean <= summary["prior"]["regret@5"].mean


@BOTH
@pytest.mark.parametrize("name", ["blend", "portfolio"])
def test_intervals_and_sets_hold_what_they_promise(modality: str, name: str) -> None:
    """80 % of the gaps within two standard errors, and nine in ten of the smallest sets.

    What is said of a gap within a point, on average, is what then comes out.
    """
    got = check_calibration(hold_out_each(recorded(modality).matrix), name)

    assert got.is_nominal
    assert got.summary["covered"].mean >= 0.8
    assert got.summary["held_smallest"].mean >= 0.9
    said, was = got.summary["said"], got.summary["was"]
    assert abs(said.mean - was.mean) <= was.standard_error


@BOTH
def test_the_history_applies_and_shuffled_names_do_not(modality: str) -> None:
    """The level of the test was set so that about one meaningless history in a hundred passes."""
    known = recorded(modality).matrix
    rng = np.random.default_rng(0)

    assert permutation_test(known).applies
    for _ in range(3):
        values = rng.permuted(known.values, axis=0)
        assert not permutation_test(PerformanceMatrix(known.models, known.datasets, values)).applies


@pytest.mark.parametrize(
    ("modality", "area", "nested"), [("text", 0.0105, 0.0132), ("image", 0.0199, 0.0222)]
)
def test_the_price_of_an_epoch_finds_as_much_for_its_epochs_as_it_did(
    modality: str, area: float, nested: float
) -> None:
    """Mean regret over costs from one to five fine-tunings, over the settings fixed beforehand."""
    curves = recorded(modality).curves
    targets = list(held_out_targets(curves))
    found = [
        replay_strategy(targets, policy_strategy("price", setting))
        for setting in policy_settings("price")
    ]

    got = frontier(found, curves.stages)

    assert got.area <= area
    assert got.area_nested <= nested
