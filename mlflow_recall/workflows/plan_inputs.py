"""What there is to plan with: the history of a zoo or of tables, and the target if it is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.config import PlanConfig, RecallConfig
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.recipes import Recipe, most_common_epochs
from mlflow_recall.core.history.records import Dataset, Member, Record
from mlflow_recall.core.history.resample import DEFAULT_STAGES, MAX_STAGES, resample_curves
from mlflow_recall.core.planning.epoch_times import forward_passes
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.probe_cost import ProbeCost, models_to_probe
from mlflow_recall.core.recommend.recommendation import Recommendation, RecommendOptions
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.context import load_context
from mlflow_recall.workflows.probes import measured_probe_epochs
from mlflow_recall.workflows.recommend import recommend_tables, survey_zoo
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False)
class PlanInputs:
    """What there is to plan with."""

    evidence: Evidence
    options: RecommendOptions
    records: Sequence[Record]
    recipes: Mapping[str, Recipe]
    modality: str
    #: every model that may be benchmarked or has a history, on every recorded dataset
    full_matrix: PerformanceMatrix
    #: models that can be trained; None: all
    trainable: Sequence[str] | None = None
    #: None: none were recorded
    curves: Curves | None = None
    #: the target's name and samples; empty: like the recorded ones
    dataset: str = ""
    sizes: Mapping[str, int] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    #: epochs that one probe was worth in earlier recalls; None: there was none
    probe_epochs: float | None = None
    namespace: str = ""

    def stages(self, wished: int = 0) -> int:
        """Of one fine-tuning: as recorded, or else as wished, as the recipes say, or as usual."""
        if self.curves is not None:
            return self.curves.stages
        return wished or most_common_epochs(self.recipes) or DEFAULT_STAGES

    def probe_cost(self, recommendation: Recommendation, samples: int) -> ProbeCost:
        """Who looks at ``samples`` of the target before anybody is trained, and what that costs."""
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
        told = "forward passes over an epoch's forward and backward"
        return ProbeCost(models, samples / epoch, told)


def inputs_for_dataset(config: PlanConfig, target: DatasetSpec, services: Services) -> PlanInputs:
    """The history of a zoo, and a dataset that nothing was computed on yet."""
    asked = config.recommend
    context = load_context(
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
        services,
    )
    modality = context.dataset.modality
    return PlanInputs(
        context.evidence,
        _wish(config, services, modality),
        context.comparable.records,
        context.comparable.recipes,
        modality,
        _everyone(context.comparable.records, list(context.members)),
        trainable=list(context.members),
        curves=_curves(config, context.comparable.records),
        dataset=context.dataset.name,
        sizes=context.dataset.sizes,
        parameters=_parameters(context.members.values()),
        probe_epochs=measured_probe_epochs(services),
    )


def inputs_for_zoo(config: PlanConfig, services: Services) -> PlanInputs:
    """The history of a zoo, for a dataset like the recorded ones."""
    found = survey_zoo(config.recommend, services, trainable=True)
    evidence, records = found.evidence, found.comparable.records
    names = list(evidence.matrix.models)
    return PlanInputs(
        evidence,
        _wish(config, services, found.modality),
        records,
        found.comparable.recipes,
        found.modality,
        _everyone(records, names),
        trainable=names,
        curves=_curves(config, records),
        parameters=_parameters(found.members),
        probe_epochs=measured_probe_epochs(services),
    )


def inputs_from_tables(
    config: PlanConfig, folder: Tables, dataset: str = "", target: Dataset | None = None
) -> PlanInputs:
    """The history of plain tables or of an export, as if ``dataset`` were new in it.

    Raises:
        HistoryError: the dataset has neither records nor scores.
    """
    found = recommend_tables(config.recommend, folder, dataset)
    kept = select_comparable(folder.records(config.recommend.metric), found.modality)
    drop = {dataset, *config.recommend.drop_datasets}
    records = [record for record in kept.records if record.dataset not in drop]
    curves = _curves(config, records) or _table_curves(config, folder)
    if curves is not None:  # a target's own curves would tell how it ends
        for name in drop:
            curves = curves.without_dataset(name)
    return PlanInputs(
        found.evidence,
        config.recommend.recommend_options,
        records,
        kept.recipes,
        found.modality,
        PerformanceMatrix.from_records(records),
        curves=curves,
        dataset=target.name if target else dataset,
        sizes=target.sizes if target else None,
        parameters=_numbers(folder.model_features()),
    )


def _wish(config: PlanConfig, services: Services, modality: str) -> RecommendOptions:
    defaults = read_defaults(services.client, services.namespace, modality, config.recommend.metric)
    return replace(config.recommend.recommend_options, defaults=defaults)


def _everyone(records: Sequence[Record], names: Sequence[str]) -> PerformanceMatrix:
    matrix = PerformanceMatrix.from_records(records)
    return matrix.select_models(sorted({*matrix.models, *names}))


def _parameters(members: Iterable[Member]) -> dict[str, float]:
    return {m.name: float(m.parameters) for m in members if m.parameters}


def _curves(config: PlanConfig, records: Sequence[Record]) -> Curves | None:
    """Those with the most frequent number of stages, or with the wished one."""
    counts = Counter(
        len(record.validation_scores) for record in records if record.validation_scores
    )
    if not counts:
        return None
    stages = config.stages or max(counts, key=lambda count: (counts[count], count))
    some = [record for record in records if len(record.validation_scores) == stages]
    return Curves.from_records(some) if some else None


def _table_curves(config: PlanConfig, folder: Tables) -> Curves | None:
    """Curves of a table in whatever steps, at a few of them."""
    for metric in (config.recommend.metric, ""):
        try:
            if not (found := folder.curves(metric)):
                continue
            longest = max(len(curve.steps) for curve in found)
            stages = config.stages or (DEFAULT_STAGES if longest > MAX_STAGES else 0)
            models = len({curve.model for curve in found})
            return resample_curves(found, stages, max(2, models // 2))
        except HistoryError:
            continue
    return None


def _numbers(features: Mapping[str, Mapping[str, float | str]]) -> dict[str, float]:
    """Parameters of the models, where a column of that name tells them."""
    for name in ("parameters", "params", "n_params", "num_parameters"):
        if name in features:
            told = features[name].items()
            return {m: float(v) for m, v in told if isinstance(v, (int, float)) and v > 0}
    return {}
