"""Fine-tunings that a team already has in MLflow -> history, without training anything."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_recall.adapters.adopted import AdoptedRuns, Written
from mlflow_recall.adapters.registry import MlflowRegistry
from mlflow_recall.adapters.tags import ADOPTED, SOURCE
from mlflow_recall.config import AdoptConfig
from mlflow_recall.core.adoption import Adoption, adoption
from mlflow_recall.core.conventions import convention_of
from mlflow_recall.core.guessing import guessed
from mlflow_recall.core.readings import Candidate, Known, Rules
from mlflow_recall.errors import HistoryError, SettingError
from mlflow_recall.workflows.bench import Bench


@dataclass(frozen=True)
class Adopted:
    """What was understood, and what was done; in a dry run, what would be done."""

    found: Adoption
    written: Written
    #: run id -> ``adopted``, ``updated`` or ``known``
    states: dict[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """How runs were read."""
        return self.found.rules


def adopt(config: AdoptConfig, bench: Bench, registry: MlflowRegistry) -> Adopted:
    """Tag the runs that rules and filter find as history of the namespace.

    Run again, it tags what is new; a run whose place in its cell was taken by a better or later
    configuration is released. Nothing but tags of ours is ever changed.

    Raises:
        SettingError: no such experiment, a filter that MLflow refuses, mixed directions, or a
            modality that nobody tells.
        HistoryError: no run, or none that says its model, dataset or score.
    """
    store = AdoptedRuns(bench.client, bench.namespace)
    experiments = store.experiments(config.experiments)
    runs = store.logged(experiments, config.filter)
    rules = guessed(runs, config.rules)
    members = registry.members(bench.voice.say)
    known = [Known(m.name, m.tags.get(SOURCE, ""), m.modality) for m in members]
    found = adoption(runs, rules, bench.namespace, known, registry.name_of(""))
    _check_directions(rules, store)
    states = {c.run.run_id: store.state(c, rules.metric) for c in found.kept}
    counts = list(states.values())
    released = [run for run in found.superseded if run.adopted]
    written = Written(
        counts.count("adopted"), counts.count("known"), counts.count("updated"), len(released)
    )
    new = [c for c in found.kept if states[c.run.run_id] != "known"]
    if not config.dry_run and (new or released):
        store.remember(experiments)
        with bench.voice.progress("adopt", len(new)) as bar:
            for candidate in new:
                store.write(candidate, rules.metric)
                bar.advance(now=candidate.run.name)
        for run in released:
            store.release(run, rules.metric)
        store.remember(experiments)
    return Adopted(found, written, states)


def release(config: AdoptConfig, bench: Bench) -> int:
    """Take back every tag that adoptions by this namespace set on runs of these experiments.

    Returns:
        How many runs are history no more; in a dry run, how many would be.

    Raises:
        HistoryError: none of them is.
    """
    store = AdoptedRuns(bench.client, bench.namespace)
    experiments = store.experiments(config.experiments)
    mine = [
        run for run in store.logged(experiments, config.filter) if run.adopted == bench.namespace
    ]
    if not mine:
        raise HistoryError(
            f"adopt --release: expected runs with the tag {ADOPTED} = {bench.namespace!r} in "
            f"{', '.join(config.experiments)}, found none"
        )
    if not config.dry_run:
        for run in mine:
            store.release(run)
        store.remember(experiments)
    return len(mine)


def _check_directions(rules: Rules, store: AdoptedRuns) -> None:
    before = store.directions(rules.metric)
    if (other := before.get(not rules.minimize)) is not None:
        raise SettingError(
            f"mixed directions: {rules.metric} was adopted as "
            f"{'higher' if rules.minimize else 'lower'}-is-better before, by {other}: "
            "give the metric another name with --metric"
        )


def notes(adopted: Adopted) -> list[str]:
    """What a person should know, a line each."""
    found, rules = adopted.found, adopted.rules
    lines = []
    if found.untested:
        datasets = sorted({c.dataset for c in found.kept if not c.source.test})
        lines.append(
            f"{len(found.untested)} of {len(found.kept)} runs have no test score, such as "
            f"{found.untested[0].label}: on {', '.join(datasets)} the last validation score stands "
            "for it, in every run"
        )
    percent = [c for c in found.kept if 0.01 in (c.source.validation_scale, c.source.test_scale)]
    if percent:
        lines.append(f"{len(percent)} runs are in percent: {rules.metric} is divided by 100")
    if missing := found.unregistered:
        lines.append(
            f"{len(missing)} models are not registered: they teach, but only registered models are "
            f"recommended; a zoo file for `mlflow-recall register` needs {_entries(missing)}"
        )
    return lines


def zoo_entry(candidate: Candidate, prefix: str = "") -> dict[str, str]:
    """What a zoo file must say to register the model of a run under the name it was adopted by."""
    raw, name = candidate.raw, candidate.model.removeprefix(prefix)
    if convention_of(candidate.run) == "timm" and "/" not in raw:
        return {"source": f"timm:/{raw}", "modality": candidate.modality, "name": name}
    local = raw.startswith(("/", ".", "~"))
    source = raw if local else f"hf:/{raw}"
    return {"source": source, "modality": candidate.modality, "name": name}


def _entries(missing: tuple[Candidate, ...], most: int = 2) -> str:
    shown = [f"- {{source: {zoo_entry(c)['source']}, modality: {c.modality}}}" for c in missing]
    return " ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
