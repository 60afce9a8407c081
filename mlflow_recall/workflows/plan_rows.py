"""A plan as tables, metrics and notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mlflow_recall.core.planning.epoch_times import EpochTimes, forward_passes
from mlflow_recall.core.planning.next_cells import NextCell
from mlflow_recall.core.planning.strategy_estimates import StrategyEstimate
from mlflow_recall.workflows.plan_inputs import PlanInputs


def strategy_rows(strategies: Sequence[StrategyEstimate]) -> list[dict[str, object]]:
    """One row a strategy, for tables."""
    return [
        {
            "strategy": each.name,
            "models": each.models,
            "epochs": round(each.epochs, 2),
            "at most": round(each.max_epochs, 2),
            "hours": None if math.isnan(each.hours) else each.hours,
            "expected regret": each.regret,
            "standard error": None if math.isnan(each.standard_error) else each.standard_error,
            "P(holds best)": None if math.isnan(each.p_holds_best) else each.p_holds_best,
        }
        for each in strategies
    ]


def cell_rows(cells: Sequence[NextCell]) -> list[dict[str, object]]:
    """One row a cell, for tables."""
    return [
        {"model": c.model, "dataset": c.dataset, "removes": f"{c.uncertainty_removed:.2%}"}
        for c in cells
    ]


def strategy_metrics(strategies: Sequence[StrategyEstimate]) -> dict[str, float]:
    """Cost and regret of every strategy, for a run."""
    return {
        f"plan/{each.name.replace(' + ', '_')}_{what}": value
        for each in strategies
        for what, value in (
            ("epochs", each.epochs),
            ("hours", each.hours),
            ("regret", each.regret),
        )
    }


def time_notes(pace: EpochTimes, known: PlanInputs) -> list[str]:
    """What is to be known of the hours."""
    low, high = pace.spread
    notes = [
        f"hours are those of a median recorded dataset{' of these samples' if pace.is_scaled else ''};"
        f" four of five recorded ones took {low:.2g} to {high:.2g} times as long"
    ]
    if known.sizes is not None and not pace.is_scaled:
        notes.append("no recorded recipe says how many samples: hours are not scaled to the target")
    if pace.estimated:
        notes.append(
            f"{len(pace.estimated)} models have no recorded seconds: foretold by their size"
        )
    if known.sizes is not None and known.recipes:
        recipe = next(iter(known.recipes.values()))
        seen, there = recipe.train_samples, known.sizes.get("train", 0)
        if 0 < seen < there:
            first = forward_passes(replace(recipe, train_samples=0), known.sizes)
            times = first / forward_passes(recipe, known.sizes)
            notes.append(
                f"retraining the winner on all {there} samples (--final auto) adds "
                f"{recipe.epochs} epochs, each as long as {times:.1f} of these"
            )
    return notes
