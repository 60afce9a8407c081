"""Fine-tunings that a team already has in MLflow -> history, without training anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns, AdoptionSummary
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.tags import ADOPTED, SOURCE
from mlflow_recall.config import AdoptConfig
from mlflow_recall.core.external_runs.import_runs import RunSelection, select_runs
from mlflow_recall.core.external_runs.infer_rules import infer_rules
from mlflow_recall.core.external_runs.logging_conventions import detect_convention
from mlflow_recall.core.external_runs.rules import ImportRules, InterpretedRun, KnownModel
from mlflow_recall.errors import ConfigError, HistoryError
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True)
class AdoptionResult:
    """What was understood, and what was done; in a dry run, what would be done."""

    selection: RunSelection
    written: AdoptionSummary
    #: run id -> ``adopted``, ``updated`` or ``known``
    states: dict[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> ImportRules:
        """How runs were read."""
        return self.selection.rules


def adopt_runs(config: AdoptConfig, services: Services, registry: MlflowRegistry) -> AdoptionResult:
    """Tag the runs that rules and filter find as history of the namespace.

    Run again, it tags what is new; a run whose place in its cell was taken by a better or later
    configuration is released. Nothing but tags of ours is ever changed.

    Raises:
        SettingError: no such experiment, a filter that MLflow refuses, mixed directions, or a
            modality that nobody tells.
        HistoryError: no run, or none that says its model, dataset or score.
    """
    store = AdoptedRuns(services.client, services.namespace)
    experiments = store.experiments(config.experiments)
    runs = store.read_runs(experiments, config.filter)
    rules = infer_rules(runs, config.rules)
    members = registry.members(services.reporter.info)
    known = [KnownModel(m.name, m.tags.get(SOURCE, ""), m.modality) for m in members]
    found = select_runs(runs, rules, services.namespace, known, registry.name_of(""))
    _check_directions(rules, store)
    states = {c.run.run_id: store.state(c, rules.metric) for c in found.accepted}
    counts = list(states.values())
    released = [run for run in found.superseded if run.adopted]
    written = AdoptionSummary(
        counts.count("adopted"), counts.count("known"), counts.count("updated"), len(released)
    )
    new = [c for c in found.accepted if states[c.run.run_id] != "known"]
    if not config.dry_run and (new or released):
        store.record_experiments(experiments)
        with services.reporter.progress("adopt", len(new)) as bar:
            for candidate in new:
                store.write(candidate, rules.metric)
                bar.advance(now=candidate.run.name)
        for run in released:
            store.release(run, rules.metric)
        store.record_experiments(experiments)
    return AdoptionResult(found, written, states)


def release_runs(config: AdoptConfig, services: Services) -> int:
    """Take back every tag that adoptions by this namespace set on runs of these experiments.

    Returns:
        How many runs are history no more; in a dry run, how many would be.

    Raises:
        HistoryError: none of them is.
    """
    store = AdoptedRuns(services.client, services.namespace)
    experiments = store.experiments(config.experiments)
    mine = [
        run
        for run in store.read_runs(experiments, config.filter)
        if run.adopted == services.namespace
    ]
    if not mine:
        raise HistoryError(
            f"adopt --release: expected runs with the tag {ADOPTED} = {services.namespace!r} in "
            f"{', '.join(config.experiments)}, found none"
        )
    if not config.dry_run:
        for run in mine:
            store.release(run)
        store.record_experiments(experiments)
    return len(mine)


def _check_directions(rules: ImportRules, store: AdoptedRuns) -> None:
    before = store.directions(rules.metric)
    if (other := before.get(not rules.minimize)) is not None:
        raise ConfigError(
            f"mixed directions: {rules.metric} was adopted as "
            f"{'higher' if rules.minimize else 'lower'}-is-better before, by {other}: "
            "give the metric another name with --metric"
        )


def adoption_notes(adopted: AdoptionResult) -> list[str]:
    """What a person should know, a line each."""
    found, rules = adopted.selection, adopted.rules
    lines = []
    if found.untested:
        datasets = sorted({c.dataset for c in found.accepted if not c.source.test})
        lines.append(
            f"{len(found.untested)} of {len(found.accepted)} runs have no test score, such as "
            f"{found.untested[0].label}: on {', '.join(datasets)} the last validation score stands "
            "for it, in every run"
        )
    percent = [
        c for c in found.accepted if 0.01 in (c.source.validation_scale, c.source.test_scale)
    ]
    if percent:
        lines.append(f"{len(percent)} runs are in percent: {rules.metric} is divided by 100")
    if missing := found.unregistered:
        lines.append(
            f"{len(missing)} models are not registered: they teach, but only registered models are "
            f"recommended; a zoo file for `mlflow-recall register` needs {_entries(missing)}"
        )
    return lines


def zoo_entry(candidate: InterpretedRun, prefix: str = "") -> dict[str, str]:
    """What a zoo file must say to register the model of a run under the name it was adopted by."""
    raw, name = candidate.raw_model, candidate.model.removeprefix(prefix)
    if detect_convention(candidate.run) == "timm" and "/" not in raw:
        return {"source": f"timm:/{raw}", "modality": candidate.modality, "name": name}
    local = raw.startswith(("/", ".", "~"))
    source = raw if local else f"hf:/{raw}"
    return {"source": source, "modality": candidate.modality, "name": name}


def _entries(missing: tuple[InterpretedRun, ...], most: int = 2) -> str:
    shown = [f"- {{source: {zoo_entry(c)['source']}, modality: {c.modality}}}" for c in missing]
    return " ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
