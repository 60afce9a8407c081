"""Which models would you try? From the history alone, or from plain tables; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import RunWriter
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.config import RecommendConfig
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import cluster_models, cluster_prefix, no_clusters
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.score_units import regret_unit
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.evidence import feature_columns
from mlflow_recall.core.recommend.recommendation import (
    Recommendation,
    RecommendOptions,
    recommend,
)
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Tables
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.context import find_modality, load_context
from mlflow_recall.workflows.recommendation_tables import log_recommendation, recommendation_rows
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False, kw_only=True)
class RecommendResult:
    """A recommendation, and the evidence that it is based on."""

    evidence: Evidence
    recommendation: Recommendation
    modality: str
    comparable: ComparableRecords
    #: how the recommendation was made
    options: RecommendOptions
    #: None: for any dataset
    dataset: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: None where no server keeps it
    run_id: str | None = None


def recommend_zoo(config: RecommendConfig, services: Services) -> RecommendResult:
    """Recommend from the history of a zoo, for a dataset that no model has looked at yet.

    Raises:
        RecallError: No model or no history is left.
    """
    context = load_context(config, services, trainable_only=False)
    modality = context.modality
    metric = context.metric.history
    defaults = read_defaults(services.client, services.namespace, modality, metric)
    options = config.recommend_options(context.unit, defaults)
    recommendation = recommend(context.evidence, options)
    writer = RunWriter(services.client, f"{services.namespace}/recommend")
    try:
        with writer.managed_run(f"recommend {modality}", "recommend", services.run_id) as run:
            log_recommendation(recommendation, run, "recommend")
            run.set_tags({tags.MODALITY: modality})
            run.set_description(
                f"**{escape_markdown(recommendation.ranking.models[0])}** is recommended first "
                f"for an unknown {modality} dataset.\n\n"
                f"{figures.markdown_table(recommendation_rows(recommendation))}"
            )
    finally:
        writer.close()
    return RecommendResult(
        evidence=context.evidence,
        recommendation=recommendation,
        modality=modality,
        comparable=context.comparable,
        options=options,
        left_out=context.left_out,
        run_id=run.run_id,
    )


def recommend_from_tables(
    config: RecommendConfig, folder: Tables, dataset: str | None = None
) -> RecommendResult:
    """Recommend from plain tables, for one of their datasets as if it were new, or for any.

    Scores of ``proxy.csv`` on that dataset describe it; those on the others tell how far scores can
    be trusted.

    Raises:
        HistoryError: The dataset has neither records nor scores.
    """
    records = folder.records(config.metric)
    modality = find_modality(config, records)
    comparable = select_comparable(records, modality)
    unit = regret_unit(comparable.records)
    matrix = unit.matrix(comparable.records).without_datasets(config.drop_datasets)
    table = folder.scores()
    known = {*matrix.datasets, *(name for cells in table.values() for _, name in cells)}
    if dataset is not None and dataset not in known:
        raise HistoryError(f"dataset: expected one of {', '.join(sorted(known))}, got {dataset!r}")
    history = matrix if dataset is None else matrix.without_dataset(dataset)
    models, features = history.models, folder.dataset_features()
    scores = {name: _scores_on(cells, models, dataset or "") for name, cells in table.items()}
    recorded = {
        name: np.column_stack([_scores_on(cells, models, each) for each in history.datasets])
        for name, cells in table.items()
        if history.datasets
    }
    prefix = cluster_prefix(modality, config.metric)
    can_cluster = int((~np.isnan(history.mean_score)).sum()) >= 2
    evidence = Evidence(
        matrix=history,
        clustering=cluster_models(history, prefix=prefix) if can_cluster else no_clusters(),
        scores=_drop_unknown(scores),
        recorded_scores=_drop_unknown(recorded),
        model_features=feature_columns(folder.model_features(), models),
        dataset_features=feature_columns(features, history.datasets),
        target_features={n: c[0] for n, c in feature_columns(features, [dataset or ""]).items()},
    )
    options = config.recommend_options(unit)
    return RecommendResult(
        evidence=evidence,
        recommendation=recommend(evidence, options),
        modality=modality,
        comparable=comparable,
        options=options,
        dataset=dataset,
    )


def _scores_on(
    cells: Mapping[tuple[str, str], float], models: Sequence[str], dataset: str
) -> FloatArray:
    return np.array([cells.get((model, dataset), np.nan) for model in models])


def _drop_unknown(arrays: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name: values for name, values in arrays.items() if not np.isnan(values).all()}
