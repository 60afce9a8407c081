"""Which models would you try? From the history alone, or from plain tables; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.config import RecommendConfig
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import cluster_models, no_clusters
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member, Record
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.cold_start import add_to_clusters, prior_evidence
from mlflow_recall.core.recommend.recommendation import Recommendation, recommend
from mlflow_recall.errors import ConfigError, HistoryError, ZooError
from mlflow_recall.ports import Tables
from mlflow_recall.workflows.new_models import estimate_new_models
from mlflow_recall.workflows.recommendation_tables import log_recommendation, recommendation_rows
from mlflow_recall.workflows.services import Services, match_names


@dataclass(frozen=True, eq=False)
class RecommendResult:
    """Advice, and the evidence that it rests on."""

    evidence: Evidence
    recommendation: Recommendation
    #: empty where none was named
    dataset: str
    modality: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""


@dataclass(frozen=True, eq=False)
class ZooSurvey:
    """What a zoo's history says of a dataset that nobody has looked at yet."""

    evidence: Evidence
    #: in the order of the evidence
    members: Sequence[Member]
    comparable: ComparableRecords
    modality: str
    #: model -> the constraint that it does not fulfil
    left_out: Mapping[str, str]


def survey_zoo(
    config: RecommendConfig, services: Services, *, trainable: bool = False
) -> ZooSurvey:
    """Read the zoo and its history; ``trainable``: only models whose weights are there.

    Raises:
        RecallError: no model or no history is left.
    """
    members = services.registry.members(services.reporter.info)
    records = services.history.records(config.metric)
    modality = _modality(config, records)
    kept = select_comparable(records, modality, members=members)
    for note in kept.notes:
        services.reporter.info(f"note: {note}")
    there = [m for m in members if m.modality == modality and (m.is_available or not trainable)]
    kind = f"models of modality {modality or 'any'}{' with weights' if trainable else ''}"
    if not there:
        raise ZooError(
            f"registry: expected {kind}, got none: register some with `mlflow-recall register "
            "--zoo FILE`; `cluster` and `backtest` need none"
        )
    wanted, refused = config.constraints.partition(match_names(there, config.models))
    if not wanted:
        raise ZooError(f"constraints: expected {kind} that fulfil them, got none of {len(there)}")
    matrix = PerformanceMatrix.from_records(kept.records).select_models(
        member.name for member in wanted
    )
    clustering = cluster_models(matrix, prefix=modality) if _clusterable(matrix) else no_clusters()
    new = estimate_new_models(matrix, clustering, wanted, config.metric)
    evidence = prior_evidence(matrix, add_to_clusters(clustering, new), wanted, new)
    return ZooSurvey(evidence, wanted, kept, modality, refused)


def recommend_zoo(config: RecommendConfig, services: Services) -> RecommendResult:
    """Recommend from the history of a zoo, for a dataset that nobody has looked at yet.

    Raises:
        RecallError: no model or no history is left.
    """
    found = survey_zoo(config, services)
    evidence, modality = found.evidence, found.modality
    defaults = read_defaults(services.client, services.namespace, modality, config.metric)
    advice = recommend(evidence, replace(config.recommend_options, defaults=defaults))
    writer = RunWriter(services.client, f"{services.namespace}/recommend")
    try:
        with writer.managed_run(f"recommend {modality}", "recommend", services.run_id) as run:
            said = RecommendResult(evidence, advice, "", modality, found.left_out, run.run_id)
            log_recommendation(advice, run, "recommend")
            run.set_tags({tags.MODALITY: modality})
            run.set_description(
                f"**{advice.ranking.models[0]}** would be tried first on an unknown {modality} "
                f"dataset.\n\n{figures.markdown_table(recommendation_rows(advice))}"
            )
    finally:
        writer.close()
    return said


def recommend_tables(config: RecommendConfig, folder: Tables, dataset: str) -> RecommendResult:
    """Recommend from plain tables, for one of their datasets as if it were new, or for none.

    Scores of ``proxy.csv`` on that dataset speak for the models; those on the others teach how far
    scores can be trusted.

    Raises:
        HistoryError: the dataset has neither records nor scores.
    """
    records = folder.records(config.metric)
    modality = _modality(config, records)
    matrix = PerformanceMatrix.from_records(select_comparable(records, modality).records)
    for name in config.drop_datasets:
        if name not in matrix.datasets:
            raise HistoryError(
                f"drop-dataset: expected one of {', '.join(matrix.datasets)}, got {name!r}"
            )
        matrix = matrix.without_dataset(name)
    table = folder.scores()
    scored = {where for cells in table.values() for _, where in cells}
    if dataset and dataset not in {*matrix.datasets, *scored}:
        known = ", ".join(sorted({*matrix.datasets, *scored}))
        raise HistoryError(f"dataset: expected one of {known}, got {dataset!r}")
    history = matrix.without_dataset(dataset)
    scores = {name: _scores_on(cells, history.models, dataset) for name, cells in table.items()}
    past = {
        name: np.column_stack(
            [_scores_on(cells, history.models, each) for each in history.datasets]
        )
        for name, cells in table.items()
        if history.datasets
    }
    features = folder.dataset_features()
    evidence = Evidence(
        history,
        cluster_models(history) if _clusterable(history) else no_clusters(),
        scores={name: values for name, values in scores.items() if not np.isnan(values).all()},
        recorded_scores={
            name: values for name, values in past.items() if not np.isnan(values).all()
        },
        model_features={
            name: [column.get(model, _unknown(column)) for model in history.models]
            for name, column in folder.model_features().items()
        },
        dataset_features={
            name: [column.get(each, _unknown(column)) for each in history.datasets]
            for name, column in features.items()
        },
        target_features={
            name: column.get(dataset, _unknown(column)) for name, column in features.items()
        },
    )
    return RecommendResult(
        evidence, recommend(evidence, config.recommend_options), dataset, modality
    )


def _modality(config: RecommendConfig, records: Sequence[Record]) -> str:
    """The one that was named, or the only one that is recorded; plain tables have none."""
    modalities = sorted({record.modality for record in records if record.is_complete})
    if not config.modality and len(modalities) > 1:
        raise ConfigError(
            f"modality: the history has {', '.join(modalities)}: name one with --modality"
        )
    return config.modality or (modalities[0] if modalities else "")


def _scores_on(
    cells: Mapping[tuple[str, str], float], models: Sequence[str], dataset: str
) -> FloatArray:
    return np.array([cells.get((model, dataset), np.nan) for model in models])


def _unknown(column: Mapping[str, float | str]) -> float | str:
    """What an unknown feature is, in a column of its kind."""
    return "" if any(isinstance(value, str) for value in column.values()) else np.nan


def _clusterable(matrix: PerformanceMatrix) -> bool:
    return int((~np.isnan(matrix.mean_score)).sum()) >= 2
