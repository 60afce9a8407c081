"""A dataset, a zoo and its history -> all that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.clusters.clustering import Clustering, cluster_by_id, cluster_models
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.ground_truth import GroundTruth, ground_truth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.recommend.cold_start import (
    ColdStartEstimate,
    add_to_clusters,
    prior_evidence,
)
from mlflow_recall.errors import ConfigError, ZooError
from mlflow_recall.workflows.new_models import estimate_new_models
from mlflow_recall.workflows.services import Services, match_names


@dataclass(frozen=True, eq=False)
class SelectionContext:
    """All that is known about the target before anything is computed on it."""

    dataset: Dataset
    #: members that can be trained, by name
    members: Mapping[str, Member]
    comparable: ComparableRecords
    #: (m, d) history of the eligible members, NaN rows for those without
    matrix: PerformanceMatrix
    clustering: Clustering
    #: members without a history, by whom they are like
    cold_start: Sequence[ColdStartEstimate] = ()
    #: what brute force reached on the target, where somebody has done it; nothing else reads it
    ground_truth: GroundTruth | None = None

    @property
    def evidence(self) -> Evidence:
        """What ranks the members before anybody has looked at the target."""
        members = [self.members[model] for model in self.matrix.models]
        return prior_evidence(self.matrix, self.clustering, members, self.cold_start)


def load_context(config: RecallConfig, services: Services) -> SelectionContext:
    """Read everything, compute nothing, write nothing: what is wrong shows here.

    Raises:
        RecallError: the dataset, the zoo or the history cannot serve.
    """
    dataset = services.prepare(config.dataset)
    everyone = services.registry.members(services.reporter.info)
    recorded = services.history.records(config.metric)
    records = select_comparable(
        recorded,
        dataset.modality,
        members=everyone,
        target=dataset.digest,
    )
    for note in records.notes:
        services.reporter.info(f"note: {note}")
    eligible = [m for m in everyone if m.modality == dataset.modality and m.is_available]
    absent = [m for m in everyone if m.modality == dataset.modality and not m.is_available]
    if absent:
        services.reporter.info(_without_weights(absent))
    if not eligible:
        raise ZooError(
            f"registry: expected models of modality {dataset.modality}, got none: register some "
            "with `mlflow-recall register -P zoo=FILE`"
        )
    eligible, refused = config.constraints.partition(match_names(eligible, config.models))
    if not eligible:
        raise ConfigError(
            f"constraints: expected at least one model that fulfils them, got none of "
            f"{len(refused)}: {next(iter(refused))}: {next(iter(refused.values()))}"
        )
    for name, why in refused.items():
        services.reporter.info(f"note: {name} is left out: {why}")
    matrix = PerformanceMatrix.from_records(records.records).select_models(m.name for m in eligible)
    if np.isnan(matrix.mean_score).all():
        raise ConfigError(
            f"history: expected benchmark runs of {eligible[0].name} or another of the "
            f"{len(eligible)} eligible models, got none: run `mlflow-recall benchmark` first"
        )
    clustering = _clustering(matrix, eligible, config.metric, services)
    new = estimate_new_models(matrix, clustering, eligible, config.metric)
    for each in new:
        services.reporter.info(
            f"note: {each.model} has no history yet: taken to be like {each.nearest_model}, by "
            f"{each.basis}"
        )
    return SelectionContext(
        dataset,
        {m.name: m for m in eligible},
        records,
        matrix,
        add_to_clusters(clustering, new),
        new,
        ground_truth(recorded, dataset.digest, everyone),
    )


def _without_weights(absent: Sequence[Member]) -> str:
    names = ", ".join(member.name for member in absent)
    remedies = {member.tags[tags.REBUILD] for member in absent if tags.REBUILD in member.tags}
    some = f"; made again by e.g. `{min(remedies)}`" if remedies else ""
    return f"note: {len(absent)} models have a history but no weights here: {names}{some}"


def _clustering(
    matrix: PerformanceMatrix, eligible: Sequence[Member], metric: str, services: Services
) -> Clustering:
    """The clusters that the registry's tags tell; anew where somebody has none."""
    tagged = {
        m.name: m.cluster
        for m in eligible
        if m.cluster
        and m.tags.get(tags.CLUSTER_METRIC) == metric
        and m.tags.get(tags.ESTIMATED) != "true"
    }
    measured = [
        name
        for name, mean in zip(matrix.models, matrix.mean_score, strict=True)
        if not np.isnan(mean)
    ]
    if all(name in tagged for name in measured):
        return cluster_by_id(matrix, tagged)
    missing = sum(name not in tagged for name in measured)
    services.reporter.info(
        f"note: {missing} of {len(measured)} models have no cluster by {metric}: clustered anew "
        "for this recall; `mlflow-recall cluster` keeps it"
    )
    return cluster_models(matrix, prefix=eligible[0].modality)
