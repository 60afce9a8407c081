"""Facts of strategies of a plan: their epochs and hours, and which fits a budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from histories import NAN, converging, evidence
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.planning.epoch_times import EpochTimes
from mlflow_recall.core.planning.strategy_estimates import (
    StrategyEstimate,
    best_within_budget,
    estimate_strategy,
)
from mlflow_recall.core.recommend import PredictedGaps
from mlflow_recall.core.recommend.gaps import empirical_gaps
from mlflow_recall.core.recommend.probe_cost import ProbeCost


def gaps(curves: Curves) -> PredictedGaps:
    return empirical_gaps(evidence(curves).matrix)


def simulation(regrets: list[float], active_share: FloatArray) -> ReplayResult:
    """On as many datasets as there are regrets, with as many candidates as rows on each."""
    count, names = len(regrets), tuple(map(str, regrets))
    epochs, candidates = active_share.sum(), float(len(active_share))
    return ReplayResult(
        datasets=names,
        epochs=np.full(count, epochs),
        regrets=np.array(regrets),
        candidates=np.full(count, candidates),
        probes=np.zeros(count),
        active_share=active_share,
    )


def all_to_the_end(models: int, stages: int) -> ReplayResult:
    return simulation([0.0, 0.2], np.ones((models, stages)))


def test_hours_by_hand() -> None:
    """Three models of 1, 2 and 3 seconds, two epochs: 12 seconds one by one."""
    curves = converging(models=3)
    order, seconds = curves.models, dict(zip(curves.models, [1.0, 2.0, 3.0], strict=True))
    simulated = all_to_the_end(3, 2)

    alone, two, many = (
        estimate_strategy(
            "s",
            "p",
            order,
            simulated,
            gaps=gaps(curves),
            epoch_times=EpochTimes(seconds),
            workers=n,
        )
        for n in (1, 2, 8)
    )

    assert [estimate.hours * 3600 for estimate in (alone, two, many)] == pytest.approx(
        [12.0, 6.0, 4.0]
    )
    assert (alone.epochs, alone.max_epochs, alone.models) == (6.0, 6.0, 3)
    assert (alone.regret, alone.standard_error) == pytest.approx((0.1, 0.1))
    assert alone.p_holds_best == 1.0  # they are all models
    assert alone.expected_gap == pytest.approx(0.0)


def test_the_last_candidate_uses_one_worker() -> None:
    """Workers share candidates, not the epochs of one."""
    simulated = simulation([0.0], np.array([[1.0, 1.0], [1.0, 0.0]]))
    curves = converging(models=2)
    times = EpochTimes(dict.fromkeys(curves.models, 10.0))

    got = estimate_strategy(
        "s", "p", curves.models, simulated, gaps=gaps(curves), epoch_times=times, workers=2
    )

    assert got.hours * 3600 == pytest.approx(10 + 10)


def test_probes_are_paid_for_in_epochs_and_hours() -> None:
    curves = converging(models=3)
    times = EpochTimes(dict.fromkeys(curves.models, 4.0))
    simulated, cost = all_to_the_end(2, 2), ProbeCost(("m0", "m2"), 0.25)

    def estimate(probe_cost: ProbeCost | None) -> StrategyEstimate:
        return estimate_strategy(
            "s",
            "p",
            ["m0", "m1"],
            simulated,
            gaps=gaps(curves),
            epoch_times=times,
            probe_cost=probe_cost,
        )

    assert estimate(cost).epochs - estimate(None).epochs == pytest.approx(0.5)
    assert (estimate(cost).hours - estimate(None).hours) * 3600 == pytest.approx(2.0)
    assert estimate(cost).max_epochs - estimate(None).max_epochs == pytest.approx(0.5)


def test_the_chance_to_hold_the_best_is_that_of_the_gaps() -> None:
    curves = converging()
    known = gaps(curves)

    got = estimate_strategy("s", "p", ["m1", "m4"], all_to_the_end(2, 2), gaps=known)

    rows = known.joint_gaps[[1, 4]]
    assert got.p_holds_best == known.p_holds_best(["m1", "m4"])
    assert got.expected_gap == pytest.approx(rows.min(axis=0).mean())
    assert math.isnan(got.hours)


def make_estimate(
    epochs: float, regret: float, hours: float = NAN, p: float = 0.5
) -> StrategyEstimate:
    return StrategyEstimate(
        name="s",
        policy="halving",
        models=1,
        epochs=epochs,
        max_epochs=epochs,
        hours=hours,
        regret=regret,
        standard_error=NAN,
        p_holds_best=p,
        expected_gap=regret,
    )


estimates = st.lists(
    st.builds(make_estimate, st.floats(1, 50), st.floats(0, 1), st.floats(0.1, 10)),
    min_size=1,
    max_size=9,
)


@given(estimates, st.floats(1, 50), st.floats(0, 20))
def test_what_fits_is_within_and_more_budget_is_never_worse(
    strategies: list[StrategyEstimate], budget: float, more: float
) -> None:
    best = best_within_budget(strategies, budget)
    better = best_within_budget(strategies, budget + more)

    if best is None:
        assert all(strategy.epochs > budget for strategy in strategies)
    else:
        assert best.epochs <= budget + 1e-9
        assert better is not None
        assert better.regret <= best.regret + 1e-9


def test_of_equal_regrets_the_surer_and_then_the_cheaper_one() -> None:
    sure, cheap, expensive = (
        make_estimate(9, 0.1, p=0.9),
        make_estimate(3, 0.1),
        make_estimate(5, 0.1),
    )

    assert best_within_budget([expensive, cheap, sure], 10) is sure
    assert best_within_budget([expensive, cheap, sure], 6) is cheap
    assert best_within_budget([expensive, cheap, sure], 2) is None


def test_unknown_hours_fit_no_limit() -> None:
    assert best_within_budget([make_estimate(3, 0.1)], hours=100.0) is None
    assert best_within_budget([make_estimate(3, 0.1, hours=2.0)], hours=2.0) is not None
