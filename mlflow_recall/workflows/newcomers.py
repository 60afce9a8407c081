"""Models that were registered after the benchmark: whom they are like, and how strong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.recorded import again
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clustering import Clustering
from mlflow_recall.core.cold_scores import references, widest, with_scores
from mlflow_recall.core.cold_start import FEATURES, Newcomer, described, newcomers
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.errors import DatasetError
from mlflow_recall.ports import Probe
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.probing import LEAST, SCORES, probe, scores_of, task_of


def expected(
    matrix: PerformanceMatrix, clustering: Clustering, members: Sequence[Member], metric: str
) -> list[Newcomer]:
    """What is expected of members without a history.

    What scores have said of them when they were clustered, as their tags tell; else their features.

    Args:
        matrix: the rows are those of ``members``.
        clustering: of the measured ones.
        members: everyone, in the order of the matrix.
        metric: that strength is in.
    """
    found = {each.model: each for each in newcomers(matrix, clustering, described(members))}
    strength = dict(zip(matrix.models, matrix.strength.tolist(), strict=True))
    for member in members:
        like = member.tags.get(tags.LIKE, "")
        known_by = member.tags.get(tags.PROVISIONAL_FROM, FEATURES)
        if (
            not math.isnan(strength[member.name])
            or math.isnan(strength.get(like, math.nan))
            or member.tags.get(tags.CLUSTER_METRIC) != metric
            or known_by == FEATURES
        ):
            continue
        with suppress(KeyError, ValueError):  # tags are anybody's to write
            told, group = float(member.tags[tags.EXPECTED]), clustering.of(like)
            if math.isfinite(told):
                found[member.name] = Newcomer(
                    *(member.name, like, math.nan, group.id if group else "", told),
                    known_by=known_by,
                )
    return [found[name] for name in matrix.models if name in found]


def meet(
    matrix: PerformanceMatrix,
    clustering: Clustering,
    members: Sequence[Member],
    metric: str,
    most: int,
    bench: Bench,
) -> list[Newcomer]:
    """As ``expected``, after a look of the newcomers at datasets of the history.

    They, and a few measured models to compare them with, are probed and scored on at most so many
    recorded datasets that can be had again. Where there are none, features alone speak, and the
    voice says so.
    """
    features = described(members)
    alone = newcomers(matrix, clustering, features)
    modality = members[0].modality
    recorded = usable(bench.history.records(metric), modality, members=members)
    datasets = _datasets(matrix, recorded, most, bench)
    can = {member.name: member for member in members if member.available}
    beside = references(matrix, features, can)
    looking = [can[name] for name in (*(e.model for e in alone if e.model in can), *beside)]
    past = _scores(matrix, looking, datasets, recorded, bench) if datasets else {}
    found = with_scores(alone, matrix, clustering, features, past)
    if datasets and not any(each.scored for each in found):
        bench.voice.say(f"note: scores of {len(looking)} models say nothing: features alone speak")
    return found


def _datasets(
    matrix: PerformanceMatrix, recorded: Usable, most: int, bench: Bench
) -> dict[str, Dataset]:
    """The recorded datasets to score on, by name."""
    records = {r.dataset: r for r in recorded.records if r.dataset in matrix.datasets}
    found: dict[str, Dataset] = {}
    lost: list[str] = []
    for name in widest(matrix, records, len(records)):
        if len(found) == most:
            break
        try:
            found[name] = again(records[name], bench.prepare)
        except DatasetError as error:
            lost.append(str(error))
    if len(found) < most and lost:
        bench.voice.say(
            f"note: {len(found)} of {len(records)} recorded datasets can be had again to score new "
            f"models on{'' if found else ', features alone speak'}: {lost[0]}"
        )
    return found


def _scores(
    matrix: PerformanceMatrix,
    looking: Sequence[Member],
    datasets: Mapping[str, Dataset],
    recorded: Usable,
    bench: Bench,
) -> dict[str, FloatArray]:
    """Score -> (m, d) values, NaN where nobody looked or the score says nothing."""
    tasks = [task_of(m, dataset, recorded) for dataset in datasets.values() for m in looking]
    seen = iter(probe(tasks, bench, "pairs of model and dataset"))
    past = {name: np.full(matrix.values.shape, np.nan) for name in SCORES}
    for name in datasets:
        left_out: dict[str, str] = {}
        probes = dict(_seen(looking, seen, left_out))
        scores = scores_of(probes, SCORES, left_out) if len(probes) >= LEAST else {}
        column = matrix.datasets.index(name)
        for score, values in scores.items():
            for model, value in values.items():
                past[score][matrix.models.index(model), column] = value
        for what, why in left_out.items():
            bench.voice.say(f"note: {what} on {name} is left out: {why}")
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
