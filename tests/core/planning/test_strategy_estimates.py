"""Ways to select: what they cost in epochs and hours, and what fits a budget."""

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


def rehearsal(regrets: list[float], reached: FloatArray) -> ReplayResult:
    """On as many datasets as there are regrets, with as many candidates as rows on each."""
    count, names = len(regrets), tuple(map(str, regrets))
    of = [np.full(count, value) for value in (reached.sum(), float(len(reached)), 0.0)]
    return ReplayResult(
        datasets=names,
        epochs=of[0],
        regrets=np.array(regrets),
        candidates=of[1],
        probes=of[2],
        active_share=reached,
    )


def everyone_to_the_end(models: int, stages: int) -> ReplayResult:
    return rehearsal([0.0, 0.2], np.ones((models, stages)))


def test_hours_by_hand() -> None:
    """Three models of 1, 2 and 3 seconds, two epochs: 12 seconds one by one."""
    curves = converging(models=3)
    order, seconds = curves.models, dict(zip(curves.models, [1.0, 2.0, 3.0], strict=True))
    rehearsed = everyone_to_the_end(3, 2)

    alone, two, many = (
        estimate_strategy(
            "s", "p", order, rehearsed, gaps=gaps(curves), pace=EpochTimes(seconds), workers=n
        )
        for n in (1, 2, 8)
    )

    assert [each.hours * 3600 for each in (alone, two, many)] == pytest.approx([12.0, 6.0, 4.0])
    assert (alone.epochs, alone.max_epochs, alone.models) == (6.0, 6.0, 3)
    assert (alone.regret, alone.standard_error) == pytest.approx((0.1, 0.1))
    assert alone.p_holds_best == 1.0  # it is everyone
    assert alone.expected_gap == pytest.approx(0.0)


def test_nobody_helps_the_last_candidate() -> None:
    """Workers share candidates, not the epochs of one."""
    reached = np.array([[1.0, 1.0], [1.0, 0.0]])
    rehearsed = rehearsal([0.0], reached)
    curves = converging(models=2)
    pace = EpochTimes(dict.fromkeys(curves.models, 10.0))

    found = estimate_strategy(
        "s", "p", curves.models, rehearsed, gaps=gaps(curves), pace=pace, workers=2
    )

    assert found.hours * 3600 == pytest.approx(10 + 10)


def test_probes_are_paid_for_in_epochs_and_hours() -> None:
    curves = converging(models=3)
    pace = EpochTimes(dict.fromkeys(curves.models, 4.0))
    rehearsed, probing = everyone_to_the_end(2, 2), ProbeCost(("m0", "m2"), 0.25)

    def priced(probing: ProbeCost | None) -> StrategyEstimate:
        return estimate_strategy(
            "s", "p", ["m0", "m1"], rehearsed, gaps=gaps(curves), pace=pace, probing=probing
        )

    assert priced(probing).epochs - priced(None).epochs == pytest.approx(0.5)
    assert (priced(probing).hours - priced(None).hours) * 3600 == pytest.approx(2.0)
    assert priced(probing).max_epochs - priced(None).max_epochs == pytest.approx(0.5)


def test_the_chance_to_hold_the_best_is_that_of_the_gaps() -> None:
    curves = converging()
    known = gaps(curves)

    found = estimate_strategy("s", "p", ["m1", "m4"], everyone_to_the_end(2, 2), gaps=known)

    rows = known.joint_gaps[[1, 4]]
    assert found.p_holds_best == known.p_holds_best(["m1", "m4"])
    assert found.expected_gap == pytest.approx(rows.min(axis=0).mean())
    assert math.isnan(found.hours)


def offer(epochs: float, regret: float, hours: float = NAN, p: float = 0.5) -> StrategyEstimate:
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


offers = st.lists(
    st.builds(offer, st.floats(1, 50), st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=9
)


@given(offers, st.floats(1, 50), st.floats(0, 20))
def test_what_fits_is_within_and_more_budget_is_never_worse(
    some: list[StrategyEstimate], budget: float, more: float
) -> None:
    found, better = best_within_budget(some, budget), best_within_budget(some, budget + more)

    if found is None:
        assert all(each.epochs > budget for each in some)
    else:
        assert found.epochs <= budget + 1e-9
        assert better is not None
        assert better.regret <= found.regret + 1e-9


def test_of_equal_regrets_the_surer_and_then_the_cheaper_one() -> None:
    sure, cheap, dear = offer(9, 0.1, p=0.9), offer(3, 0.1), offer(5, 0.1)

    assert best_within_budget([dear, cheap, sure], 10) is sure
    assert best_within_budget([dear, cheap, sure], 6) is cheap
    assert best_within_budget([dear, cheap, sure], 2) is None


def test_hours_that_nobody_knows_fit_no_limit() -> None:
    assert best_within_budget([offer(3, 0.1)], hours=100.0) is None
    assert best_within_budget([offer(3, 0.1, hours=2.0)], hours=2.0) is not None
