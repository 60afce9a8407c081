"""What a plan is made of: the history of a zoo or of tables, and the target if it is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.config import PlanConfig
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import choose_metric
from mlflow_recall.core.history.recipes import Recipe, most_common_epochs
from mlflow_recall.core.history.records import Dataset, Member, Record
from mlflow_recall.core.history.resample import DEFAULT_STAGES, MAX_STAGES, resample_curves
from mlflow_recall.core.planning.epoch_times import forward_passes
from mlflow_recall.core.recommend.evidence import Evidence
from mlflow_recall.core.recommend.probe_cost import ProbeCost, models_to_probe
from mlflow_recall.core.recommend.recommendation import Recommendation, RecommendOptions
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.context import load_context
from mlflow_recall.workflows.probes import measured_probe_epochs
from mlflow_recall.workflows.recommend import recommend_from_tables
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False, kw_only=True)
class PlanInputs:
    """What a plan is made of."""

    evidence: Evidence
    options: RecommendOptions
    records: Sequence[Record]
    recipes: Mapping[str, Recipe]
    modality: str
    #: every model that has a history or can be benchmarked, on every recorded dataset
    full_matrix: PerformanceMatrix
    #: models that can be trained; None: all
    trainable: Sequence[str] | None = None
    #: None: none are recorded
    curves: Curves | None = None
    #: name of the target; None: a dataset like the recorded ones
    dataset: str | None = None
    #: samples of each split of the target; None: unknown
    sizes: Mapping[str, int] | None = None
    #: model -> parameters of the backbone
    parameters: Mapping[str, float] = field(default_factory=dict)
    #: epochs that one probe was worth in earlier recalls; None: there were none
    probe_epochs: float | None = None

    def stages(self, requested: int | None = None) -> int:
        """Return the stages of one fine-tuning: as recorded, requested, usual, or the default."""
        if self.curves is not None:
            return self.curves.stages
        return requested or most_common_epochs(self.recipes) or DEFAULT_STAGES

    def probe_cost(self, recommendation: Recommendation, samples: int) -> ProbeCost:
        """Return who probes ``samples`` samples of the target, and what that costs."""
        models = models_to_probe(
            self.evidence.clustering, recommendation.ranker, recommendation.set_selector
        )
        if self.probe_epochs is not None:
            return ProbeCost(models, self.probe_epochs, "as measured in earlier recalls")
        recipes = list(self.recipes.values())
        usual = max(recipes, key=recipes.count) if recipes else None
        epoch = forward_passes(usual, self.sizes)
        if math.isnan(epoch) or not epoch:
            return ProbeCost(models)
        if self.sizes is not None:
            samples = min(samples, self.sizes.get("train", samples))
        basis = "forward passes relative to those of an epoch, forward and backward"
        return ProbeCost(models, samples / epoch, basis)


def inputs_from_zoo(config: PlanConfig, services: Services) -> PlanInputs:
    """Read the history of a zoo, for a dataset or for one like the recorded ones.

    Raises:
        RecallError: The dataset cannot be read, or the zoo or its history cannot serve.
    """
    dataset = services.load_dataset(config.dataset) if config.dataset else None
    context = load_context(config.recommend, services, dataset)
    records, models = context.comparable.records, list(context.members)
    metric, namespace = context.metric.history, services.namespace
    defaults = read_defaults(services.client, namespace, context.modality, metric)
    matrix = context.unit.matrix(records)
    return PlanInputs(
        evidence=context.evidence,
        options=config.recommend.recommend_options(context.unit, defaults),
        records=records,
        recipes=context.comparable.recipes,
        modality=context.modality,
        full_matrix=matrix.select_models(sorted({*matrix.models, *models})),
        trainable=models,
        curves=_usual_curves(config, records),
        dataset=dataset.name if dataset else None,
        sizes=dataset.sizes if dataset else None,
        parameters=_parameters(context.members.values()),
        probe_epochs=measured_probe_epochs(services),
    )


def inputs_from_tables(
    config: PlanConfig, tables: Tables, dataset: str | None = None, target: Dataset | None = None
) -> PlanInputs:
    """Read the history of plain tables or of an export.

    Args:
        config: What is asked.
        tables: The history.
        dataset: One of its datasets, as if it were new; None: a dataset like them.
        target: A dataset that is not among them, for its samples.

    Raises:
        HistoryError: The dataset has neither records nor scores.
    """
    if target is not None:
        choose_metric(config.recommend.metric, target)  # refuses a metric that it does not have
    result = recommend_from_tables(config.recommend, tables, dataset)
    comparable = result.comparable
    dropped = {*config.recommend.drop_datasets, *([dataset] if dataset else [])}
    records = [record for record in comparable.records if record.dataset not in dropped]
    curves = _usual_curves(config, records) or _resampled_curves(config, tables)
    if curves is not None:  # the target's own curves would reveal its final scores
        for name in dropped:
            curves = curves.without_dataset(name)
    return PlanInputs(
        evidence=result.evidence,
        options=result.options,
        records=records,
        recipes=comparable.recipes,
        modality=result.modality,
        full_matrix=result.options.unit.matrix(records),
        curves=curves,
        dataset=target.name if target else dataset,
        sizes=target.sizes if target else None,
        parameters=_parameter_column(tables.model_features()),
    )


def _parameters(members: Iterable[Member]) -> dict[str, float]:
    return {m.name: float(m.parameters) for m in members if m.parameters}


def _usual_curves(config: PlanConfig, records: Sequence[Record]) -> Curves | None:
    """Return the curves with the most common number of stages, or with the requested one."""
    counts = Counter(
        len(record.validation_scores) for record in records if record.validation_scores
    )
    if not counts:
        return None
    stages = config.stages or max(counts, key=lambda count: (counts[count], count))
    kept = [record for record in records if len(record.validation_scores) == stages]
    return Curves.from_records(kept) if kept else None


def _resampled_curves(config: PlanConfig, tables: Tables) -> Curves | None:
    """Return the curves of tables with any number of steps, at a few of them."""
    for metric in (config.recommend.metric, None):
        try:
            recorded = tables.curves(metric)
            if not recorded:
                continue
            longest = max(len(curve.steps) for curve in recorded)
            stages = config.stages or (DEFAULT_STAGES if longest > MAX_STAGES else None)
            models = len({curve.model for curve in recorded})
            return resample_curves(recorded, stages, max(2, models // 2))
        except HistoryError:
            continue
    return None


def _parameter_column(features: Mapping[str, Mapping[str, float | str]]) -> dict[str, float]:
    """Return the parameters of the models, from the column of that name."""
    for name in ("parameters", "params", "n_params", "num_parameters"):
        if name in features:
            values = features[name].items()
            return {m: float(v) for m, v in values if isinstance(v, (int, float)) and v > 0}
    return {}
