"""What there is to plan with: the history of a zoo or of tables, and the target if it is known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_recall.adapters.dataset_spec import DatasetSpec
from mlflow_recall.adapters.defaults import read_defaults
from mlflow_recall.config import PlanConfig, RecallConfig
from mlflow_recall.core.advice import Advice, Wish
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.planning.paces import passes
from mlflow_recall.core.probing import Probing, probed
from mlflow_recall.core.recipes import Recipe, usual_epochs
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.records import Dataset, Member, Record
from mlflow_recall.core.stages import MANY, USUAL, staged
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.probing import measured_probe
from mlflow_recall.workflows.prospect import survey
from mlflow_recall.workflows.recommend import recommend_tables, survey_zoo


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

    def stages(self, wished: int = 0) -> int:
        """Of one fine-tuning: as recorded, or else as wished, as the recipes say, or as usual."""
        if self.curves is not None:
            return self.curves.stages
        return wished or usual_epochs(self.recipes) or USUAL

    def probing(self, advice: Advice, samples: int) -> Probing:
        """Who looks at ``samples`` of the target before anybody is trained, and what that costs."""
        models = probed(self.evidence.clustering, advice.ranker, advice.picker)
        if self.probe is not None:
            return Probing(models, self.probe, "as measured in earlier recalls")
        recipes = list(self.recipes.values())
        usual = max(recipes, key=recipes.count) if recipes else None
        epoch = passes(usual, self.sizes)
        if math.isnan(epoch) or not epoch:
            return Probing(models)
        if self.sizes is not None:
            samples = min(samples, self.sizes.get("train", samples))
        told = "forward passes over an epoch's forward and backward"
        return Probing(models, samples / epoch, told)


def of_target(config: PlanConfig, target: DatasetSpec, bench: Bench) -> Known:
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
    modality = prospect.dataset.modality
    return Known(
        prospect.evidence,
        _wish(config, bench, modality),
        prospect.usable.records,
        prospect.usable.recipes,
        modality,
        _everyone(prospect.usable.records, list(prospect.members)),
        able=list(prospect.members),
        curves=_curves(config, prospect.usable.records),
        dataset=prospect.dataset.name,
        sizes=prospect.dataset.sizes,
        parameters=_parameters(prospect.members.values()),
        probe=measured_probe(bench),
    )


def of_zoo(config: PlanConfig, bench: Bench) -> Known:
    """The history of a zoo, for a dataset like the recorded ones."""
    found = survey_zoo(config.recommend, bench, trainable=True)
    evidence, records = found.evidence, found.usable.records
    names = list(evidence.matrix.models)
    return Known(
        evidence,
        _wish(config, bench, found.modality),
        records,
        found.usable.recipes,
        found.modality,
        _everyone(records, names),
        able=names,
        curves=_curves(config, records),
        parameters=_parameters(found.members),
        probe=measured_probe(bench),
    )


def of_tables(
    config: PlanConfig, folder: Tables, dataset: str = "", target: Dataset | None = None
) -> Known:
    """The history of plain tables or of an export, as if ``dataset`` were new in it.

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
    return Known(
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
    )


def _wish(config: PlanConfig, bench: Bench, modality: str) -> Wish:
    defaults = read_defaults(bench.client, bench.namespace, modality, config.recommend.metric)
    return replace(config.recommend.wish, defaults=defaults)


def _everyone(records: Sequence[Record], names: Sequence[str]) -> PerformanceMatrix:
    matrix = PerformanceMatrix.of(records)
    return matrix.take(sorted({*matrix.models, *names}))


def _parameters(members: Iterable[Member]) -> dict[str, float]:
    return {m.name: float(m.parameters) for m in members if m.parameters}


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
            stages = config.stages or (USUAL if longest > MANY else 0)
            models = len({curve.model for curve in found})
            return staged(found, stages, max(2, models // 2))
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
