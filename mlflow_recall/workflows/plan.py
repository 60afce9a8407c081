"""What a selection is expected to cost and find, and what to benchmark next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.config import PlanConfig
from mlflow_recall.core.backtest.holdout import hold_out_recorded
from mlflow_recall.core.backtest.policy_frontiers import WHOLE_ZOO_POLICIES
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.resample import DEFAULT_STAGES
from mlflow_recall.core.planning.dataset_subset import DatasetSubset, find_smallest_subset
from mlflow_recall.core.planning.epoch_times import (
    EpochTimes,
    estimate_epoch_times,
    forward_passes,
)
from mlflow_recall.core.planning.next_cells import NextCell, next_cells
from mlflow_recall.core.planning.simulate import MAX_TARGETS, simulate
from mlflow_recall.core.planning.strategy_estimates import (
    SIZES,
    StrategyEstimate,
    best_within_budget,
    estimate_strategy,
)
from mlflow_recall.core.policies import POLICIES, PolicySetting, stopping_policies
from mlflow_recall.core.recommend import RECOMMENDERS
from mlflow_recall.core.recommend.probe_cost import ProbeCost
from mlflow_recall.core.recommend.recommendation import Recommendation, recommend
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.plan_inputs import PlanInputs, inputs_from_tables, inputs_from_zoo
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionPlan:
    """What a selection is expected to cost and find."""

    #: None: a dataset like the recorded ones
    dataset: str | None
    modality: str
    #: stages of one fine-tuning
    stages: int
    #: the whole zoo, and recall with the requested number of models
    strategies: tuple[StrategyEstimate, ...]
    recommendation: Recommendation
    #: None: no seconds are recorded
    epoch_times: EpochTimes | None
    #: policy that a selection uses unless another is requested
    policy: str
    #: strategy with the least expected regret within the budget; None: none fits, or no budget
    best_in_budget: StrategyEstimate | None = None
    cheapest: StrategyEstimate | None = None
    cells: Sequence[NextCell] = ()
    #: None: not requested, or too few datasets
    subset: DatasetSubset | None = None
    notes: tuple[str, ...] = ()
    #: None where no server keeps it
    run_id: str | None = None


def plan_zoo(config: PlanConfig, services: Services) -> SelectionPlan:
    """Plan with the history of a zoo, for a dataset or for one like the recorded ones.

    Raises:
        RecallError: No model or no history is left, or the dataset cannot be read.
    """
    plan = _plan(config, inputs_from_zoo(config, services))
    writer = RunWriter(services.client, f"{services.namespace}/plan")
    try:
        title = f"plan for {plan.dataset or plan.modality}"
        with writer.managed_run(title, "plan", services.run_id) as run:
            run.log_table(strategy_rows(plan.strategies), "plan/strategies.json")
            run.log_table(cell_rows(plan.cells), "plan/next.json")
            run.log_metrics(_strategy_metrics(plan.strategies))
            table = figures.markdown_table(strategy_rows(plan.strategies))
            run.set_description(
                "\n\n".join(
                    [f"What a selection would cost:\n\n{table}", *map(escape_markdown, plan.notes)]
                )
            )
    finally:
        writer.close()
    return replace(plan, run_id=run.run_id)


def plan_from_tables(
    config: PlanConfig, tables: Tables, dataset: str | None = None, target: Dataset | None = None
) -> SelectionPlan:
    """Plan with plain tables or an export; see ``inputs_from_tables``.

    Raises:
        HistoryError: The dataset has neither records nor scores.
    """
    return _plan(config, inputs_from_tables(config, tables, dataset, target))


def _plan(config: PlanConfig, inputs: PlanInputs) -> SelectionPlan:
    """Simulate every strategy on the recorded datasets, and estimate its cost for the target."""
    epoch_times = estimate_epoch_times(
        inputs.records,
        inputs.evidence.matrix.models,
        inputs.recipes,
        parameters=inputs.parameters,
        sizes=inputs.sizes,
    )
    if epoch_times is None and config.budget_hours is not None:
        raise ConfigError(
            "budget_hours: expected a history with the seconds of its epochs, got none: use "
            "--budget-epochs"
        )
    stages = inputs.stages(config.stages)
    estimates = _Estimates(config, inputs, epoch_times, stages)
    strategies = estimates.requested()
    affordable = estimates.all_sizes() if config.has_budget else ()
    cells, subset, cell_notes = _to_benchmark(config, inputs)
    budget = config.budget_epochs or math.inf, config.budget_hours or math.inf
    return SelectionPlan(
        dataset=inputs.dataset,
        modality=inputs.modality,
        stages=stages,
        strategies=strategies,
        recommendation=estimates.recommendation,
        epoch_times=epoch_times,
        policy=inputs.options.defaults.policy,
        best_in_budget=best_within_budget(affordable, *budget),
        cheapest=min((*strategies, *affordable), key=lambda strategy: strategy.epochs),
        cells=cells,
        subset=subset,
        notes=(*estimates.notes(), *cell_notes),
    )


def _to_benchmark(
    config: PlanConfig, inputs: PlanInputs
) -> tuple[Sequence[NextCell], DatasetSubset | None, tuple[str, ...]]:
    """Return the cells to measure next, the datasets that suffice, and notes on them."""
    if not config.next_cells:
        return (), None, ()
    noise = noise_floor(inputs.options.unit.convert(inputs.records)).std_or_zero
    matrix = inputs.full_matrix
    cells = next_cells(matrix, config.next_cells, noise=noise, available=inputs.trainable)
    try:
        return cells, find_smallest_subset(matrix, inputs.options.tolerance), ()
    except HistoryError as error:
        return cells, None, (str(error),)


class _Estimates:
    """Estimates of the strategies for one target."""

    def __init__(
        self, config: PlanConfig, inputs: PlanInputs, epoch_times: EpochTimes | None, stages: int
    ) -> None:
        self._config, self._inputs = config, inputs
        self._epoch_times, self._stages = epoch_times, stages
        self.recommendation = recommend(inputs.evidence, inputs.options)
        select = RECOMMENDERS[self.recommendation.set_selector].rank
        self._order = select(inputs.evidence).models
        self._targets = hold_out_recorded(inputs.evidence, select, inputs.curves, MAX_TARGETS)
        self._probe_cost = inputs.probe_cost(self.recommendation, config.probe_samples)
        self._policies = stopping_policies()

    def requested(self) -> tuple[StrategyEstimate, ...]:
        """Estimate the whole zoo, and recall with the requested number of models."""
        size = len(self.recommendation.selected)
        zoo = [self._estimate(name, name, len(self._order)) for name in WHOLE_ZOO_POLICIES]
        return (*zoo, *(self._recall(name, size, self._probe_cost) for name in self._policies))

    def all_sizes(self) -> tuple[StrategyEstimate, ...]:
        """Estimate every policy with every number of models.

        Where no recall fits the budget, the models are taken from the history, without probes.
        """
        sizes = [size for size in SIZES if size <= len(self._order)]
        pairs = [(name, size) for name in self._policies for size in sizes]
        recalls = tuple(self._recall(name, size, self._probe_cost) for name, size in pairs)
        budget = self._config.budget_epochs or math.inf, self._config.budget_hours or math.inf
        if not self._probe_cost.models or best_within_budget(recalls, *budget):
            return recalls
        return tuple(self._recall(name, size) for name, size in pairs)

    def notes(self) -> tuple[str, ...]:
        """Return what the figures do not say."""
        notes, inputs = [*self.recommendation.notes], self._inputs
        if self._epoch_times is None:
            notes.append("no seconds are recorded: epochs only")
        else:
            notes += _time_notes(self._epoch_times, inputs)
        if not any(target.curves for target in self._targets):
            notes.append(
                "no curves are recorded: epochs are an upper bound, and each policy is assumed to "
                "find the best of its candidates"
            )
        elif inputs.curves is not None:
            datasets = len(inputs.curves.datasets)
            notes += filter(None, (spec.warn_about(datasets) for spec in self._policies.values()))
        if inputs.curves is None and not inputs.recipes and not self._config.stages:
            notes.append(
                f"the history does not say how many epochs a fine-tuning has: {DEFAULT_STAGES} "
                "are assumed (--stages)"
            )
        if inputs.curves is not None and self._probe_cost.models:
            notes.append(
                "regrets are simulated with the history's ranking; scores of the target may "
                "improve it"
            )
        return tuple(notes)

    def _recall(
        self, policy: str, size: int, probe_cost: ProbeCost | None = None
    ) -> StrategyEstimate:
        name = "recall" if probe_cost and probe_cost.models else "history"
        return self._estimate(f"{name} + {policy}", policy, size, probe_cost)

    def _estimate(
        self, name: str, policy: str, size: int, probe_cost: ProbeCost | None = None
    ) -> StrategyEstimate:
        defaults = self._inputs.options.defaults
        options = POLICIES[policy].select_options(
            {"min_gain_per_epoch": defaults.min_gain_per_epoch}
        )
        return estimate_strategy(
            name,
            policy,
            self._order[:size],
            simulate(policy, PolicySetting(size, options), self._targets, self._stages),
            gaps=self.recommendation.gaps,
            epoch_times=self._epoch_times,
            probe_cost=probe_cost,
            workers=self._config.workers,
        )


def strategy_rows(strategies: Sequence[StrategyEstimate]) -> list[dict[str, object]]:
    """Return one row a strategy, for tables."""
    return [
        {
            "strategy": strategy.name,
            "models": strategy.models,
            "epochs": round(strategy.epochs, 2),
            "max epochs": round(strategy.max_epochs, 2),
            "hours": strategy.hours,
            "expected regret": strategy.regret,
            "standard error": strategy.standard_error,
            "P(holds best)": strategy.p_holds_best,
        }
        for strategy in strategies
    ]


def cell_rows(cells: Sequence[NextCell]) -> list[dict[str, object]]:
    """Return one row a cell, for tables."""
    return [
        {
            "model": cell.model,
            "dataset": cell.dataset,
            "uncertainty removed": f"{cell.uncertainty_removed:.2%}",
        }
        for cell in cells
    ]


def _strategy_metrics(strategies: Sequence[StrategyEstimate]) -> dict[str, float]:
    """Return cost and regret of every strategy, as metrics of a run."""
    return {
        f"plan/{strategy.name.replace(' + ', '_')}_{name}": value
        for strategy in strategies
        for name, value in (
            ("epochs", strategy.epochs),
            ("hours", strategy.hours),
            ("regret", strategy.regret),
        )
    }


def _time_notes(epoch_times: EpochTimes, inputs: PlanInputs) -> list[str]:
    """Return what the hours are based on."""
    low, high = epoch_times.spread
    scaled = ", scaled to the target's samples" if epoch_times.is_scaled else ""
    notes = [
        f"hours are those of a median recorded dataset{scaled}; four of five recorded datasets "
        f"took {low:.2g} to {high:.2g} times as long"
    ]
    if inputs.sizes is not None and not epoch_times.is_scaled:
        notes.append(
            "no recorded recipe has a number of samples: hours are not scaled to the target"
        )
    if epoch_times.estimated:
        count = len(epoch_times.estimated)
        notes.append(
            f"{count_of(count, 'model')} without recorded seconds: estimated from their size"
        )
    if inputs.sizes is not None and inputs.recipes:
        recipe = next(iter(inputs.recipes.values()))
        used, available = recipe.train_samples, inputs.sizes.get("train", 0)
        if 0 < used < available:
            on_all = forward_passes(replace(recipe, train_samples=0), inputs.sizes)
            times = on_all / forward_passes(recipe, inputs.sizes)
            notes.append(
                f"retraining the winner on all {available} samples (--final auto) adds "
                f"{recipe.epochs} epochs, each {times:.1f} times as long"
            )
    return notes
