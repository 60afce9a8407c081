"""Models that were registered after the benchmark: whom they are like, and how strong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from mlflow_recall.adapters.data.restore import restore_dataset
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.clustering import Clustering
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
    probe_task,
    run_probes,
    score_probes,
)
from mlflow_recall.workflows.services import Services


def estimate_new_models(
    matrix: PerformanceMatrix, clustering: Clustering, members: Sequence[Member], metric: str
) -> list[ColdStartEstimate]:
    """What is expected of members without a history.

    What scores have said of them when they were clustered, as their tags tell; else their features.

    Args:
        matrix: the rows are those of ``members``.
        clustering: of the measured ones.
        members: everyone, in the order of the matrix.
        metric: that strength is in.
    """
    found = {
        each.model: each
        for each in estimate_from_features(matrix, clustering, model_features(members))
    }
    strength = dict(zip(matrix.models, matrix.mean_z_score.tolist(), strict=True))
    for member in members:
        like = member.tags.get(tags.NEAREST_MODEL, "")
        known_by = member.tags.get(tags.ESTIMATED_FROM, FEATURES)
        if (
            not math.isnan(strength[member.name])
            or math.isnan(strength.get(like, math.nan))
            or member.tags.get(tags.CLUSTER_METRIC) != metric
            or known_by == FEATURES
        ):
            continue
        with suppress(KeyError, ValueError):  # tags are anybody's to write
            told, group = float(member.tags[tags.ESTIMATED_Z_SCORE]), clustering.cluster_of(like)
            if math.isfinite(told):
                found[member.name] = ColdStartEstimate(
                    *(member.name, like, math.nan, group.id if group else "", told),
                    basis=known_by,
                )
    return [found[name] for name in matrix.models if name in found]


def probe_new_models(
    matrix: PerformanceMatrix,
    clustering: Clustering,
    members: Sequence[Member],
    metric: str,
    most: int,
    services: Services,
) -> list[ColdStartEstimate]:
    """As ``expected``, after a look of the newcomers at datasets of the history.

    They, and a few measured models to compare them with, are probed and scored on at most so many
    recorded datasets that can be had again. Where there are none, features alone speak, and the
    voice says so.
    """
    features = model_features(members)
    alone = estimate_from_features(matrix, clustering, features)
    modality = members[0].modality
    recorded = select_comparable(services.history.records(metric), modality, members=members)
    datasets = _datasets(matrix, recorded, most, services)
    can = {member.name: member for member in members if member.is_available}
    beside = reference_models(matrix, features, can)
    looking = [can[name] for name in (*(e.model for e in alone if e.model in can), *beside)]
    past = _scores(matrix, looking, datasets, recorded, services) if datasets else {}
    found = score_cold_start(alone, matrix, clustering, features, past)
    if datasets and not any(each.scored_datasets for each in found):
        services.reporter.warning(
            f"scores of {len(looking)} models say nothing: features alone speak"
        )
    return found


def _datasets(
    matrix: PerformanceMatrix, recorded: ComparableRecords, most: int, services: Services
) -> dict[str, Dataset]:
    """The recorded datasets to score on, by name."""
    records = {r.dataset: r for r in recorded.records if r.dataset in matrix.datasets}
    found: dict[str, Dataset] = {}
    lost: list[str] = []
    for name in most_measured(matrix, records, len(records)):
        if len(found) == most:
            break
        try:
            found[name] = restore_dataset(records[name], services.prepare)
        except DatasetError as error:
            lost.append(str(error))
    if len(found) < most and lost:
        services.reporter.warning(
            f"{len(found)} of {len(records)} recorded datasets can be had again to score new "
            f"models on{'' if found else ', features alone speak'}: {lost[0]}"
        )
    return found


def _scores(
    matrix: PerformanceMatrix,
    looking: Sequence[Member],
    datasets: Mapping[str, Dataset],
    recorded: ComparableRecords,
    services: Services,
) -> dict[str, FloatArray]:
    """Score -> (m, d) values, NaN where nobody looked or the score says nothing."""
    tasks = [probe_task(m, dataset, recorded) for dataset in datasets.values() for m in looking]
    seen = iter(run_probes(tasks, services, "pairs of model and dataset"))
    past = {name: np.full(matrix.values.shape, np.nan) for name in DEFAULT_SCORES}
    for name in datasets:
        left_out: dict[str, str] = {}
        probes = dict(_seen(looking, seen, left_out))
        scores = score_probes(probes, DEFAULT_SCORES, left_out) if len(probes) >= MIN_PROBES else {}
        column = matrix.datasets.index(name)
        for score, values in scores.items():
            for model, value in values.items():
                past[score][matrix.models.index(model), column] = value
        for what, why in left_out.items():
            services.reporter.warning(f"{what} on {name} is left out: {why}")
    return past


def _seen(
    looking: Sequence[Member], probes: Iterator[Probe | str], left_out: dict[str, str]
) -> Iterator[tuple[str, Probe]]:
    """The next probe of each model, without those that failed."""
    for member in looking:
        found = next(probes)
        if isinstance(found, Probe):
            yield member.name, found
        else:
            left_out[member.name] = found
