"""A dataset, a zoo and its history -> all that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.adapters import tags
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.clustering import Clustering, cluster, regroup
from mlflow_recall.core.cold_start import Newcomer, evidence_of, joined
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.core.truth import Truth, truth
from mlflow_recall.errors import SettingError, ZooError
from mlflow_recall.workflows.bench import Bench, chosen
from mlflow_recall.workflows.newcomers import expected


@dataclass(frozen=True, eq=False)
class Prospect:
    """All that is known about the target before anything is computed on it."""

    dataset: Dataset
    #: members that can be trained, by name
    members: Mapping[str, Member]
    usable: Usable
    #: (m, d) history of the eligible members, NaN rows for those without
    matrix: PerformanceMatrix
    clustering: Clustering
    #: members without a history, by whom they are like
    newcomers: Sequence[Newcomer] = ()
    #: what brute force reached on the target, where somebody has done it; nothing else reads it
    truth: Truth | None = None

    @property
    def evidence(self) -> Evidence:
        """What ranks the members before anybody has looked at the target."""
        members = [self.members[model] for model in self.matrix.models]
        return evidence_of(self.matrix, self.clustering, members, self.newcomers)


def survey(config: RecallConfig, bench: Bench) -> Prospect:
    """Read everything, compute nothing, write nothing: what is wrong shows here.

    Raises:
        RecallError: the dataset, the zoo or the history cannot serve.
    """
    dataset = bench.prepare(config.dataset)
    everyone = bench.registry.members(bench.voice.say)
    recorded = bench.history.records(config.metric)
    records = usable(
        recorded,
        dataset.modality,
        members=everyone,
        target=dataset.digest,
    )
    for note in records.notes:
        bench.voice.say(f"note: {note}")
    eligible = [m for m in everyone if m.modality == dataset.modality and m.available]
    absent = [m for m in everyone if m.modality == dataset.modality and not m.available]
    if absent:
        bench.voice.say(_without_weights(absent))
    if not eligible:
        raise ZooError(
            f"registry: expected models of modality {dataset.modality}, got none: register some "
            "with `mlflow-recall register -P zoo=FILE`"
        )
    eligible, refused = config.constraints.split(chosen(eligible, config.models))
    if not eligible:
        raise SettingError(
            f"constraints: expected at least one model that fulfils them, got none of "
            f"{len(refused)}: {next(iter(refused))}: {next(iter(refused.values()))}"
        )
    for name, why in refused.items():
        bench.voice.say(f"note: {name} is left out: {why}")
    matrix = PerformanceMatrix.of(records.records).take(m.name for m in eligible)
    if np.isnan(matrix.mean).all():
        raise SettingError(
            f"history: expected benchmark runs of {eligible[0].name} or another of the "
            f"{len(eligible)} eligible models, got none: run `mlflow-recall benchmark` first"
        )
    clustering = _clustering(matrix, eligible, config.metric, bench)
    new = expected(matrix, clustering, eligible, config.metric)
    for each in new:
        bench.voice.say(
            f"note: {each.model} has no history yet: taken to be like {each.like}, by "
            f"{each.known_by}"
        )
    return Prospect(
        dataset,
        {m.name: m for m in eligible},
        records,
        matrix,
        joined(clustering, new),
        new,
        truth(recorded, dataset.digest, everyone),
    )


def _without_weights(absent: Sequence[Member]) -> str:
    names = ", ".join(member.name for member in absent)
    remedies = {member.tags[tags.REBUILD] for member in absent if tags.REBUILD in member.tags}
    some = f"; made again by e.g. `{min(remedies)}`" if remedies else ""
    return f"note: {len(absent)} models have a history but no weights here: {names}{some}"


def _clustering(
    matrix: PerformanceMatrix, eligible: Sequence[Member], metric: str, bench: Bench
) -> Clustering:
    """The clusters that the registry's tags tell; anew where somebody has none."""
    tagged = {
        m.name: m.cluster
        for m in eligible
        if m.cluster
        and m.tags.get(tags.CLUSTER_METRIC) == metric
        and m.tags.get(tags.PROVISIONAL) != "true"
    }
    measured = [
        name for name, mean in zip(matrix.models, matrix.mean, strict=True) if not np.isnan(mean)
    ]
    if all(name in tagged for name in measured):
        return regroup(matrix, tagged)
    missing = sum(name not in tagged for name in measured)
    bench.voice.say(
        f"note: {missing} of {len(measured)} models have no cluster by {metric}: clustered anew "
        "for this recall; `mlflow-recall cluster` keeps it"
    )
    return cluster(matrix, prefix=eligible[0].modality)
