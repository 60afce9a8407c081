"""Take fine-tunings that a team already has in MLflow into the history; nothing is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns, AdoptionSummary
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.tags import ADOPTED
from mlflow_recall.config import AdoptConfig
from mlflow_recall.core.external_runs.import_runs import RunSelection, import_runs
from mlflow_recall.core.external_runs.logging_conventions import detect_convention
from mlflow_recall.core.external_runs.rules import ImportRules, InterpretedRun, KnownModel
from mlflow_recall.core.formatting import count_of
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True)
class AdoptionResult:
    """What was understood and done; in a dry run, what would be done."""

    selection: RunSelection
    written: AdoptionSummary
    #: run id -> ``adopted``, ``updated`` or ``known``
    states: Mapping[str, str] = field(default_factory=dict)


def adopt_runs(config: AdoptConfig, services: Services, registry: MlflowRegistry) -> AdoptionResult:
    """Tag the runs that rules and filter find as history of the namespace.

    Every experiment is read by itself, so that it makes no difference in which order, or beside
    which others, experiments are adopted. Called again, it tags what is new, and releases a run
    whose place in its cell was taken by a better or later configuration. Only tags of this package
    are changed.

    Raises:
        ConfigError: There is no such experiment, MLflow refuses the filter, or directions are
            mixed.
        HistoryError: No experiment has a run that can be adopted.
    """
    store = AdoptedRuns(services.client, services.namespace)
    experiments = store.experiments(config.experiments)
    runs = store.read_runs(experiments, config.filter)
    members = registry.members(services.reporter.warning)
    known = [KnownModel(m.name, m.source, m.modality) for m in members]
    selection = import_runs(runs, config.rules, services.namespace, known, registry.name_of(""))
    _check_directions(selection.rules, store)
    states = {c.run.run_id: store.state(c, selection.metric(c)) for c in selection.accepted}
    counts = Counter(states.values())
    released = [run for run in selection.superseded if run.adopted]
    summary = AdoptionSummary(counts["adopted"], counts["known"], counts["updated"], len(released))
    to_write = [c for c in selection.accepted if states[c.run.run_id] != "known"]
    if not config.dry_run and (to_write or released):
        store.record_experiments(experiments)
        with services.reporter.progress("adopt", len(to_write)) as bar:
            for candidate in to_write:
                store.write(candidate, selection.metric(candidate))
                bar.advance(status=candidate.run.name)
        for run in released:
            store.release(run, selection.rules[run.experiment].metric)
        store.record_experiments(experiments)
    return AdoptionResult(selection, summary, states)


def release_runs(config: AdoptConfig, services: Services) -> int:
    """Remove every tag that adoptions by this namespace set on runs of these experiments.

    Returns:
        Number of runs that are history no more; in a dry run, that would be.

    Raises:
        HistoryError: None of them is history.
    """
    store = AdoptedRuns(services.client, services.namespace)
    experiments = store.experiments(config.experiments)
    adopted = [
        run
        for run in store.read_runs(experiments, config.filter)
        if run.adopted == services.namespace
    ]
    if not adopted:
        raise HistoryError(
            f"adopt --release: expected runs with the tag {ADOPTED} = {services.namespace!r} in "
            f"{', '.join(config.experiments)}, got none"
        )
    if not config.dry_run:
        for run in adopted:
            store.release(run)
        store.record_experiments(experiments)
    return len(adopted)


def _check_directions(rules: Mapping[str, ImportRules], store: AdoptedRuns) -> None:
    """Check that a metric has one direction in all experiments and in the history so far."""
    directions: dict[str, dict[bool, str]] = {}
    for experiment, read in rules.items():
        ways = directions.setdefault(read.metric, store.directions(read.metric))
        if (other := ways.get(not read.minimize)) is not None:
            ours, theirs = ("lower", "higher") if read.minimize else ("higher", "lower")
            raise ConfigError(
                f"mixed directions: {read.metric} is {theirs}-is-better in {other} and "
                f"{ours}-is-better in {experiment}: give the metric another name with --metric"
            )
        ways.setdefault(bool(read.minimize), experiment)


def adoption_notes(result: AdoptionResult) -> list[str]:
    """Return what a person should know, one line each."""
    selection = result.selection
    notes: list[str] = []
    for name, rules in selection.rules.items():
        runs = [c for c in selection.accepted if c.run.experiment == name]
        notes += _experiment_notes(name, rules, runs)
    if selection.untested:
        datasets = sorted({c.dataset for c in selection.accepted if not c.source.test})
        notes.append(
            f"{len(selection.untested)} of {count_of(len(selection.accepted), 'run')} without a "
            f"test score, such as {selection.untested[0].label}: on {', '.join(datasets)} the last "
            "validation score is used instead, in every run"
        )
    if missing := selection.unregistered:
        notes.append(
            f"{count_of(len(missing), 'model')} not registered, so used for clustering only; a zoo "
            f"file for `mlflow-recall register` needs {_zoo_lines(missing)}"
        )
    return notes


def _experiment_notes(
    name: str, rules: ImportRules, runs: Sequence[InterpretedRun]
) -> Iterator[str]:
    """Yield what is particular about how the runs of one experiment are read."""
    percent = [c for c in runs if 0.01 in (c.source.validation_scale, c.source.test_scale)]
    if percent:
        keys = sorted({k for c in percent for k in (c.source.validation, c.source.test) if k})
        keys = [key for key in keys if rules.units.get(key) == "percent"]
        yield (
            f"experiment {name!r}: {' and '.join(keys)} in percent in all runs: {rules.metric} is "
            f"divided by 100 ({count_of(len(percent), 'run')})"
        )
    if rules.dataset == ("experiment",):
        yield (
            f"experiment {name!r}: no param, tag or input names a dataset, so that all of its runs "
            "are on one dataset, named like it: name another with --dataset params.KEY"
        )
    if single := [c for c in runs if not c.source.has_curve]:
        yield (
            f"experiment {name!r}: {count_of(len(single), 'run')}, such as {single[0].run.label}, "
            f"logged all of {single[0].source.validation} at step 0: the last value is the final "
            "score, and there is no curve"
        )


def zoo_entry(candidate: InterpretedRun, prefix: str = "") -> dict[str, str]:
    """Return the entry of a zoo file that registers the model of a run by its adopted name."""
    raw, name = candidate.raw_model, candidate.model.removeprefix(prefix)
    if detect_convention(candidate.run) == "timm" and "/" not in raw:
        return {"source": f"timm:/{raw}", "modality": candidate.modality, "name": name}
    is_local = raw.startswith(("/", ".", "~"))
    source = raw if is_local else f"hf:/{raw}"
    return {"source": source, "modality": candidate.modality, "name": name}


def _zoo_lines(missing: Sequence[InterpretedRun], limit: int = 2) -> str:
    lines = [f"- {{source: {zoo_entry(c)['source']}, modality: {c.modality}}}" for c in missing]
    more = f" and {len(lines) - limit} more" if len(lines) > limit else ""
    return " ".join(lines[:limit]) + more
