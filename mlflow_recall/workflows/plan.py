"""What a selection would cost and find, and what to benchmark next; nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.ledger import Ledger
from mlflow_recall.config import PlanConfig
from mlflow_recall.core.advice import Advice, advise
from mlflow_recall.core.overview import noise_floor
from mlflow_recall.core.planning.next_cells import NextCell, next_cells
from mlflow_recall.core.planning.paces import Paces, paces
from mlflow_recall.core.planning.rehearsal import recorded_targets, rehearse
from mlflow_recall.core.planning.strategies import SIZES, Strategy, fitting, strategy
from mlflow_recall.core.planning.subset import Subset, smallest_subset
from mlflow_recall.core.policies import POLICIES, Settings, caveat
from mlflow_recall.core.probing import Probing
from mlflow_recall.core.recommend import recommender
from mlflow_recall.core.records import Dataset
from mlflow_recall.core.stages import USUAL
from mlflow_recall.errors import HistoryError, SettingError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.plan_known import Known, of_tables, of_target, of_zoo
from mlflow_recall.workflows.plan_rows import (
    cell_rows,
    pace_notes,
    strategy_metrics,
    strategy_rows,
)

#: stopping policies of a recall that are compared, where they are known
_STOPPING = ("halving", "fine_selection", "price")


@dataclass(frozen=True, eq=False)
class Planned:
    """What a selection would cost and find."""

    dataset: str
    modality: str
    #: stages of one fine-tuning
    stages: int
    #: the whole zoo, and recall with the wished number of models
    strategies: tuple[Strategy, ...]
    advice: Advice
    paces: Paces | None
    #: the one that a selection uses where nobody asks for another
    policy: str
    #: what fits the budget best; None: nothing does, or there is no budget
    fits: Strategy | None = None
    #: what costs least
    cheapest: Strategy | None = None
    cells: Sequence[NextCell] = ()
    #: None: not asked for
    subset: Subset | None = None
    notes: tuple[str, ...] = ()
    run_id: str = ""


def plan_zoo(config: PlanConfig, bench: Bench) -> Planned:
    """Plan with the history of a zoo, for a dataset or for one like the recorded.

    Raises:
        RecallError: no model or no history is left, or the dataset cannot be read.
    """
    target = config.dataset
    planned = _plan(config, of_target(config, target, bench) if target else of_zoo(config, bench))
    ledger = Ledger(bench.client, f"{bench.namespace}/plan")
    try:
        title = f"plan for {planned.dataset or planned.modality}"
        with ledger.running(title, "plan", bench.run_id) as run:
            run.table(strategy_rows(planned.strategies), "plan/strategies.json")
            run.table(cell_rows(planned.cells), "plan/next.json")
            run.log(strategy_metrics(planned.strategies))
            table = figures.markdown_table(strategy_rows(planned.strategies))
            run.describe("\n\n".join([f"What a selection would cost:\n\n{table}", *planned.notes]))
    finally:
        ledger.close()
    return replace(planned, run_id=run.run_id)


def plan_tables(
    config: PlanConfig, folder: Tables, dataset: str = "", target: Dataset | None = None
) -> Planned:
    """Plan with plain tables or an export.

    Args:
        config: what is asked.
        folder: the history.
        dataset: one of its datasets, as if it were new; empty: one like them.
        target: a dataset that is not among them, for its samples.

    Raises:
        HistoryError: the dataset has neither records nor scores.
    """
    return _plan(config, of_tables(config, folder, dataset, target))


def _plan(config: PlanConfig, known: Known) -> Planned:
    """Rehearse every strategy on the recorded datasets, and price it for the target."""
    pace = paces(
        known.records,
        known.evidence.matrix.models,
        known.recipes,
        parameters=known.parameters,
        sizes=known.sizes,
    )
    if pace is None and math.isfinite(config.budget_hours):
        raise SettingError(
            "budget_hours: expected a history that tells the seconds of its epochs, got none: use "
            "--budget-epochs"
        )
    stages = known.stages(config.stages)
    offers = _Offers(config, known, pace, stages)
    strategies, everything = offers.strategies(), offers.everything() if config.limited else ()
    cells, subset, why = _to_benchmark(config, known)
    return Planned(
        known.dataset,
        known.modality,
        stages,
        strategies,
        offers.advice,
        pace,
        known.wish.defaults.policy,
        fitting(everything, config.budget_epochs, config.budget_hours),
        min((*strategies, *everything), key=lambda each: each.epochs),
        cells,
        subset,
        (*offers.notes(), *why),
    )


def _to_benchmark(
    config: PlanConfig, known: Known
) -> tuple[Sequence[NextCell], Subset | None, tuple[str, ...]]:
    """Cells to measure next and the datasets that suffice, or why that cannot be said."""
    if not config.next_cells:
        return (), None, ()
    noise = noise_floor(known.records).known
    cells = next_cells(known.everyone, config.next_cells, noise=noise, available=known.able)
    try:
        return cells, smallest_subset(known.everyone, known.wish.tolerance), ()
    except HistoryError as error:
        return cells, None, (str(error),)


class _Offers:
    """Strategies for one target, each rehearsed once."""

    def __init__(self, config: PlanConfig, known: Known, pace: Paces | None, stages: int) -> None:
        self._config, self._known, self._pace = config, known, pace
        self.advice = advise(known.evidence, known.wish)
        picked = recommender(self.advice.picker)
        self._order = picked(known.evidence).models
        self._targets = recorded_targets(known.evidence, picked, known.curves)
        self._settings = Settings(stages, price=known.wish.defaults.price)
        self._probing = known.probing(self.advice, config.probe_samples)

    def strategies(self) -> tuple[Strategy, ...]:
        """The whole zoo, and recall with the wished number of models."""
        count = len(self.advice.chosen)
        zoo = [self._of(name, name, len(self._order)) for name in ("brute_force", "halving")]
        return (*zoo, *(self._recall(name, count, self._probing) for name in self._policies))

    def everything(self) -> tuple[Strategy, ...]:
        """Every policy with every number of models; without probes where a recall fits nowhere."""
        sizes = [size for size in SIZES if size <= len(self._order)]
        offers = [
            self._recall(name, size, self._probing) for name in self._policies for size in sizes
        ]
        budget = self._config.budget_epochs, self._config.budget_hours
        if not self._probing.models or fitting(offers, *budget):
            return tuple(offers)
        return tuple(self._recall(name, size) for name in self._policies for size in sizes)

    def notes(self) -> tuple[str, ...]:
        """What the figures do not tell."""
        notes = [*self.advice.notes]
        if self._pace is None:
            notes.append("no seconds are recorded: epochs only")
        else:
            notes += pace_notes(self._pace, self._known)
        if not any(target.curves for target in self._targets):
            notes.append(
                "no curves are recorded: policies cost at most these epochs, and are taken to find "
                "the best of their candidates"
            )
        elif self._known.curves is not None:
            count = len(self._known.curves.datasets)
            notes += filter(None, (caveat(name, count) for name in self._policies))
        if self._known.curves is None and not self._known.recipes and not self._config.stages:
            notes.append(f"nothing tells the epochs of a fine-tuning: {USUAL} (--stages)")
        if self._known.curves is not None and self._probing.models:
            notes.append("regrets are replayed with the history's ranking; scores may better it")
        return tuple(notes)

    @property
    def _policies(self) -> list[str]:
        return [name for name in _STOPPING if name in POLICIES]

    def _recall(self, policy: str, size: int, probing: Probing | None = None) -> Strategy:
        name = "recall" if probing and probing.models else "history"
        return self._of(f"{name} + {policy}", policy, size, probing)

    def _of(self, name: str, policy: str, size: int, probing: Probing | None = None) -> Strategy:
        return strategy(
            name,
            policy,
            self._order[:size],
            rehearse(policy, size, self._targets, self._settings),
            gaps=self.advice.gaps,
            pace=self._pace,
            probing=probing,
            workers=self._config.workers,
        )
