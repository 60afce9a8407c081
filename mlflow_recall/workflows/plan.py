"""What a selection would cost and find, and what to benchmark next; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.config import PlanConfig
from mlflow_recall.core.history.overview import noise_floor
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.resample import DEFAULT_STAGES
from mlflow_recall.core.planning.dataset_subset import DatasetSubset, find_smallest_subset
from mlflow_recall.core.planning.epoch_times import EpochTimes, estimate_epoch_times
from mlflow_recall.core.planning.next_cells import NextCell, next_cells
from mlflow_recall.core.planning.simulate import recorded_targets, simulate
from mlflow_recall.core.planning.strategy_estimates import (
    SIZES,
    StrategyEstimate,
    best_within_budget,
    estimate_strategy,
)
from mlflow_recall.core.policies import POLICIES, PolicyOptions, data_warning
from mlflow_recall.core.recommend import get_recommender
from mlflow_recall.core.recommend.probe_cost import ProbeCost
from mlflow_recall.core.recommend.recommendation import Recommendation, recommend
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.plan_inputs import (
    PlanInputs,
    inputs_for_dataset,
    inputs_for_zoo,
    inputs_from_tables,
)
from mlflow_recall.workflows.plan_rows import cell_rows, strategy_metrics, strategy_rows, time_notes
from mlflow_recall.workflows.services import Services

#: stopping policies of a recall that are compared, where they are known
_STOPPING = ("halving", "fine_selection", "price")


@dataclass(frozen=True, eq=False)
class SelectionPlan:
    """What a selection would cost and find."""

    dataset: str
    modality: str
    #: stages of one fine-tuning
    stages: int
    #: the whole zoo, and recall with the wished number of models
    strategies: tuple[StrategyEstimate, ...]
    recommendation: Recommendation
    epoch_times: EpochTimes | None
    #: the one that a selection uses where nobody asks for another
    policy: str
    #: what fits the budget best; None: nothing does, or there is no budget
    best_in_budget: StrategyEstimate | None = None
    #: what costs least
    cheapest: StrategyEstimate | None = None
    cells: Sequence[NextCell] = ()
    #: None: not asked for
    subset: DatasetSubset | None = None
    notes: tuple[str, ...] = ()
    run_id: str = ""


def plan_zoo(config: PlanConfig, services: Services) -> SelectionPlan:
    """Plan with the history of a zoo, for a dataset or for one like the recorded.

    Raises:
        RecallError: no model or no history is left, or the dataset cannot be read.
    """
    target = config.dataset
    planned = _plan(
        config,
        inputs_for_dataset(config, target, services)
        if target
        else inputs_for_zoo(config, services),
    )
    writer = RunWriter(services.client, f"{services.namespace}/plan")
    try:
        title = f"plan for {planned.dataset or planned.modality}"
        with writer.managed_run(title, "plan", services.run_id) as run:
            run.log_table(strategy_rows(planned.strategies), "plan/strategies.json")
            run.log_table(cell_rows(planned.cells), "plan/next.json")
            run.log_metrics(strategy_metrics(planned.strategies))
            table = figures.markdown_table(strategy_rows(planned.strategies))
            run.set_description(
                "\n\n".join([f"What a selection would cost:\n\n{table}", *planned.notes])
            )
    finally:
        writer.close()
    return replace(planned, run_id=run.run_id)


def plan_tables(
    config: PlanConfig, folder: Tables, dataset: str = "", target: Dataset | None = None
) -> SelectionPlan:
    """Plan with plain tables or an export.

    Args:
        config: what is asked.
        folder: the history.
        dataset: one of its datasets, as if it were new; empty: one like them.
        target: a dataset that is not among them, for its samples.

    Raises:
        HistoryError: the dataset has neither records nor scores.
    """
    return _plan(config, inputs_from_tables(config, folder, dataset, target))


def _plan(config: PlanConfig, known: PlanInputs) -> SelectionPlan:
    """Rehearse every strategy on the recorded datasets, and price it for the target."""
    pace = estimate_epoch_times(
        known.records,
        known.evidence.matrix.models,
        known.recipes,
        parameters=known.parameters,
        sizes=known.sizes,
    )
    if pace is None and math.isfinite(config.budget_hours):
        raise ConfigError(
            "budget_hours: expected a history that tells the seconds of its epochs, got none: use "
            "--budget-epochs"
        )
    stages = known.stages(config.stages)
    offers = _Offers(config, known, pace, stages)
    strategies, everything = offers.strategies(), offers.everything() if config.has_budget else ()
    cells, subset, why = _to_benchmark(config, known)
    return SelectionPlan(
        known.dataset,
        known.modality,
        stages,
        strategies,
        offers.advice,
        pace,
        known.options.defaults.policy,
        best_within_budget(everything, config.budget_epochs, config.budget_hours),
        min((*strategies, *everything), key=lambda each: each.epochs),
        cells,
        subset,
        (*offers.notes(), *why),
    )


def _to_benchmark(
    config: PlanConfig, known: PlanInputs
) -> tuple[Sequence[NextCell], DatasetSubset | None, tuple[str, ...]]:
    """Cells to measure next and the datasets that suffice, or why that cannot be said."""
    if not config.next_cells:
        return (), None, ()
    noise = noise_floor(known.records).std_or_zero
    cells = next_cells(known.full_matrix, config.next_cells, noise=noise, available=known.trainable)
    try:
        return cells, find_smallest_subset(known.full_matrix, known.options.tolerance), ()
    except HistoryError as error:
        return cells, None, (str(error),)


class _Offers:
    """Strategies for one target, each rehearsed once."""

    def __init__(
        self, config: PlanConfig, known: PlanInputs, pace: EpochTimes | None, stages: int
    ) -> None:
        self._config, self._known, self._pace = config, known, pace
        self.advice = recommend(known.evidence, known.options)
        picked = get_recommender(self.advice.set_selector)
        self._order = picked(known.evidence).models
        self._targets = recorded_targets(known.evidence, picked, known.curves)
        self._settings = PolicyOptions(
            stages, min_gain_per_epoch=known.options.defaults.min_gain_per_epoch
        )
        self._probing = known.probe_cost(self.advice, config.probe_samples)

    def strategies(self) -> tuple[StrategyEstimate, ...]:
        """The whole zoo, and recall with the wished number of models."""
        count = len(self.advice.selected)
        zoo = [self._of(name, name, len(self._order)) for name in ("brute_force", "halving")]
        return (*zoo, *(self._recall(name, count, self._probing) for name in self._policies))

    def everything(self) -> tuple[StrategyEstimate, ...]:
        """Every policy with every number of models; without probes where a recall fits nowhere."""
        sizes = [size for size in SIZES if size <= len(self._order)]
        offers = [
            self._recall(name, size, self._probing) for name in self._policies for size in sizes
        ]
        budget = self._config.budget_epochs, self._config.budget_hours
        if not self._probing.models or best_within_budget(offers, *budget):
            return tuple(offers)
        return tuple(self._recall(name, size) for name in self._policies for size in sizes)

    def notes(self) -> tuple[str, ...]:
        """What the figures do not tell."""
        notes = [*self.advice.notes]
        if self._pace is None:
            notes.append("no seconds are recorded: epochs only")
        else:
            notes += time_notes(self._pace, self._known)
        if not any(target.curves for target in self._targets):
            notes.append(
                "no curves are recorded: policies cost at most these epochs, and are taken to find "
                "the best of their candidates"
            )
        elif self._known.curves is not None:
            count = len(self._known.curves.datasets)
            notes += filter(None, (data_warning(name, count) for name in self._policies))
        if self._known.curves is None and not self._known.recipes and not self._config.stages:
            notes.append(f"nothing tells the epochs of a fine-tuning: {DEFAULT_STAGES} (--stages)")
        if self._known.curves is not None and self._probing.models:
            notes.append("regrets are replayed with the history's ranking; scores may better it")
        return tuple(notes)

    @property
    def _policies(self) -> list[str]:
        return [name for name in _STOPPING if name in POLICIES]

    def _recall(self, policy: str, size: int, probing: ProbeCost | None = None) -> StrategyEstimate:
        name = "recall" if probing and probing.models else "history"
        return self._of(f"{name} + {policy}", policy, size, probing)

    def _of(
        self, name: str, policy: str, size: int, probing: ProbeCost | None = None
    ) -> StrategyEstimate:
        return estimate_strategy(
            name,
            policy,
            self._order[:size],
            simulate(policy, size, self._targets, self._settings),
            gaps=self.advice.gaps,
            pace=self._pace,
            probing=probing,
            workers=self._config.workers,
        )
