"""Dataset + history -> a ranking of the zoo, and the K models to train."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun
from mlflow_recall.config import RecallConfig
from mlflow_recall.core.clustering import Clustering, cluster, regroup
from mlflow_recall.core.history import Usable, usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Evidence, Gaps, Ranking, gaps_to_best, recommender
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.core.scores import SCORES
from mlflow_recall.errors import RecallError, SettingError, ZooError
from mlflow_recall.ports import Probe, ProbeTask
from mlflow_recall.workflows.bench import Bench, chosen
from mlflow_recall.workflows.benchmark import recipe_of

_DEFAULT_K = 5
#: proxies that differ by less say nothing
_DEGENERATE = 1e-6


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


@dataclass(frozen=True, eq=False)
class Recalled:
    """A ranking with what it is made of."""

    prospect: Prospect
    ranking: Ranking
    gaps: Gaps
    #: the models to train, best first
    chosen: tuple[str, ...]
    #: name of the score, empty where none was usable
    score: str
    #: representative -> its score
    proxies: Mapping[str, float]
    #: score or model -> why it was left out
    left_out: Mapping[str, str]
    recommender: str
    seconds: float
    #: forward passes, in epochs of training on the target
    epochs: float
    notes: Sequence[str] = field(default_factory=tuple)


def survey(config: RecallConfig, bench: Bench) -> Prospect:
    """Read everything, compute nothing, write nothing: what is wrong shows here.

    Raises:
        RecallError: the dataset, the zoo or the history cannot serve.
    """
    dataset = bench.prepare(config.dataset)
    everyone = bench.registry.members(bench.voice.say)
    records = usable(
        bench.history.records(config.metric),
        dataset.modality,
        members=everyone,
        target=dataset.digest,
    )
    for note in records.notes:
        bench.voice.say(f"note: {note}")
    eligible = [m for m in everyone if m.modality == dataset.modality and m.available]
    absent = [m.name for m in everyone if m.modality == dataset.modality and not m.available]
    if absent:
        bench.voice.say(f"note: {len(absent)} models have a history but no weights here")
    if not eligible:
        raise ZooError(
            f"registry: expected models of modality {dataset.modality}, got none: register some "
            "with `mlflow-recall register -P zoo=FILE`"
        )
    eligible = chosen(eligible, config.models)
    matrix = PerformanceMatrix.of(records.records).take(m.name for m in eligible)
    if np.isnan(matrix.mean).all():
        raise SettingError(
            f"history: expected benchmark runs of {eligible[0].name} or another of the "
            f"{len(eligible)} eligible models, got none: run `mlflow-recall benchmark` first"
        )
    return Prospect(
        dataset,
        {m.name: m for m in eligible},
        records,
        matrix,
        _clustering(matrix, eligible, config.metric, bench),
    )


def recall(config: RecallConfig, prospect: Prospect, bench: Bench) -> Recalled:
    """Probe the representatives, rank everyone, keep the best K."""
    started = time.perf_counter()
    left_out: dict[str, str] = {}
    notes: list[str] = []
    probes = _probe(config, prospect, bench, left_out) if config.recommender != "prior" else {}
    score, proxies = _scores(config, probes, left_out)
    name = config.recommender
    if name != "prior" and len(proxies) < 2:
        notes.append(
            f"{len(proxies)} usable cluster scores: ranked by the history alone"
            + "".join(f"; {what}: {why}" for what, why in left_out.items())
        )
        name = "prior"
    ranking = recommender(name)(Evidence(prospect.matrix, prospect.clustering, proxies))
    gaps = gaps_to_best(prospect.matrix, config.allowed_gap)
    k = config.top_k or _DEFAULT_K
    if config.top_k > len(ranking.models):
        notes.append(f"top_k: {config.top_k} wished, {len(ranking.models)} models are eligible")
    for note in notes:
        bench.voice.say(f"note: {note}")
    return Recalled(
        prospect=prospect,
        ranking=ranking,
        gaps=gaps,
        chosen=ranking.models[:k],
        score=score if name != "prior" else "",
        proxies=proxies if name != "prior" else {},
        left_out=left_out,
        recommender=name,
        seconds=time.perf_counter() - started,
        epochs=_epochs(prospect, probes),
        notes=tuple(notes),
    )


def recall_run(config: RecallConfig, bench: Bench) -> tuple[Recalled, OpenRun]:
    """A recall of its own, as one MLflow run."""
    prospect = survey(config, bench)
    ledger = Ledger(bench.client, f"{bench.namespace}/recall")
    title = f"recall for {prospect.dataset.name}"
    try:
        with ledger.running(title, "recall", bench.run_id) as run:
            run.reads(prospect.dataset, "target")
            recalled = recall(config, prospect, bench)
            log_recall(recalled, run)
            run.describe(
                f"**{recalled.ranking.models[0]}** is recommended first for "
                f"{prospect.dataset.name}.\n\n{figures.markdown_table(ranking_rows(recalled))}"
            )
    finally:
        ledger.close()
    return recalled, run


def log_recall(recalled: Recalled, run: OpenRun) -> None:
    """Ranking, parts and cost of a recall into a run."""
    rows = ranking_rows(recalled)
    run.table(rows, "recall/ranking.json")
    chart = figures.ranking(
        recalled.ranking.models,
        {name: values.tolist() for name, values in recalled.ranking.parts.items()},
        len(recalled.chosen),
    )
    run.picture(chart, "recall/ranking.png")
    run.tag(
        {
            tags.MODALITY: recalled.prospect.dataset.modality,
            tags.DATASET: recalled.prospect.dataset.name,
            tags.DIGEST: recalled.prospect.dataset.digest,
            "recall.recommender": recalled.recommender,
            "recall.score": recalled.score or "none",
            "recall.recalled": ", ".join(recalled.chosen),
            **{f"recall.left_out.{what}": why for what, why in recalled.left_out.items()},
        }
    )
    run.log(
        {
            "recall/probes": len(recalled.proxies),
            "recall/seconds": recalled.seconds,
            "recall/epochs": recalled.epochs,
            "recall/models": len(recalled.ranking.models),
        }
    )


def ranking_rows(recalled: Recalled) -> list[dict[str, object]]:
    """One row a model, best first, for tables."""
    return [
        {
            "model": row["model"],
            "recalled": "yes" if row["model"] in recalled.chosen else "",
            **row["parts"],
            "mean gap to best": row["gap"],
            "P(within tolerance)": row["p_within_tolerance"],
            "mean score": row["predicted"],
        }
        for row in ranking_data(recalled)
    ]


def ranking_data(recalled: Recalled) -> list[dict[str, Any]]:
    """One mapping a model, best first, with the keys that machines rely on; None is unknown."""
    gaps, ranking = recalled.gaps, recalled.ranking
    place = {model: i for i, model in enumerate(gaps.models)}
    return [
        {
            "model": model,
            "score": _known(ranking.scores[i]),
            "gap": _known(gaps.mean[place[model]]),
            "low": _known(gaps.low[place[model]]),
            "high": _known(gaps.high[place[model]]),
            "predicted": _known(gaps.predicted[place[model]]),
            "p_within_tolerance": _known(gaps.within[place[model]]),
            "parts": {name: _known(values[i]) for name, values in ranking.parts.items()},
        }
        for i, model in enumerate(ranking.models)
    ]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _clustering(
    matrix: PerformanceMatrix, eligible: Sequence[Member], metric: str, bench: Bench
) -> Clustering:
    """The clusters that the registry's tags tell; anew where somebody has none."""
    tagged = {
        m.name: m.cluster
        for m in eligible
        if m.cluster and m.tags.get(tags.CLUSTER_METRIC) == metric
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


def _probe(
    config: RecallConfig, prospect: Prospect, bench: Bench, left_out: dict[str, str]
) -> dict[str, Probe]:
    """One forward pass of every representative over a sample of the target."""
    tasks = []
    for name in prospect.clustering.probes:
        member = prospect.members[name]
        recipe = prospect.usable.recipes.get(name) or recipe_of(member, {})
        try:
            weights = bench.registry.weights(member)
        except ZooError as error:
            left_out[name] = str(error)
            continue
        tasks.append(
            ProbeTask(
                member, weights, prospect.dataset, replace(recipe, seed=0), config.probe_samples
            )
        )
    probes: dict[str, Probe] = {}
    with bench.voice.progress(f"probe {len(tasks)} representatives", len(tasks)) as bar:
        for progress in bench.engine.stream(bench.probe, tasks):
            name = tasks[progress.index].member.name
            if isinstance(progress.event, Probe):
                probes[name] = progress.event
                bar.advance(now=name)
            elif progress.error is not None:
                left_out[name] = str(progress.error)
                bar.advance(now=name)
    return probes


def _scores(
    config: RecallConfig,
    probes: Mapping[str, Probe],
    left_out: dict[str, str],
) -> tuple[str, dict[str, float]]:
    """One score for all: two scales are never mixed."""
    real_heads = bool(probes) and all(p.probabilities is not None for p in probes.values())
    name = config.score if config.score != "auto" else ("leep" if real_heads else "logme")
    if not probes:
        return name, {}
    if SCORES[name].needs == "probabilities" and not real_heads:
        left_out[name] = "not every representative has a real source head"
        return name, {}
    values: dict[str, float] = {}
    for model, probe in probes.items():
        rows = probe.embeddings
        if SCORES[name].needs == "probabilities" and probe.probabilities is not None:
            rows = probe.probabilities
        try:
            values[model] = SCORES[name].compute(rows, probe.labels)
        except RecallError as error:
            left_out[model] = f"{name}: {error}"
    if len(values) > 1 and max(values.values()) - min(values.values()) < _DEGENERATE:
        left_out[name] = "it is the same for every representative"
        return name, {}
    return name, values


def _epochs(prospect: Prospect, probes: Mapping[str, Probe]) -> float:
    """Seconds of the probes over the seconds of an epoch of the same models, as recorded."""
    recorded: dict[str, list[float]] = {}
    for record in prospect.usable.records:
        recorded.setdefault(record.model, []).extend(record.seconds)
    return float(
        sum(
            probe.seconds / np.mean(recorded[name])
            for name, probe in probes.items()
            if recorded.get(name)
        )
    )
