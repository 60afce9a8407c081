"""Runs of other training code as cells of a history: which ones count, and why others do not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlflow_recall.core.external_runs.infer_rules import infer_rules
from mlflow_recall.core.external_runs.logging_conventions import (
    LoggedRun,
    has_curve,
    infer_modality,
    is_interrupted,
    read_value,
    trained_epochs,
)
from mlflow_recall.core.external_runs.repeats import choose_configuration
from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    InterpretedRun,
    KnownModel,
    MetricSource,
    compare_by_one_split,
)
from mlflow_recall.core.external_runs.units import UNITS
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.metrics import lowest_value
from mlflow_recall.errors import ConfigError, HistoryError, RecallError

#: models or runs that a message names
_NAMED = 3
_UNKNOWN_MODALITY = "unknown modality: name it with --modality text or --modality image"


@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """The runs that become history, and the reasons why others do not."""

    #: experiment -> how its runs are read
    rules: Mapping[str, ImportRules]
    accepted: tuple[InterpretedRun, ...]
    #: reason -> runs that are left out for it
    left_out: Mapping[str, tuple[LoggedRun, ...]]
    #: runs that are history so far, and that a better or later configuration replaces
    superseded: tuple[LoggedRun, ...] = ()
    #: experiment -> why none of its runs can be used
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, sorted."""
        return tuple(sorted({run.model for run in self.accepted}))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets, sorted."""
        return tuple(sorted({run.dataset for run in self.accepted}))

    @property
    def cells(self) -> int:
        """Number of measured pairs of model and dataset."""
        return len({run.cell for run in self.accepted})

    @property
    def coverage(self) -> float:
        """Share of all pairs of one modality that is measured, in [0, 1]."""
        pairs = 0
        for modality in {run.modality for run in self.accepted}:
            runs = [run for run in self.accepted if run.modality == modality]
            pairs += len({run.model for run in runs}) * len({run.dataset for run in runs})
        return self.cells / max(1, pairs)

    @property
    def untested(self) -> tuple[LoggedRun, ...]:
        """Runs that have no test score."""
        return tuple(
            c.run
            for c in self.accepted
            if not _first_key(c.run.metrics, self.rules[c.run.experiment].test)
        )

    @property
    def unregistered(self) -> tuple[InterpretedRun, ...]:
        """The first run of every model that is not registered."""
        first = {run.model: run for run in reversed(self.accepted) if not run.is_registered}
        return tuple(first.values())[::-1]

    def metric(self, run: InterpretedRun) -> str:
        """Return the metric that a run is read for."""
        return self.rules[run.run.experiment].metric


def import_runs(
    runs: Sequence[LoggedRun],
    requested: ImportRules,
    namespace: str,
    known: Iterable[KnownModel],
    prefix: str = "",
) -> RunSelection:
    """Select the runs that become history, and infer how they are read.

    Each experiment is read by itself, so that it makes no difference beside which others it is
    named.

    Args:
        runs: Runs of any experiments.
        requested: Rules of the user; empty fields are inferred.
        namespace: Namespace whose history the runs become.
        known: Registered models of the namespace.
        prefix: Prefix of the models' names in its registry.

    Raises:
        HistoryError: No run of any experiment can be used; the message gives the reasons.
        ConfigError: As above, or two models would have the same name.
    """
    models = tuple(known)
    by_experiment: dict[str, list[LoggedRun]] = {}
    for run in runs:
        by_experiment.setdefault(run.experiment, []).append(run)
    selections: list[RunSelection] = []
    failed: dict[str, RecallError] = {}
    for name, own in (by_experiment or {"": []}).items():
        try:
            rules = infer_rules(own, requested)
            selections.append(_select_runs(own, rules, namespace, models, prefix))
        except (ConfigError, HistoryError) as error:
            failed[name] = error
    if not selections:
        raise next(iter(failed.values()))
    return _merge(selections, {name: str(error) for name, error in failed.items()})


def _merge(selections: Sequence[RunSelection], failed: Mapping[str, str]) -> RunSelection:
    left_out: dict[str, tuple[LoggedRun, ...]] = {}
    for selection in selections:
        for reason, runs in selection.left_out.items():
            left_out[reason] = (*left_out.get(reason, ()), *runs)
    accepted = tuple(run for selection in selections for run in selection.accepted)
    _check_names(accepted)
    return RunSelection(
        rules={name: rules for selection in selections for name, rules in selection.rules.items()},
        accepted=accepted,
        left_out=left_out,
        superseded=tuple(run for selection in selections for run in selection.superseded),
        failed=failed,
    )


def _select_runs(
    runs: Sequence[LoggedRun],
    rules: ImportRules,
    namespace: str,
    known: Iterable[KnownModel],
    prefix: str,
) -> RunSelection:
    """Return the runs of one experiment that become history by complete rules.

    Raises:
        HistoryError: No run is left; the message gives the reasons.
        ConfigError: Two models would have the same name.
    """
    reader = _Reader(
        rules=rules,
        namespace=namespace,
        known={model.name: model for model in known},
        prefix=prefix,
    )
    left_out: dict[str, list[LoggedRun]] = {}
    usable: list[InterpretedRun] = []
    for run in sorted(runs, key=lambda run: (run.start_time, run.run_id)):
        reason = reader.refusal(run)
        interpreted = None if reason else reader.interpret(run)
        if interpreted is not None and interpreted.modality:
            usable.append(interpreted)
        else:
            left_out.setdefault(reason or _UNKNOWN_MODALITY, []).append(run)
    _check_names(usable)
    kept: list[InterpretedRun] = []
    for cell in _cells(usable):
        chosen, others = choose_configuration(cell, rules)
        kept += chosen
        for reason, unused in others.items():
            left_out.setdefault(reason, []).extend(interpreted.run for interpreted in unused)
    kept, test_only = _comparable(kept)
    if test_only:
        left_out["a test score alone, on a dataset where others have none"] = test_only
    if not kept:
        why = "; ".join(f"{reason}: {_labels(unused)}" for reason, unused in left_out.items())
        raise HistoryError(f"adopt: expected fine-tuning runs, none can be used: {why or 'no run'}")
    dropped = {c.run.run_id for c in usable} - {c.run.run_id for c in kept}
    return RunSelection(
        rules={kept[0].run.experiment: rules},
        accepted=tuple(kept),
        left_out={reason: tuple(unused) for reason, unused in left_out.items()},
        superseded=tuple(
            c.run for c in usable if c.run.run_id in dropped and c.run.adopted == namespace
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads single runs by rules."""

    rules: ImportRules
    namespace: str
    #: name -> registered model
    known: Mapping[str, KnownModel]
    prefix: str

    def refusal(self, run: LoggedRun) -> str:
        """Return why a run cannot be used; empty where it can."""
        rules, metrics = self.rules, run.metrics
        if run.is_own:
            return "made by mlflow-recall itself"
        if run.status != "FINISHED":
            return f"{run.status}, not FINISHED"
        if run.adopted and run.adopted != self.namespace:
            return (
                f"history of namespace {run.adopted!r}: `mlflow-recall adopt --release "
                f"--namespace {run.adopted}` sets it free"
            )
        if is_interrupted(run):
            return "interrupted before its last epoch"
        for role, keys in (("model", rules.model), ("dataset", rules.dataset)):
            if not _first_value(run, keys):
                return f"no {role}: none of {', '.join(keys)}"
        validation = _first_key(metrics, rules.validation)
        test = _first_key(metrics, rules.test)
        if rules.test_needed and not test:
            return f"no test score: none of {', '.join(rules.test)}"
        if not validation and not test:
            return f"no score: none of {', '.join((*rules.validation, *rules.test))}"
        for key in filter(None, (validation, test)):
            value = metrics[key] * self._scale(key)
            if not math.isfinite(value):
                return f"{key} is no finite number"
            lowest = lowest_value(rules.metric)
            if lowest is not None and not lowest <= value <= 1 + 1e-6:
                return f"{key} is no {rules.metric} in the unit {rules.units[key]}"
        return ""

    def interpret(self, run: LoggedRun) -> InterpretedRun:
        """Read a run that can be used."""
        rules, metrics = self.rules, run.metrics
        raw_model, dataset = _first_value(run, rules.model), _first_value(run, rules.dataset)
        validation = _first_key(metrics, rules.validation)
        test = _first_key(metrics, rules.test)
        source = MetricSource(
            validation=validation,
            test=test,
            validation_scale=self._scale(validation),
            test_scale=self._scale(test),
            minimize=bool(rules.minimize),
            epochs=trained_epochs(run) if validation else 0,
            has_curve=not validation or has_curve(run, validation),
        )
        model = self._registry_name(raw_model)
        known = self.known.get(model, KnownModel(model))
        return InterpretedRun(
            run=run,
            model=model,
            dataset=rules.datasets.get(dataset) or _shorten_path(dataset),
            modality=rules.modality or known.modality or infer_modality(run),
            source=source,
            raw_model=raw_model,
            is_registered=model in self.known,
        )

    def _registry_name(self, raw_model: str) -> str:
        """Return the name in the registry, or the one that an unregistered model would have."""
        name = self.rules.models.get(raw_model, raw_model)
        sources = (f"hf:/{name}", f"timm:/{name}", name)
        for model in self.known.values():
            if model.name == name or model.source.partition("@")[0] in sources:
                return model.name
        return self.prefix + _shorten_path(name).replace("/", "--").replace(":", "--")

    def _scale(self, key: str) -> float:
        return UNITS[self.rules.units[key]] if key in self.rules.units else 1.0


def _first_value(run: LoggedRun, keys: Iterable[str]) -> str:
    return next(filter(None, (read_value(run, key) for key in keys)), "")


def _first_key(metrics: Mapping[str, float], keys: Iterable[str]) -> str:
    return next((key for key in keys if key in metrics), "")


def _shorten_path(name: str) -> str:
    """Return the last part of a path, with the parent of a checkpoint; other names unchanged."""
    if not re.match(r"[/~.]|[A-Za-z]:[\\/]", name):
        return name
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..", "~")]
    parts = parts[-2:] if parts and re.match(r"checkpoint|snapshot", parts[-1]) else parts[-1:]
    return re.sub(r"\.(csv|tsv|jsonl?|parquet|txt)$", "", "--".join(parts)) or name


def _comparable(kept: Sequence[InterpretedRun]) -> tuple[list[InterpretedRun], list[LoggedRun]]:
    """Let all runs of a dataset be compared by one split; see ``compare_by_one_split``.

    Returns:
        The runs, and those that are left out because they have nothing but a test score.
    """
    untested = {run.dataset for run in kept if not run.source.test}
    sources = compare_by_one_split([(run.dataset, run.source) for run in kept])
    comparable, test_only = [], []
    for run, source in zip(kept, sources, strict=True):
        if source.test and run.dataset in untested:
            test_only.append(run.run)
        else:
            comparable.append(replace(run, source=source))
    return comparable, test_only


def _check_names(runs: Sequence[InterpretedRun]) -> None:
    """Refuse two folders that would be one model, since their last parts are equal."""
    raw_names: dict[str, set[str]] = {}
    for run in runs:
        raw_names.setdefault(run.model, set()).add(run.raw_model)
    for name, raw_models in raw_names.items():
        paths = sorted(raw for raw in raw_models if _shorten_path(raw) != raw)
        if len(paths) > 1:
            raise ConfigError(
                f"model {name!r}: expected one folder, got {' and '.join(paths[:3])}: name "
                "each under `models:` of a file for --rules"
            )


def _cells(runs: Iterable[InterpretedRun]) -> Iterator[list[InterpretedRun]]:
    """Yield the runs of each cell, by model and dataset."""
    cells: dict[tuple[str, str], list[InterpretedRun]] = {}
    for run in runs:
        cells.setdefault(run.cell, []).append(run)
    for cell in sorted(cells):
        yield cells[cell]


def _labels(runs: Sequence[LoggedRun]) -> str:
    return join_names((run.label for run in runs), _NAMED)
