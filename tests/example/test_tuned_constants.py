"""Constants that were tuned on records, judged on the example's own history, which is everywhere.

They were not tuned on it, so they need not be its best ones; but a change that spoils them is seen.
These are its datasets of classes: 16 of 16 text models, and 16 of 17 image models, without scores.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.core.backtest.calibration import check_calibration
from mlflow_recall.core.backtest.holdout import hold_out_curves, hold_out_each
from mlflow_recall.core.backtest.policy_frontiers import make_frontier
from mlflow_recall.core.backtest.recommender_comparison import (
    RecommenderComparison,
    compare_recommenders,
)
from mlflow_recall.core.backtest.strategies import policy_strategy, replay_strategy
from mlflow_recall.core.backtest.transfer_test import permutation_test
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.core.policies import POLICIES
from mlflow_recall_example import HISTORY
from mlflow_recall_example.other_tasks import DATASETS as OTHER_TASKS

BOTH = pytest.mark.parametrize("modality", ["text", "image"])


class Recorded(NamedTuple):
    """What one modality of the example has."""

    matrix: PerformanceMatrix
    curves: Curves


@cache
def recorded(modality: str) -> Recorded:
    known = [r for r in ExportHistory(HISTORY).records(PRIMARY) if r.dataset not in OTHER_TASKS]
    records = select_comparable(known, modality).records
    return Recorded(PerformanceMatrix.from_records(records), Curves.from_records(records))


@cache
def judged(modality: str) -> RecommenderComparison:
    """Every recommender that needs no scores, each dataset held out in turn."""
    names = ["prior", "blend", "portfolio", "interleaved", "linear"]
    return compare_recommenders(hold_out_each(recorded(modality).matrix), names)


@BOTH
def test_the_first_models_have_less_regret_than_random_ones(modality: str) -> None:
    """By more than two paired standard errors, for one, three and five models."""
    results = judged(modality).results

    for name in ("prior", "blend", "portfolio", "interleaved", "linear"):
        for measure in ("regret@1", "regret@3", "regret@5"):
            difference, error = results[name].paired_difference(results["random"], measure)
            assert difference < -2 * error


@pytest.mark.parametrize(("modality", "max_regret"), [("text", 0.0014), ("image", 0.0015)])
def test_the_portfolios_five_have_no_more_regret_than_the_blends(
    modality: str, max_regret: float
) -> None:
    """The share of common errors and the scenarios were tuned for sets of this size."""
    summary = {name: result.summary for name, result in judged(modality).results.items()}

    assert summary["portfolio"]["regret@5"].mean <= max_regret
    for other in ("blend", "prior", "interleaved"):
        assert summary["portfolio"]["regret@5"].mean <= summary[other]["regret@5"].mean


@pytest.mark.parametrize(("modality", "min_spearman"), [("text", 0.69), ("image", 0.75)])
def test_a_linear_prediction_orders_models_as_well_as_the_history(
    modality: str, min_spearman: float
) -> None:
    """Its penalties draw it to the prior, from which these histories give no reason to part."""
    summary = {name: result.summary for name, result in judged(modality).results.items()}

    assert summary["linear"]["spearman"].mean >= min_spearman
    assert summary["linear"]["regret@5"].mean <= summary["prior"]["regret@5"].mean


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("name", ["blend", "portfolio"])
def test_intervals_and_sets_hold_what_they_promise(modality: str, name: str) -> None:
    """80 % of the gaps within two standard errors, and nine in ten of the smallest sets.

    The predicted probability of a gap within a point is the observed share, on average.
    """
    got = check_calibration(hold_out_each(recorded(modality).matrix), name)

    assert got.is_nominal
    assert got.summary["covered"].mean >= 0.8
    assert got.summary["observed_smallest"].mean >= 0.9
    predicted, observed = got.summary["predicted"], got.summary["observed"]
    assert abs(predicted.mean - observed.mean) <= observed.standard_error


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
def test_cost_aware_finds_as_much_for_its_epochs_as_it_did(
    modality: str, area: float, nested: float
) -> None:
    """Mean regret over costs from one to five fine-tunings, over the settings fixed beforehand."""
    curves = recorded(modality).curves
    targets = list(hold_out_curves(curves))
    results = [
        replay_strategy(targets, policy_strategy("cost_aware", setting))
        for setting in POLICIES["cost_aware"].settings
    ]

    got = make_frontier(results, curves.stages)

    assert got.area <= area
    assert got.area_nested <= nested
