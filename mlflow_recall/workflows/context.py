"""A zoo, its history and perhaps a dataset -> all that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.stored_defaults import read_defaults
from mlflow_recall.adapters.zoo import why_not_loadable
from mlflow_recall.config import RecommendConfig
from mlflow_recall.core.clusters.clustering import (
    Clustering,
    cluster_by_id,
    cluster_models,
    cluster_prefix,
    no_clusters,
)
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.ground_truth import GroundTruth, ground_truth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.metrics import MetricChoice, choose_metric
from mlflow_recall.core.history.records import Dataset, Member, Record
from mlflow_recall.core.history.score_units import RegretUnit, regret_unit
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.cold_start import (
    ColdStartEstimate,
    add_to_clusters,
    prior_evidence,
)
from mlflow_recall.errors import ConfigError, HistoryError, ZooError
from mlflow_recall.workflows.new_models import estimate_new_models
from mlflow_recall.workflows.services import Services, match_names


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionContext:
    """What a zoo and its history tell before any model looks at the target."""

    modality: str
    metric: MetricChoice
    #: what regret, gaps and tolerance are measured in
    unit: RegretUnit
    #: eligible models by name, in the order of the matrix
    members: Mapping[str, Member]
    comparable: ComparableRecords
    #: (m, d) history of the eligible models, in that unit; rows of NaN for those without
    matrix: PerformanceMatrix
    clustering: Clustering
    #: eligible models without a history
    cold_start: Sequence[ColdStartEstimate] = ()
    #: model -> the constraint that it violates
    left_out: Mapping[str, str] = field(default_factory=dict)
    #: the target; None: any dataset of the modality
    dataset: Dataset | None = None
    #: what brute force reached on the target, where it is recorded; nothing but the final
    #: comparison reads it
    ground_truth: GroundTruth | None = None

    @property
    def evidence(self) -> Evidence:
        """What ranks the models before any of them has looked at the target."""
        members = [self.members[model] for model in self.matrix.models]
        return prior_evidence(self.matrix, self.clustering, members, self.cold_start)


def load_context(
    config: RecommendConfig,
    services: Services,
    dataset: Dataset | None = None,
    *,
    trainable_only: bool = True,
) -> SelectionContext:
    """Read everything, compute nothing, write nothing: whatever is wrong shows here.

    Args:
        config: Metric, and which models may be considered.
        services: Store and registry.
        dataset: The target; None: any dataset of the modality.
        trainable_only: Whether models that cannot be trained on this machine are left out: those
            without weights, and those whose library or architecture is missing.

    Raises:
        RecallError: The zoo or the history cannot serve, or the target lacks the metric.
    """
    reporter = services.reporter
    metric = choose_metric(config.metric, dataset)
    members = services.registry.members(reporter.warning)
    records = services.history.records(metric.history)
    for line in services.history.left_out(metric.history):
        reporter.warning(line)
    modality = dataset.modality if dataset else find_modality(config, records)
    comparable = select_comparable(
        records,
        modality,
        members=members,
        target=dataset.digest if dataset else None,
        mode=config.mode,
    )
    for note in comparable.notes:
        reporter.warning(note)
    eligible = _eligible(members, modality, services, trainable_only=trainable_only)
    eligible, left_out = config.constraints.partition(match_names(eligible, config.models))
    if not eligible:
        raise ConfigError(
            f"constraints: expected at least one model that satisfies them, got none of "
            f"{len(left_out)}: {next(iter(left_out))}: {next(iter(left_out.values()))}"
        )
    for name, reason in left_out.items():
        reporter.warning(f"{name} is left out: {reason}")
    unit = regret_unit(comparable.records, *([metric.target] if dataset else []))
    matrix = unit.matrix(comparable.records).select_models(member.name for member in eligible)
    if np.isnan(matrix.mean_score).all():
        raise ConfigError(
            f"history: expected benchmark runs of {eligible[0].name} or another of "
            f"{count_of(len(eligible), 'eligible model')}, got none: run `mlflow-recall benchmark` "
            "first"
        )
    tagged = _tagged_clusters(eligible, metric.history) if comparable.is_usual_mode else {}
    clustering = _clustering(matrix, eligible, tagged, metric.history, services)
    cold_start = estimate_new_models(matrix, clustering, eligible, metric.history)
    for estimate in cold_start:
        reporter.warning(
            f"{estimate.model} has no history: assumed to be like {estimate.nearest_model}, by "
            f"{estimate.basis}"
        )
    context = SelectionContext(
        modality=modality,
        metric=metric,
        unit=unit,
        members={member.name: member for member in eligible},
        comparable=comparable,
        matrix=matrix,
        clustering=add_to_clusters(clustering, cold_start),
        cold_start=cold_start,
        left_out=left_out,
        dataset=dataset,
    )
    if dataset is None:
        return context
    truth = _ground_truth(context, dataset.digest, records, members, services)
    return replace(context, ground_truth=truth)


def preferred_defaults(context: SelectionContext, services: Services) -> Defaults:
    """Return what a back-test preferred, or the built-in defaults.

    It was measured on the mode of most records, so it says nothing of another one.
    """
    if not context.comparable.is_usual_mode:
        return Defaults()
    metric = context.metric.history
    return read_defaults(services.client, services.namespace, context.modality, metric)


def _ground_truth(
    context: SelectionContext,
    digest: str,
    records: Sequence[Record],
    members: Sequence[Member],
    services: Services,
) -> GroundTruth | None:
    """Return what brute force reached on the target by its metric, where it is recorded.

    The target may have got another primary metric than it had when its runs were recorded.
    """
    metric = context.metric.target
    if any(r.dataset_digest == digest and r.metric != metric for r in records):
        try:
            records = services.history.records(metric)
        except HistoryError:  # no run has that metric
            return None
    mode = context.comparable.mode
    return ground_truth(records, digest, members, unit=context.unit, mode=mode)


def find_modality(config: RecommendConfig, records: Sequence[Record]) -> str:
    """Return the modality that was named, or the only one that is recorded; plain tables have none.

    Raises:
        ConfigError: Several are recorded, and none was named.
    """
    modalities = sorted({record.modality for record in records if record.is_complete})
    if config.modality is None and len(modalities) > 1:
        raise ConfigError(
            f"modality: expected one of {', '.join(modalities)}, got none: name it with --modality"
        )
    return config.modality or (modalities[0] if modalities else "")


def _eligible(
    members: Sequence[Member], modality: str, services: Services, *, trainable_only: bool
) -> list[Member]:
    """Return the members of a modality; those that cannot be trained here are named if left out."""
    eligible = [member for member in members if member.modality == modality]
    if trainable_only:
        absent = [member for member in eligible if not member.is_available]
        if absent:
            services.reporter.warning(_describe_absent(absent))
        reasons = {m.name: why_not_loadable(m) for m in eligible if m.is_available}
        if any(reasons.values()):
            services.reporter.warning(_describe_unloadable(reasons))
        eligible = [member for member in eligible if reasons.get(member.name) == ""]
    if not eligible:
        raise ZooError(
            f"registry: expected models of modality {modality or 'any'}"
            f"{' with weights' if trainable_only else ''}, got none: register some with "
            "`mlflow-recall register --zoo FILE`; `cluster` and `backtest` need none"
        )
    return eligible


def _describe_absent(absent: Sequence[Member]) -> str:
    names = ", ".join(member.name for member in absent)
    commands = {member.tags[tags.REBUILD] for member in absent if tags.REBUILD in member.tags}
    remedy = f"; made again by e.g. `{min(commands)}`" if commands else ""
    return (
        f"{count_of(len(absent), 'model')} with a history, but without weights on this machine: "
        f"{names}{remedy}"
    )


def _describe_unloadable(reasons: Mapping[str, str]) -> str:
    unloadable = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
    return (
        f"{count_of(len(unloadable), 'model')} that cannot be loaded on this machine: "
        f"{', '.join(unloadable)}"
    )


def _tagged_clusters(eligible: Sequence[Member], metric: str) -> dict[str, str]:
    """Return model -> the cluster that a clustering by this metric has tagged it with."""
    return {
        member.name: member.cluster
        for member in eligible
        if member.cluster
        and member.tags.get(tags.CLUSTER_METRIC) == metric
        and member.tags.get(tags.ESTIMATED) != "true"
    }


def _clustering(
    matrix: PerformanceMatrix,
    eligible: Sequence[Member],
    tagged: Mapping[str, str],
    metric: str,
    services: Services,
) -> Clustering:
    """Return the clusters that the registry's tags tell; new ones where a model has no tag."""
    measured = [
        name
        for name, mean in zip(matrix.models, matrix.mean_score, strict=True)
        if not np.isnan(mean)
    ]
    if all(name in tagged for name in measured):
        return cluster_by_id(matrix, tagged)
    if len(measured) < 2:
        return no_clusters()
    missing = sum(name not in tagged for name in measured)
    services.reporter.warning(
        f"{missing} of {count_of(len(measured), 'model')} without a cluster by --metric {metric}: "
        "clustered anew for this command; `mlflow-recall cluster` keeps the clusters"
    )
    return cluster_models(matrix, prefix=cluster_prefix(eligible[0].modality, metric))
