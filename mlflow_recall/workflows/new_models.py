"""Models without a history: what is expected of them, from their features or from probes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlflow_recall.adapters.data.restore import restore_dataset
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.comparable import ComparableRecords, select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.recommend.cold_start import (
    FEATURES,
    ColdStartEstimate,
    estimate_from_features,
    model_features,
)
from mlflow_recall.core.recommend.cold_start_scores import (
    most_measured,
    reference_models,
    score_cold_start,
)
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.probes import (
    DEFAULT_SCORES,
    MIN_PROBES,
    default_scores,
    probe_task,
    run_probes,
    score_probes,
)
from mlflow_recall.workflows.services import Services


def estimate_new_models(
    matrix: PerformanceMatrix, clustering: Clustering, members: Sequence[Member], metric: str
) -> list[ColdStartEstimate]:
    """Estimate the models without a history.

    What scores say of a model was written to its tags when it was clustered; a model without such
    tags is estimated from its features.

    Args:
        matrix: Its rows are those of ``members``.
        clustering: Clusters of the measured models.
        members: Models in the order of the matrix.
        metric: Metric of the matrix.
    """
    estimates = {
        estimate.model: estimate
        for estimate in estimate_from_features(matrix, clustering, model_features(members))
    }
    mean_z_score = dict(zip(matrix.models, matrix.mean_z_score.tolist(), strict=True))
    for member in members:
        if math.isnan(mean_z_score[member.name]):
            tagged = _tagged_estimate(member, clustering, metric)
            if tagged and not math.isnan(mean_z_score.get(tagged.nearest_model, math.nan)):
                estimates[member.name] = tagged
    return [estimates[name] for name in matrix.models if name in estimates]


def _tagged_estimate(
    member: Member, clustering: Clustering, metric: str
) -> ColdStartEstimate | None:
    """Return the estimate from scores that the tags hold; None without one for this metric."""
    basis = member.tags.get(tags.ESTIMATED_FROM, FEATURES)
    nearest = member.tags.get(tags.NEAREST_MODEL)
    if basis == FEATURES or nearest is None or member.tags.get(tags.CLUSTER_METRIC) != metric:
        return None
    try:
        z_score = float(member.tags.get(tags.ESTIMATED_Z_SCORE, ""))
    except ValueError:  # anybody can write tags
        return None
    if not math.isfinite(z_score):
        return None
    cluster = clustering.cluster_of(nearest)
    return ColdStartEstimate(
        model=member.name,
        nearest_model=nearest,
        distance=math.nan,
        cluster_id=cluster.id if cluster else "",
        z_score=z_score,
        basis=basis,
    )


def probe_new_models(
    matrix: PerformanceMatrix,
    clustering: Clustering,
    members: Sequence[Member],
    metric: str,
    max_datasets: int,
    services: Services,
    failed: dict[str, str],
) -> list[ColdStartEstimate]:
    """Estimate the models without a history from probes on recorded datasets.

    They, and a few measured models to compare them with, are probed and scored on the recorded
    datasets that can be prepared again. Where there are none, the features alone count, and a
    warning says so.

    Args:
        matrix: Its rows are those of ``members``.
        clustering: Clusters of the measured models.
        members: Models in the order of the matrix.
        metric: Metric of the matrix.
        max_datasets: Datasets to score on, at most.
        services: Engine, registry and history.
        failed: Gets what could not be probed, with the reason.
    """
    features = model_features(members)
    from_features = estimate_from_features(matrix, clustering, features)
    records = services.history.records(metric)
    comparable = select_comparable(records, members[0].modality, members=members)
    datasets = _restore_datasets(matrix, comparable, max_datasets, services, failed)
    if not datasets:
        return from_features
    available = {member.name: member for member in members if member.is_available}
    new_models = [e.model for e in from_features if e.model in available]
    to_probe = [
        available[name] for name in (*new_models, *reference_models(matrix, features, available))
    ]
    scores = _score_on(datasets, to_probe, matrix, comparable, services, failed)
    estimates = score_cold_start(from_features, matrix, clustering, features, scores)
    if not any(estimate.scored_datasets for estimate in estimates):
        services.reporter.warning(
            f"scores of {count_of(len(to_probe), 'model')} do not differ: features alone count"
        )
    return estimates


def _restore_datasets(
    matrix: PerformanceMatrix,
    comparable: ComparableRecords,
    max_datasets: int,
    services: Services,
    failed: dict[str, str],
) -> dict[str, Dataset]:
    """Prepare recorded datasets again, the most measured first.

    Datasets that cannot be had are failures if there are not enough others.
    """
    records = {r.dataset: r for r in comparable.records if r.dataset in matrix.datasets}
    datasets: dict[str, Dataset] = {}
    failures: dict[str, str] = {}
    for name in most_measured(matrix, records, len(records)):
        if len(datasets) == max_datasets:
            break
        try:
            datasets[name] = restore_dataset(records[name], services.prepare)
        except DatasetError as error:
            failures[name] = str(error)
    if len(datasets) < max_datasets and failures:
        failed |= failures
        services.reporter.warning(
            f"{len(datasets)} of {count_of(len(records), 'recorded dataset')} can be prepared again"
            f" to score new models on{'' if datasets else ', features alone count'}: "
            f"{next(iter(failures.values()))}"
        )
    return datasets


def _score_on(
    datasets: Mapping[str, Dataset],
    members: Sequence[Member],
    matrix: PerformanceMatrix,
    comparable: ComparableRecords,
    services: Services,
    failed: dict[str, str],
) -> dict[str, FloatArray]:
    """Return score -> (m, d) values; NaN where a model was not probed or a score is undefined."""
    tasks = [
        probe_task(member, dataset, comparable)
        for dataset in datasets.values()
        for member in members
    ]
    results = iter(
        run_probes(tasks, services, ("pair of model and dataset", "pairs of model and dataset"))
    )
    values = {name: np.full(matrix.values.shape, np.nan) for name in DEFAULT_SCORES}
    for name, dataset in datasets.items():
        left_out: dict[str, str] = {}
        probes = dict(_successful(members, results, left_out))
        failed |= {f"{model} on {name}": reason for model, reason in left_out.items()}
        scores = {}
        if len(probes) >= MIN_PROBES:
            scores = score_probes(probes, default_scores(dataset.task), dataset.task, left_out)
        column = matrix.datasets.index(name)
        for score, value_of in scores.items():
            for model, value in value_of.items():
                values[score][matrix.models.index(model), column] = value
        for what, reason in left_out.items():
            services.reporter.warning(f"{what} on {name} is left out: {reason}")
    return values


def _successful(
    members: Sequence[Member], results: Iterator[Probe | str], left_out: dict[str, str]
) -> Iterator[tuple[str, Probe]]:
    """Yield the next probe of each model; failures go to ``left_out``."""
    for member in members:
        result = next(results)
        if isinstance(result, Probe):
            yield member.name, result
        else:
            left_out[member.name] = result
