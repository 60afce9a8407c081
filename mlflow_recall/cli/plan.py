"""plan: what a selection will cost and find, and what to benchmark next."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.options import (
    ADVICE,
    COLUMNS,
    CONSTRAINTS,
    CONTEXT,
    JSON,
    STORE,
    TABLES,
    options,
)
from mlflow_recall.cli.output import out
from mlflow_recall.cli.requests import folder_of, is_example, recommend_config, refuse_tables, spec
from mlflow_recall.cli.session import bench_for

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import PlanConfig
    from mlflow_recall.core.planning.dataset_subset import DatasetSubset
    from mlflow_recall.core.planning.strategy_estimates import StrategyEstimate
    from mlflow_recall.workflows.plan import SelectionPlan

#: as many as the local engine starts at most
_MOST_WORKERS = 8
#: sizes of a subset that are shown beyond the one that is needed
_BEYOND = 3

_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_TARGET = options(
    click.option("--dataset", help="Its samples scale the hours; else as recorded."),
    COLUMNS,
)


@click.command(context_settings=CONTEXT)
@_TARGET
@TABLES
@click.option("--budget-epochs", type=_ABOVE_0, help="Say what fits so many epochs.")
@click.option("--budget-hours", type=_ABOVE_0, help="Say what fits so many hours.")
@click.option(
    "--next",
    "next_cells",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Name the N cells to benchmark next, and the datasets that suffice.",
)
@click.option("--stages", default=0, type=click.IntRange(min=0), help="Of a curve [as recorded].")
@click.option("--workers", default=0, type=click.IntRange(min=0), help="Models trained at once.")
@click.option("--probe-samples", default=500, type=click.IntRange(min=10), show_default=True)
@ADVICE
@CONSTRAINTS
@STORE
@JSON
def plan(tracking_uri: str, namespace: str, json_to: str, **options: Any) -> None:
    """Say what a selection will cost and find, before anything is spent."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.plan import plan_zoo

    config = _config(options)
    if options["history"]:
        terminal, planned = Terminal(), _from_tables(config, options)
    else:
        refuse_tables(options)
        dataset = options["dataset"] or ""
        with bench_for(dataset, tracking_uri, namespace, "local", 1, 1) as work:
            terminal, planned = work.terminal, plan_zoo(config, work.bench)
    out(json_to, plan_data(planned, config))
    if json_to != "-":
        _show(planned, config, terminal)


def _config(options: Mapping[str, Any]) -> PlanConfig:
    from mlflow_recall.config import PlanConfig

    return PlanConfig(
        recommend_config(options),
        dataset=spec(options) if options["dataset"] and not options["history"] else None,
        stages=options["stages"],
        workers=options["workers"] or min(os.cpu_count() or 1, _MOST_WORKERS),
        probe_samples=options["probe_samples"],
        budget_epochs=options["budget_epochs"] or math.inf,
        budget_hours=options["budget_hours"] or math.inf,
        next_cells=options["next_cells"],
    )


def _from_tables(config: PlanConfig, options: Mapping[str, Any]) -> SelectionPlan:
    """A dataset of the tables is named; any other is a file, for its samples."""
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.workflows.plan import plan_tables

    folder = folder_of(options["history"], options["minimize"], options["metric"])
    dataset = options["dataset"] or ""
    if is_example(dataset) or (dataset and Path(dataset).exists()):
        return plan_tables(config, folder, target=prepare(spec(options)))
    return plan_tables(config, folder, dataset)


def plan_data(planned: SelectionPlan, config: PlanConfig) -> dict[str, Any]:
    """A plan for machines."""
    asked = {"epochs": config.budget_epochs, "hours": config.budget_hours}
    fits, cheapest = planned.best_in_budget, planned.cheapest
    return {
        "dataset": planned.dataset,
        "modality": planned.modality,
        "stages": planned.stages,
        "strategies": [_strategy(each) for each in planned.strategies],
        "budget": {
            **asked,
            "fits": _strategy(fits) if fits else None,
            "cheapest": _strategy(cheapest) if cheapest else None,
        }
        if config.has_budget
        else None,
        "next": [vars(cell) for cell in planned.cells],
        "subset": _subset(planned.subset) if planned.subset else None,
        "seconds": dict(planned.epoch_times.seconds) if planned.epoch_times else None,
        "recommender": planned.recommendation.ranker,
        "set_by": planned.recommendation.set_selector,
        "notes": list(planned.notes),
        "run_id": planned.run_id,
    }


def _strategy(each: StrategyEstimate) -> dict[str, Any]:
    return {
        "name": each.name,
        "policy": each.policy,
        "models": each.models,
        "epochs": each.epochs,
        "most_epochs": each.max_epochs,
        "hours": each.hours,
        "expected_regret": each.regret,
        "se": each.standard_error,
        "p_holds_best": each.p_holds_best,
        "expected_gap": each.expected_gap,
        "probes": len(each.probe_cost.models),
        "probe_epochs": each.probe_cost.epochs,
        "probe_epochs_paper": each.probe_cost.paper_epochs,
        "replayed": each.is_replayed,
    }


def _subset(some: DatasetSubset) -> dict[str, Any]:
    """The datasets that suffice, and every size."""
    return {
        "datasets": list(some.datasets),
        "kept": float(some.agreement[some.size - 1]),
        "loss": float(some.loss[some.size - 1]),
        "se": float(some.standard_error[some.size - 1]),
        "order": list(some.order),
        "sizes": [
            {"size": size, "kept": float(kept), "loss": float(loss), "se": float(error)}
            for size, (kept, loss, error) in enumerate(
                zip(some.agreement, some.loss, some.standard_error, strict=True), start=1
            )
        ],
    }


def _show(planned: SelectionPlan, config: PlanConfig, terminal: Terminal) -> None:
    from mlflow_recall.workflows.plan_rows import cell_rows, strategy_rows

    for note in planned.notes:
        terminal.warning(f"{note}")
    title = f"a selection for {planned.dataset or 'a dataset like the recorded ones'}"
    terminal.table(title, strategy_rows(planned.strategies))
    recalled = planned.strategies[-1]
    if recalled.probe_cost.models:
        terminal.info(_probing_line(recalled))
    terminal.table("to benchmark next", cell_rows(planned.cells))
    if some := planned.subset:
        rows = [
            {"datasets": size, "with": name, "kept": float(kept), "loss": f"{loss:+.4f}"}
            for size, (name, kept, loss) in enumerate(
                zip(some.order, some.agreement, some.loss, strict=True), start=1
            )
        ]
        terminal.table("datasets that keep the ranking", rows[: some.size + _BEYOND])
    run = f"; run {planned.run_id}" if planned.run_id else ""
    click.echo(f"{_outcome(planned, config)}{run}")


def _probing_line(each: StrategyEstimate) -> str:
    """What the probes of a recall cost, and what the paper would charge for them."""
    count = len(each.probe_cost.models)
    return (
        f"recall probes {count} representatives: {each.probe_cost.epochs:.2f} epochs "
        f"({each.probe_cost.basis}); the paper's accounting: {each.probe_cost.paper_epochs:g}"
    )


def _outcome(planned: SelectionPlan, config: PlanConfig) -> str:
    """The last line: what to do and what it costs."""
    parts = [_budget_line(planned, config) if config.has_budget else _cost_line(planned)]
    if planned.cells:
        first = planned.cells[0]
        parts.append(
            f"{len(planned.cells)} cells remove {sum(c.uncertainty_removed for c in planned.cells):.1%} of the "
            f"uncertainty about the models, first {first.model} on {first.dataset}"
        )
    elif config.next_cells:
        parts.append("no cell is missing")
    if planned.subset:
        some = planned.subset
        parts.append(
            f"{some.size} of {len(some.order)} datasets keep the ranking, with a loss of "
            f"{some.loss[some.size - 1]:.4f}"
        )
    return "; ".join(parts)


def _cost_line(planned: SelectionPlan) -> str:
    recalls = [each for each in planned.strategies if " + " in each.name]
    best = next((each for each in recalls if each.policy == planned.policy), recalls[-1])
    brute = planned.strategies[0]
    return f"{_told(best)}, where brute force takes {brute.epochs:g} epochs{_hours(brute)}"


def _budget_line(planned: SelectionPlan, config: PlanConfig) -> str:
    limits = []
    if math.isfinite(config.budget_epochs):
        limits.append(f"{config.budget_epochs:g} epochs")
    if math.isfinite(config.budget_hours):
        limits.append(f"{config.budget_hours:g} hours")
    budget = " and ".join(limits)
    if planned.best_in_budget is None:
        cheapest = planned.cheapest
        why = f"the cheapest is {_told(cheapest)}" if cheapest else ""
        return f"nothing fits {budget}: {why}"
    return f"{budget}: {_told(planned.best_in_budget)}"


def _told(each: StrategyEstimate) -> str:
    models = "1 model" if each.models == 1 else f"{each.models} models"
    return (
        f"{each.name} with {models}: {each.epochs:.1f} epochs{_hours(each)}, expected regret "
        f"{each.regret:.4f}"
    )


def _hours(each: StrategyEstimate) -> str:
    return "" if math.isnan(each.hours) else f" and {each.hours:.2g} hours"
