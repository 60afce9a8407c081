"""What a selection would cost and find, and what to benchmark next; nothing is trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.datasets import DatasetSpec
from mlflow_recall.adapters.defaults import read_defaults
from mlflow_recall.adapters.ledger import Ledger
from mlflow_recall.adapters.tracking import search_runs
from mlflow_recall.config import PlanConfig, RecallConfig
from mlflow_recall.core.advice import Advice, Wish, advise
from mlflow_recall.core.clustering import cluster, unclustered
from mlflow_recall.core.cold_start import described, joined, newcomers
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.next_cells import NextCell, Subset, next_cells, smallest_subset
from mlflow_recall.core.overview import noise_floor
from mlflow_recall.core.plan import (
    SIZES,
    Paces,
    Strategy,
    fitting,
    paces,
    passes,
    recorded_targets,
    rehearse,
    strategy,
)
from mlflow_recall.core.policies import POLICIES, Settings
from mlflow_recall.core.probing import Probing, probed
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.recommend import Evidence, recommender
from mlflow_recall.core.records import Dataset, Record
from mlflow_recall.core.stages import staged
from mlflow_recall.errors import HistoryError, SettingError, ZooError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.bench import Bench, chosen
from mlflow_recall.workflows.recall import survey
from mlflow_recall.workflows.recommend import recommend_tables

#: stopping policies of a recall that are compared, where they are known
_STOPPING = ("halving", "fine_selection", "price")
#: stages of curves that were recorded in finer steps than ``_MANY``, where nobody says how many
_STAGES, _MANY = 5, 10


@dataclass(frozen=True, eq=False)
class Known:
    """What there is to plan with."""

    evidence: Evidence
    wish: Wish
    records: Sequence[Record]
    recipes: Mapping[str, Recipe]
    modality: str
    #: every model that may be benchmarked or has a history, on every recorded dataset
    everyone: PerformanceMatrix
    #: models that can be trained; None: all
    able: Sequence[str] | None = None
    #: None: none were recorded
    curves: Curves | None = None
    #: the target's name and samples; empty: like the recorded ones
    dataset: str = ""
    sizes: Mapping[str, int] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    #: epochs that one probe was worth in earlier recalls; None: there was none
    probe: float | None = None
    namespace: str = ""


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
    planned = _plan(config, _surveyed(config, target, bench) if target else _zoo(config, bench))
    ledger = Ledger(bench.client, f"{bench.namespace}/plan")
    try:
        title = f"plan for {planned.dataset or planned.modality}"
        with ledger.running(title, "plan", bench.run_id) as run:
            run.table(strategy_rows(planned.strategies), "plan/strategies.json")
            run.table(cell_rows(planned.cells), "plan/next.json")
            run.log(_metrics(planned))
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
    found = recommend_tables(config.recommend, folder, dataset)
    kept = usable(folder.records(config.recommend.metric), found.modality)
    drop = {dataset, *config.recommend.drop}
    records = [record for record in kept.records if record.dataset not in drop]
    curves = _curves(config, records) or _table_curves(config, folder)
    if curves is not None:  # a target's own curves would tell how it ends
        for name in drop:
            curves = curves.without(name)
    return _plan(
        config,
        Known(
            found.evidence,
            config.recommend.wish,
            records,
            kept.recipes,
            found.modality,
            PerformanceMatrix.of(records),
            curves=curves,
            dataset=target.name if target else dataset,
            sizes=target.sizes if target else None,
            parameters=_numbers(folder.model_features()),
        ),
    )


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
    stages = _stages(config, known)
    offers = _Offers(config, known, pace, stages)
    strategies, everything = offers.strategies(), offers.everything() if config.limited else ()
    fits = fitting(everything, config.budget_epochs, config.budget_hours)
    cells: Sequence[NextCell] = ()
    subset, notes = None, offers.notes()
    if config.next_cells:
        noise = noise_floor(known.records).known
        cells = next_cells(known.everyone, config.next_cells, noise=noise, available=known.able)
        try:
            subset = smallest_subset(known.everyone, known.wish.tolerance)
        except HistoryError as error:
            notes = (*notes, str(error))
    return Planned(
        known.dataset,
        known.modality,
        stages,
        strategies,
        offers.advice,
        pace,
        known.wish.defaults.policy,
        fits,
        min((*strategies, *everything), key=lambda each: each.epochs),
        cells,
        subset,
        notes,
    )


class _Offers:
    """Strategies for one target, each rehearsed once."""

    def __init__(self, config: PlanConfig, known: Known, pace: Paces | None, stages: int) -> None:
        self._config, self._known, self._pace = config, known, pace
        self.advice = advise(known.evidence, known.wish)
        picked = recommender(self.advice.picker)
        self._order = picked(known.evidence).models
        noise = noise_floor(known.records).known
        self._targets = recorded_targets(known.evidence, picked, known.curves, noise)
        self._settings = Settings(stages, price=known.wish.defaults.price)
        self._probing = _probing(config, known, self.advice)

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
            notes += _pace_notes(self._pace, self._known)
        if not any(target.curves for target in self._targets):
            notes.append(
                "no curves are recorded: policies cost at most these epochs, and are taken to find "
                "the best of their candidates"
            )
        if self._known.curves is None and not self._known.recipes and not self._config.stages:
            notes.append(f"nothing tells the epochs of a fine-tuning: {_STAGES} (--stages)")
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


def _surveyed(config: PlanConfig, target: DatasetSpec, bench: Bench) -> Known:
    """The history of a zoo, and a dataset that nothing was computed on yet."""
    asked = config.recommend
    prospect = survey(
        RecallConfig(
            target,
            metric=asked.metric,
            recommender=asked.recommender,
            top_k=asked.top_k,
            tolerance=asked.tolerance,
            confidence=asked.confidence,
            models=asked.models,
            constraints=asked.constraints,
        ),
        bench,
    )
    members, modality = list(prospect.members.values()), prospect.dataset.modality
    evidence = Evidence(
        prospect.matrix,
        prospect.clustering,
        model_features=described([prospect.members[m] for m in prospect.matrix.models]),
        provisional={each.model: each.strength for each in prospect.newcomers},
    )
    return Known(
        evidence,
        _wish(config, bench, modality),
        prospect.usable.records,
        prospect.usable.recipes,
        modality,
        _everyone(prospect.usable.records, list(prospect.members)),
        able=list(prospect.members),
        curves=_curves(config, prospect.usable.records),
        dataset=prospect.dataset.name,
        sizes=prospect.dataset.sizes,
        parameters={m.name: float(m.parameters) for m in members if m.parameters},
        probe=_measured_probe(bench),
    )


def _zoo(config: PlanConfig, bench: Bench) -> Known:
    """The history of a zoo, for a dataset like the recorded ones."""
    asked = config.recommend
    everyone = bench.registry.members(bench.voice.say)
    records = bench.history.records(asked.metric)
    modalities = sorted({record.modality for record in records if record.complete})
    if not asked.modality and len(modalities) > 1:
        raise SettingError(
            f"modality: the history has {', '.join(modalities)}: name one with --modality"
        )
    modality = asked.modality or next(iter(modalities), "")
    kept = usable(records, modality, members=everyone)
    there = [m for m in everyone if m.modality == modality and m.available]
    members, _ = asked.constraints.split(chosen(there, asked.models))
    if not members:
        raise ZooError(
            f"plan: expected models of modality {modality} with weights that fulfil the "
            f"constraints, got none of {len(there)}"
        )
    names = [member.name for member in members]
    matrix = PerformanceMatrix.of(kept.records).take(names)
    known = int((~np.isnan(matrix.mean)).sum())
    clustering = cluster(matrix, prefix=modality) if known >= 2 else unclustered()
    new = newcomers(matrix, clustering, described(members))
    evidence = Evidence(
        matrix,
        joined(clustering, new),
        model_features=described(members),
        provisional={each.model: each.strength for each in new},
    )
    return Known(
        evidence,
        _wish(config, bench, modality),
        kept.records,
        kept.recipes,
        modality,
        _everyone(kept.records, names),
        able=names,
        curves=_curves(config, kept.records),
        parameters={m.name: float(m.parameters) for m in members if m.parameters},
        probe=_measured_probe(bench),
    )


def _wish(config: PlanConfig, bench: Bench, modality: str) -> Wish:
    defaults = read_defaults(bench.client, bench.namespace, modality, config.recommend.metric)
    return replace(config.recommend.wish, defaults=defaults)


def _everyone(records: Sequence[Record], names: Sequence[str]) -> PerformanceMatrix:
    matrix = PerformanceMatrix.of(records)
    return matrix.take(sorted({*matrix.models, *names}))


def _measured_probe(bench: Bench) -> float | None:
    """Epochs that the forward passes of one model were worth, in the recalls of this namespace."""
    names = (f"{bench.namespace}/recall", f"{bench.namespace}/select")
    found = [bench.client.get_experiment_by_name(name) for name in names]
    there = [str(experiment.experiment_id) for experiment in found if experiment]
    runs = search_runs(bench.client, there, "metrics.`recall/epochs` > 0")
    told = [(r.data.metrics["recall/epochs"], r.data.metrics["recall/probes"]) for r in runs]
    epochs, probes = np.array(told, dtype=np.float64).reshape(-1, 2).sum(axis=0).tolist()
    return epochs / probes if probes else None


def _probing(config: PlanConfig, known: Known, advice: Advice) -> Probing:
    """Who looks at the target before anybody is trained, and what that costs."""
    models = probed(known.evidence.clustering, advice.ranker, advice.picker)
    if known.probe is not None:
        return Probing(models, known.probe, "as measured in earlier recalls")
    recipes = list(known.recipes.values())
    usual = max(recipes, key=recipes.count) if recipes else None
    epoch = passes(usual, known.sizes)
    if math.isnan(epoch) or not epoch:
        return Probing(models)
    samples = config.probe_samples
    if known.sizes is not None:
        samples = min(samples, known.sizes.get("train", samples))
    return Probing(models, samples / epoch, "forward passes over an epoch's forward and backward")


def _curves(config: PlanConfig, records: Sequence[Record]) -> Curves | None:
    """Those with the most frequent number of stages, or with the wished one."""
    counts = Counter(len(record.validation) for record in records if record.validation)
    if not counts:
        return None
    stages = config.stages or max(counts, key=lambda count: (counts[count], count))
    some = [record for record in records if len(record.validation) == stages]
    return Curves.of(some) if some else None


def _table_curves(config: PlanConfig, folder: Tables) -> Curves | None:
    """Curves of a table in whatever steps, at a few of them."""
    for metric in (config.recommend.metric, ""):
        try:
            if not (found := folder.curves(metric)):
                continue
            longest = max(len(curve.steps) for curve in found)
            stages = config.stages or (_STAGES if longest > _MANY else 0)
            models = len({curve.model for curve in found})
            return staged(found, stages, max(2, models // 2))
        except HistoryError:
            continue
    return None


def _stages(config: PlanConfig, known: Known) -> int:
    """Stages of one fine-tuning."""
    if known.curves is not None:
        return known.curves.stages
    counts = Counter(recipe.epochs for recipe in known.recipes.values())
    return config.stages or (counts.most_common(1)[0][0] if counts else _STAGES)


def _numbers(features: Mapping[str, Mapping[str, float | str]]) -> dict[str, float]:
    """Parameters of the models, where a column of that name tells them."""
    for name in ("parameters", "params", "n_params", "num_parameters"):
        if name in features:
            told = features[name].items()
            return {m: float(v) for m, v in told if isinstance(v, (int, float)) and v > 0}
    return {}


def _pace_notes(pace: Paces, known: Known) -> list[str]:
    low, high = pace.spread
    notes = [
        f"hours are those of a median recorded dataset{' of these samples' if pace.scaled else ''};"
        f" four of five recorded ones took {low:.2g} to {high:.2g} times as long"
    ]
    if known.sizes is not None and not pace.scaled:
        notes.append("no recorded recipe says how many samples: hours are not scaled to the target")
    if pace.guessed:
        notes.append(f"{len(pace.guessed)} models have no recorded seconds: foretold by their size")
    if known.sizes is not None and known.recipes:
        recipe = next(iter(known.recipes.values()))
        seen, there = recipe.train_samples, known.sizes.get("train", 0)
        if 0 < seen < there:
            first = passes(replace(recipe, train_samples=0), known.sizes)
            times = first / passes(recipe, known.sizes)
            notes.append(
                f"retraining the winner on all {there} samples (--final auto) adds "
                f"{recipe.epochs} epochs, each as long as {times:.1f} of these"
            )
    return notes


def strategy_rows(strategies: Sequence[Strategy]) -> list[dict[str, object]]:
    """One row a strategy, for tables."""
    return [
        {
            "strategy": each.name,
            "models": each.models,
            "epochs": round(each.epochs, 2),
            "at most": round(each.most, 2),
            "hours": None if math.isnan(each.hours) else each.hours,
            "expected regret": each.regret,
            "standard error": None if math.isnan(each.error) else each.error,
            "P(holds best)": None if math.isnan(each.p_holds_best) else each.p_holds_best,
        }
        for each in strategies
    ]


def cell_rows(cells: Sequence[NextCell]) -> list[dict[str, object]]:
    """One row a cell, for tables."""
    return [{"model": c.model, "dataset": c.dataset, "removes": f"{c.value:.2%}"} for c in cells]


def _metrics(planned: Planned) -> dict[str, float]:
    figures = {
        f"plan/{each.name.replace(' + ', '_')}_{what}": value
        for each in planned.strategies
        for what, value in (
            ("epochs", each.epochs),
            ("hours", each.hours),
            ("regret", each.regret),
        )
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}
