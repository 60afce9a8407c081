"""Facts of the units of scores: what compares as it is, and what a regret is a share of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.score_units import POINTS, RegretUnit, regret_unit, unit_of

IN_POINTS = {name for name in METRICS if name not in ("log_loss", "mae", "rmse")}


def record(dataset: str, model: str, score: float, metric: str) -> Record:
    return Record(model=model, dataset=dataset, final_score=score, metric=metric)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_whose_best_value_is_one_share_a_unit(name: str) -> None:
    assert (unit_of(name, "x") == POINTS) == (name in IN_POINTS)


def test_errors_of_numbers_compare_on_one_dataset_alone() -> None:
    """Prices and ages have no common unit; nats and a metric of one's own have."""
    assert unit_of("rmse", "prices") != unit_of("rmse", "ages")
    assert unit_of("mae", "ages") != unit_of("rmse", "ages")
    assert unit_of("log_loss", "x") == unit_of("log_loss", "y") == "log_loss"
    assert unit_of("wer", "x") == unit_of("wer", "y") == "wer"


# --- the rule ------------------------------------------------------------------------------------


def test_a_tolerance_is_one_point_where_every_best_value_is_one() -> None:
    records = [record(f"d{i}", "m", 0.5, name) for i, name in enumerate(sorted(IN_POINTS))]

    unit = regret_unit(records)

    assert (unit.is_share, unit.tolerance(), unit.notes) == (False, 0.01, ())
    assert unit.metric == "primary"
    assert unit.convert(records) is records
    assert regret_unit(records[:1]).metric == records[0].metric


@pytest.mark.parametrize("metric", ["log_loss", "mae", "rmse"])
def test_one_other_metric_makes_all_regrets_shares(metric: str) -> None:
    records = [record("x", "m", 0.5, "accuracy"), record("y", "m", -0.5, metric)]

    unit = regret_unit(records)

    assert (unit.is_share, unit.tolerance(), unit.metric) == (True, 0.1, "primary")
    assert unit.notes == (
        "regret, gaps and tolerance are shares of each dataset's spread (the standard deviation "
        f"of the final scores of its models), because the best value of {metric} is not 1",
    )
    assert regret_unit(records[:1], metric).is_share  # the target's metric is in use too
    assert regret_unit(records[1:]).is_share


@pytest.mark.parametrize("is_share", [False, True])
def test_a_tolerance_that_is_given_stays(is_share: bool) -> None:
    unit = RegretUnit(("rmse",), ("rmse",) if is_share else ())

    assert unit.tolerance(0.25) == 0.25


@pytest.mark.parametrize(
    ("scores", "others", "is_share"),
    [
        ((0.9,), (), False),
        ((42.0,), (), False),  # alone it is a unit of its own, such as percent
        ((0.9,), ("accuracy",), False),
        ((42.0,), ("accuracy",), True),
        ((-3.0,), ("accuracy",), True),
        ((math.nan,), ("accuracy",), False),
    ],
)
def test_an_unknown_metric_is_in_points_if_its_scores_can_be(
    scores: tuple[float, ...], others: tuple[str, ...], is_share: bool
) -> None:
    records = [record("x", "m", score, "quality") for score in scores]

    assert regret_unit(records, *others).is_share == is_share


# --- conversion ----------------------------------------------------------------------------------


def test_a_gap_of_one_standard_deviation_is_one() -> None:
    """Scores 1, 3 have the standard deviation 1, and 10, 30 have 10: their gaps are both 2."""
    records = [
        record("x", "a", -1.0, "rmse"),
        record("x", "b", -3.0, "rmse"),
        record("y", "a", -10.0, "rmse"),
        record("y", "b", -30.0, "rmse"),
    ]

    matrix = regret_unit(records).matrix(records)

    np.testing.assert_allclose(matrix.values[0] - matrix.values[1], [2.0, 2.0])


def test_repeats_of_a_model_do_not_count_twice_in_the_spread() -> None:
    """The spread is over models: of 0, the mean of -1 and 1, and of 4 it is 2."""
    scores = [("a", -1.0), ("a", 1.0), ("b", 4.0)]
    records = [record("x", model, score, "mae") for model, score in scores]

    converted = regret_unit(records).convert(records)

    assert [r.final_score for r in converted] == [-0.5, 0.5, 2.0]


def test_equal_models_and_unknown_scores_are_divided_by_one() -> None:
    unit = RegretUnit(("mae",), ("mae",))
    scores = np.array([[-2.0, math.nan, -1.0], [-2.0, math.nan, math.nan]])

    assert unit.spread(scores).tolist() == [1.0, 1.0, 1.0]
    assert RegretUnit(("f1",)).spread(np.array([0.0, 1.0])) == 1.0
