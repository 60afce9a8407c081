"""Models look at samples of datasets once; what was seen before is not computed again.

And what such looks have cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlflow_recall.adapters.probe_cache import ProbeCache
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.core.history.comparable import ComparableRecords
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.scores import (
    ForwardPass,
    base_of,
    compute_all,
    known_scores,
    uninformative,
    with_depth,
)
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import Probe, ProbeTask
from mlflow_recall.workflows.benchmark import resolve_recipe
from mlflow_recall.workflows.services import Services

#: scores of embeddings, where nobody asks for others
DEFAULT_SCORES = ("logme", "hscore")
#: models that must be scored, or nothing can be told apart
MIN_PROBES = 2


def probe_task(
    member: Member, dataset: Dataset, recorded: ComparableRecords, samples: int = 500
) -> ProbeTask:
    """A look at a dataset by the recipe that the member was recorded with, or would be."""
    recipe = recorded.recipes.get(member.name) or resolve_recipe(member, {})
    return ProbeTask(member, "", dataset, replace(recipe, seed=0), samples)


def run_probes(tasks: Sequence[ProbeTask], services: Services, what: str) -> list[Probe | str]:
    """Every task's probe, or why there is none.

    Args:
        tasks: without weights, which are resolved for what must be computed.
        bench: gives engine, registry and voice.
        what: is probed, for the progress bar.
    """
    cache = ProbeCache()
    found: list[Probe | str] = [cache.get(task) or "" for task in tasks]
    folders: dict[str, str] = {}
    missing: list[int] = []
    for i, task in enumerate(tasks):
        if found[i]:
            continue
        name = task.member.name
        try:
            folders[name] = folders.get(name) or services.registry.weights(task.member)
            missing.append(i)
        except ZooError as error:
            found[i] = str(error)
    work = [replace(tasks[i], weights=folders[tasks[i].member.name]) for i in missing]
    with services.reporter.progress(f"probe {len(work)} {what}", len(work)) as bar:
        for progress in services.engine.stream(services.probe, work):
            task = work[progress.index]
            if isinstance(progress.event, Probe):
                found[missing[progress.index]] = progress.event
                cache.put(task, progress.event)
            elif progress.error is not None:
                found[missing[progress.index]] = str(progress.error)
            else:
                continue
            bar.advance(now=f"{task.member.name} on {task.dataset.name}")
    return found


def score_probes(
    probes: Mapping[str, Probe], names: Sequence[str], left_out: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Score -> model -> value, of the scores that say something about these models.

    Args:
        probes: model -> what it made of the same samples.
        names: of the scores; ``parc+depth`` is one with the depth term.
        left_out: takes the others, with why.
    """
    table, wanted = known_scores(), names
    names = tuple(dict.fromkeys(base_of(name) for name in wanted))
    passes = {
        model: ForwardPass(seen.labels, seen.embeddings, seen.probabilities)
        for model, seen in probes.items()
    }
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for model, seen in passes.items():
        scored = compute_all(names, seen, table=table)
        for name, value in scored.values.items():
            scores[name][model] = value
        left_out.update({f"{name} of {model}": why for name, why in scored.left_out.items()})
    silent = uninformative(names, passes, table=table)
    left_out.update(silent)
    usable = {n: v for n, v in scores.items() if n not in silent and len(v) >= MIN_PROBES}
    found: dict[str, dict[str, float]] = {}
    for name in wanted:
        values = usable.get(base_of(name), {})
        if values and name != base_of(name):
            values = _deepened(values, probes, name, left_out)
        found |= {name: values} if values else {}
    return found


def _deepened(
    values: Mapping[str, float], probes: Mapping[str, Probe], name: str, left_out: dict[str, str]
) -> dict[str, float]:
    """A score with the depth term; none where somebody's depth is unknown."""
    unknown = [model for model in values if probes[model].layers < 1]
    if unknown:
        left_out[name] = f"the number of layers of {unknown[0]} is unknown"
        return {}
    deep = with_depth([*values.values()], [probes[model].layers for model in values])
    return dict(zip(values, deep.tolist(), strict=True))


def measured_probe_epochs(services: Services) -> float | None:
    """Epochs that a look by one model was worth in this namespace's recalls; None before any."""
    names = (f"{services.namespace}/recall", f"{services.namespace}/select")
    found = [services.client.get_experiment_by_name(name) for name in names]
    there = [str(experiment.experiment_id) for experiment in found if experiment]
    runs = search_runs(services.client, there, "metrics.`recall/epochs` > 0")
    told = [(r.data.metrics["recall/epochs"], r.data.metrics["recall/probes"]) for r in runs]
    epochs, probes = np.array(told, dtype=np.float64).reshape(-1, 2).sum(axis=0).tolist()
    return epochs / probes if probes else None
