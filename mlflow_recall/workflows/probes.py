"""Probe models on samples of datasets, score the probes, and measure what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlflow_recall.adapters.probe_cache import ProbeCache
from mlflow_recall.adapters.tracking.client import search_runs
from mlflow_recall.adapters.zoo.model_folder import weights_digest
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.comparable import ComparableRecords
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.scores import (
    SCORES,
    ForwardPass,
    base_of,
    compute_all,
    uninformative,
    with_depth,
)
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import Probe, ProbeTask, Registry
from mlflow_recall.workflows.benchmark import resolve_recipe
from mlflow_recall.workflows.services import Services

#: scores of embeddings that are used unless others are requested, as far as they serve the task
DEFAULT_SCORES = ("logme", "hscore")
#: scores of real source heads that are used besides
_DEFAULT_HEAD_SCORES = ("leep",)
#: models that must be scored, since a score of one model says nothing
MIN_PROBES = 2


def probe_task(
    member: Member, dataset: Dataset, comparable: ComparableRecords, samples: int = 500
) -> ProbeTask:
    """Return the task that probes a model by the recipe that it is recorded with, or would be."""
    recipe = comparable.recipes.get(member.name) or resolve_recipe(
        member, {"mode": comparable.mode}
    )
    return ProbeTask(
        member=member, dataset=dataset, recipe=replace(recipe, seed=0), samples=samples
    )


def run_probes(
    tasks: Sequence[ProbeTask], services: Services, what: tuple[str, str]
) -> list[Probe | str]:
    """Return the probe of every task, or why there is none; known probes are read from a cache.

    Args:
        tasks: Tasks without weights, which are resolved for those that must be computed.
        services: Engine and registry.
        what: What is probed, and several of them, for the progress bar.
    """
    cache, weights = ProbeCache(), _Weights(services.registry)
    results: list[Probe | str] = []
    to_run: list[ProbeTask] = []
    missing: list[int] = []
    for i, task in enumerate(tasks):
        try:
            identified = weights.identify(task)
            cached = cache.get(identified)
            if cached is None:
                to_run.append(replace(identified, weights=weights.folder(task.member)))
                missing.append(i)
            results.append(cached or "not probed")
        except ZooError as error:
            results.append(str(error))
    with services.reporter.progress(f"probe {count_of(len(to_run), *what)}", len(to_run)) as bar:
        for progress in services.engine.stream(services.probe, to_run):
            task = to_run[progress.index]
            if isinstance(progress.event, Probe):
                results[missing[progress.index]] = progress.event
                cache.put(task, progress.event)
            elif progress.error is not None:
                results[missing[progress.index]] = str(progress.error)
            else:
                continue
            bar.advance(status=f"{task.member.name} on {task.dataset.name}")
    return results


class _Weights:
    """Folders with the weights of models, each resolved and read once."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._folders: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def folder(self, member: Member) -> str:
        """Return the folder of a model.

        Raises:
            ZooError: There is none.
        """
        if member.name not in self._folders:
            self._folders[member.name] = self._registry.weights(member)
        return self._folders[member.name]

    def identify(self, task: ProbeTask) -> ProbeTask:
        """Return the task with what its model's weights are, where they may change.

        Behind a name of the hub they may, while those that MLflow holds do not.

        Raises:
            ZooError: They may have changed, and cannot be read.
        """
        member = task.member
        if not member.is_external:
            return task
        if member.name not in self._digests:
            self._digests[member.name] = weights_digest(Path(self.folder(member)))
        return replace(task, member=replace(member, identity=self._digests[member.name]))


def default_scores(task: str, *, has_real_heads: bool = False) -> tuple[str, ...]:
    """Return the scores that are used for a task unless others are requested.

    Example:
        >>> default_scores("classification", has_real_heads=True), default_scores("regression")
        (('leep', 'logme', 'hscore'), ('logme',))
    """
    names = (_DEFAULT_HEAD_SCORES if has_real_heads else ()) + DEFAULT_SCORES
    return tuple(name for name in names if task in SCORES[name].tasks)


def score_probes(
    probes: Mapping[str, Probe], names: Sequence[str], task: str, left_out: dict[str, str]
) -> dict[str, dict[str, float]]:
    """Return score -> model -> value, of the scores that differ between the models.

    Args:
        probes: Model -> its probe of the same samples.
        names: Names of the scores; ``parc+depth`` is one with the depth term.
        task: Task of the dataset.
        left_out: Receives the other scores, with the reason.
    """
    reasons = {name: SCORES[base_of(name)].why_not_served(task) for name in names}
    left_out.update({name: reason for name, reason in reasons.items() if reason})
    names = [name for name in names if not reasons[name]]
    base_names = tuple(dict.fromkeys(base_of(name) for name in names))
    passes = {
        model: ForwardPass(
            labels=probe.labels,
            embeddings=probe.embeddings,
            probabilities=probe.probabilities,
            task=task,
        )
        for model, probe in probes.items()
    }
    scores: dict[str, dict[str, float]] = {name: {} for name in base_names}
    for model, forward_pass in passes.items():
        computed = compute_all(base_names, forward_pass, table=SCORES)
        for name, value in computed.values.items():
            scores[name][model] = value
        left_out.update(
            {f"{name} of {model}": reason for name, reason in computed.left_out.items()}
        )
    constant = uninformative(base_names, passes, table=SCORES)
    left_out.update(constant)
    usable = {
        name: values
        for name, values in scores.items()
        if name not in constant and len(values) >= MIN_PROBES
    }
    results: dict[str, dict[str, float]] = {}
    for name in names:
        values = usable.get(base_of(name), {})
        if values and name != base_of(name):
            values = _with_depth_term(values, probes, name, left_out)
        if values:
            results[name] = values
    return results


def _with_depth_term(
    values: Mapping[str, float], probes: Mapping[str, Probe], name: str, left_out: dict[str, str]
) -> dict[str, float]:
    """Return a score with the depth term; empty where the depth of a model is unknown."""
    layers = {model: probes[model].layers for model in values}
    unknown = [model for model, count in layers.items() if not count]
    if unknown:
        left_out[name] = f"the number of layers of {unknown[0]} is unknown"
        return {}
    deep = with_depth([*values.values()], [count or 0 for count in layers.values()])
    return dict(zip(values, deep.tolist(), strict=True))


def measured_probe_epochs(services: Services) -> float | None:
    """Return the epochs that one probe was worth in this namespace's recalls; None before any."""
    names = (f"{services.namespace}/recall", f"{services.namespace}/select")
    experiments = [services.client.get_experiment_by_name(name) for name in names]
    ids = [str(experiment.experiment_id) for experiment in experiments if experiment]
    runs = search_runs(services.client, ids, "metrics.`recall/epochs` > 0")
    pairs = [(r.data.metrics["recall/epochs"], r.data.metrics["recall/probes"]) for r in runs]
    epochs, probes = np.array(pairs, dtype=np.float64).reshape(-1, 2).sum(axis=0).tolist()
    return epochs / probes if probes else None
