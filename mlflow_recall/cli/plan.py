"""The command ``plan``."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.example import is_example
from mlflow_recall.cli.groups import (
    COUNT,
    POSITIVE,
    DatasetOptions,
    RecommendOptions,
    StoreOptions,
    TableOptions,
)
from mlflow_recall.cli.options import CONTEXT, Count, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, run_note
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import open_tables, refuse_table_options

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import PlanConfig
    from mlflow_recall.core.planning.dataset_subset import DatasetSubset
    from mlflow_recall.core.planning.strategy_estimates import StrategyEstimate
    from mlflow_recall.workflows.plan import SelectionPlan

#: workers that the local engine starts at most
_MAX_WORKERS = 8
#: sizes of a subset that are shown beyond the one that suffices
_MORE_SIZES = 3


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is planned."""

    budget_epochs: float | None = option(
        "--budget-epochs", type=POSITIVE, unset="no limit", help="Find the best plan within it."
    )
    budget_hours: float | None = option(
        "--budget-hours", type=POSITIVE, unset="no limit", help="Find the best plan within it."
    )
    next_cells: int = option(
        "--next",
        default=0,
        type=Count(min=0),
        metavar="N",
        help="Name the N cells to benchmark next, and the datasets that suffice.",
    )
    stages: int | None = option(
        "--stages", type=COUNT, unset="as recorded", help="Training epochs."
    )
    workers: int | None = option(
        "--workers", type=COUNT, unset="one for each core", help="Parallel workers."
    )
    probe_samples: int = option(
        "--probe-samples",
        default=500,
        type=Count(min=10),
        help="Samples of the target that each representative looks at.",
    )

    def config(
        self, dataset: DatasetOptions, tables: TableOptions, recommend: RecommendOptions
    ) -> PlanConfig:
        """Return the settings of the plan."""
        from mlflow_recall.config import PlanConfig

        return PlanConfig(
            recommend=recommend.recommend_config(tables),
            dataset=None if tables.history else dataset.spec(),
            stages=self.stages,
            workers=self.workers or min(os.cpu_count() or 1, _MAX_WORKERS),
            probe_samples=self.probe_samples,
            budget_epochs=self.budget_epochs,
            budget_hours=self.budget_hours,
            next_cells=self.next_cells,
        )


@click.command(context_settings=CONTEXT)
@takes(
    dataset=DatasetOptions,
    tables=TableOptions,
    options=PlanOptions,
    recommend=RecommendOptions,
    store=StoreOptions,
    output=OutputOptions,
)
def plan(
    dataset: DatasetOptions,
    tables: TableOptions,
    options: PlanOptions,
    recommend: RecommendOptions,
    store: StoreOptions,
    output: OutputOptions,
) -> None:
    """Estimate what a selection costs and finds, before anything is spent."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.plan import plan_zoo

    config = options.config(dataset, tables, recommend)
    if tables.history:
        terminal = Terminal()
        result = _plan_from_tables(config, dataset, tables, terminal)
    else:
        refuse_table_options(tables)
        with open_session(store, dataset=dataset.dataset) as session:
            terminal, result = session.terminal, plan_zoo(config, session.services)
    output.write(_plan_json(result, config))
    if output.is_for_people:
        _show(result, config, terminal)


def _plan_from_tables(
    config: PlanConfig, dataset: DatasetOptions, tables: TableOptions, terminal: Terminal
) -> SelectionPlan:
    """Plan for a dataset of the tables, or for a file whose samples are counted."""
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.workflows.plan import plan_from_tables

    history = open_tables(tables, terminal, config.recommend.metric)
    spec, name = dataset.spec(), dataset.dataset
    if spec is not None and name is not None and (is_example(name) or Path(name).exists()):
        return plan_from_tables(config, history, target=prepare(spec))
    return plan_from_tables(config, history, name)


def _plan_json(result: SelectionPlan, config: PlanConfig) -> dict[str, Any]:
    best, cheapest = result.best_in_budget, result.cheapest
    return {
        "dataset": result.dataset,
        "modality": result.modality,
        "stages": result.stages,
        "strategies": [_strategy_json(strategy) for strategy in result.strategies],
        "budget": {
            "epochs": config.budget_epochs,
            "hours": config.budget_hours,
            "fits": _strategy_json(best) if best else None,
            "cheapest": _strategy_json(cheapest) if cheapest else None,
        }
        if config.has_budget
        else None,
        "next": [vars(cell) for cell in result.cells],
        "subset": _subset_json(result.subset) if result.subset else None,
        "seconds": dict(result.epoch_times.seconds) if result.epoch_times else None,
        "recommender": result.recommendation.ranker,
        "set_selector": result.recommendation.set_selector,
        "notes": list(result.notes),
        "run_id": result.run_id,
    }


def _strategy_json(strategy: StrategyEstimate) -> dict[str, Any]:
    return {
        "name": strategy.name,
        "policy": strategy.policy,
        "models": strategy.models,
        "epochs": strategy.epochs,
        "max_epochs": strategy.max_epochs,
        "hours": strategy.hours,
        "expected_regret": strategy.regret,
        "se": strategy.standard_error,
        "p_holds_best": strategy.p_holds_best,
        "expected_gap": strategy.expected_gap,
        "probes": len(strategy.probe_cost.models),
        "probe_epochs": strategy.probe_cost.epochs,
        "probe_epochs_paper": strategy.probe_cost.paper_epochs,
        "replayed": strategy.is_replayed,
    }


def _subset_json(subset: DatasetSubset) -> dict[str, Any]:
    """Return the datasets that suffice, and every size."""
    sizes = zip(subset.agreement, subset.loss, subset.standard_error, strict=True)
    return {
        "datasets": list(subset.datasets),
        "agreement": float(subset.agreement[subset.size - 1]),
        "regret": float(subset.loss[subset.size - 1]),
        "se": float(subset.standard_error[subset.size - 1]),
        "order": list(subset.order),
        "sizes": [
            {"size": size, "agreement": float(kept), "regret": float(loss), "se": float(error)}
            for size, (kept, loss, error) in enumerate(sizes, start=1)
        ],
    }


def _show(result: SelectionPlan, config: PlanConfig, terminal: Terminal) -> None:
    from mlflow_recall.workflows.plan import cell_rows, strategy_rows

    for note in result.notes:
        terminal.info(note)
    title = f"a selection for {result.dataset or 'a dataset like the recorded ones'}"
    terminal.table(title, strategy_rows(result.strategies))
    recalled = result.strategies[-1]
    if recalled.probe_cost.models:
        terminal.info(_probe_line(recalled))
    terminal.table("to benchmark next", cell_rows(result.cells))
    if subset := result.subset:
        sizes = zip(subset.order, subset.agreement, subset.loss, strict=True)
        rows = [
            {"datasets": size, "added": name, "agreement": float(kept), "regret": f"{loss:+.4f}"}
            for size, (name, kept, loss) in enumerate(sizes, start=1)
        ]
        terminal.table("datasets that keep the ranking", rows[: subset.size + _MORE_SIZES])
    echo(f"{_outcome(result, config)}{run_note(result.run_id)}")


def _probe_line(strategy: StrategyEstimate) -> str:
    """Return what the probes of a recall cost, here and by the paper."""
    cost = strategy.probe_cost
    return (
        f"recall probes {len(cost.models)} representatives: {cost.epochs:.2f} epochs "
        f"({cost.basis}); the paper charges {cost.paper_epochs:g}"
    )


def _outcome(result: SelectionPlan, config: PlanConfig) -> str:
    """Return the last line: what to do, and what it costs."""
    parts = [_budget_line(result, config) if config.has_budget else _cost_line(result)]
    if result.cells:
        first = result.cells[0]
        removed = sum(cell.uncertainty_removed for cell in result.cells)
        parts.append(
            f"{len(result.cells)} cells remove {removed:.1%} of the uncertainty about the models, "
            f"first {first.model} on {first.dataset}"
        )
    elif config.next_cells:
        parts.append("no cell is missing")
    if subset := result.subset:
        verb = "keeps" if subset.size == 1 else "keep"
        parts.append(
            f"{subset.size} of {len(subset.order)} datasets {verb} the ranking, with a regret of "
            f"{subset.loss[subset.size - 1]:.4f}"
        )
    return "; ".join(parts)


def _cost_line(result: SelectionPlan) -> str:
    recalls = [strategy for strategy in result.strategies if " + " in strategy.name]
    best = next((s for s in recalls if s.policy == result.policy), recalls[-1])
    brute_force = result.strategies[0]
    return (
        f"{_describe(best)}, where brute force takes {brute_force.epochs:g} epochs"
        f"{_hours(brute_force)}"
    )


def _budget_line(result: SelectionPlan, config: PlanConfig) -> str:
    limits = {"epochs": config.budget_epochs, "hours": config.budget_hours}
    budget = " and ".join(f"{limit:g} {unit}" for unit, limit in limits.items() if limit)
    if result.best_in_budget is None:
        cheapest = f": the cheapest is {_describe(result.cheapest)}" if result.cheapest else ""
        return f"nothing fits {budget}{cheapest}"
    return f"{budget}: {_describe(result.best_in_budget)}"


def _describe(strategy: StrategyEstimate) -> str:
    from mlflow_recall.core.formatting import count_of

    return (
        f"{strategy.name} with {count_of(strategy.models, 'model')}: {strategy.epochs:.1f} epochs"
        f"{_hours(strategy)}, expected regret {strategy.regret:.4f}"
    )


def _hours(strategy: StrategyEstimate) -> str:
    return "" if math.isnan(strategy.hours) else f" and {strategy.hours:.2g} hours"
