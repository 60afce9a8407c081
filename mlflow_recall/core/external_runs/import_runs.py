"""Runs of other training code as cells of a history: which ones count, and why others do not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_recall.core.external_runs.logging_conventions import (
    LoggedRun,
    infer_modality,
    is_interrupted,
    is_percent_name,
    read_value,
    trained_epochs,
)
from mlflow_recall.core.external_runs.repeats import choose_configuration
from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    InterpretedRun,
    KnownModel,
    MetricSource,
)
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.metrics import is_bounded
from mlflow_recall.errors import ConfigError, HistoryError

#: models or runs that a message names
_NAMED = 3


@dataclass(frozen=True)
class RunSelection:
    """The runs that become history, and the reasons why others do not."""

    rules: ImportRules
    accepted: tuple[InterpretedRun, ...]
    #: reason -> runs that are left out for it
    left_out: Mapping[str, tuple[LoggedRun, ...]]
    #: runs that are history so far, and that a better or later configuration replaces
    superseded: tuple[LoggedRun, ...] = ()

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
        return tuple(c.run for c in self.accepted if not _first_key(c.run.metrics, self.rules.test))

    @property
    def unregistered(self) -> tuple[InterpretedRun, ...]:
        """The first run of every model that is not registered."""
        first = {run.model: run for run in reversed(self.accepted) if not run.is_registered}
        return tuple(first.values())[::-1]


def select_runs(
    runs: Sequence[LoggedRun],
    rules: ImportRules,
    namespace: str,
    known: Iterable[KnownModel],
    prefix: str = "",
) -> RunSelection:
    """Select the runs that become history by complete rules.

    Args:
        runs: Runs of any experiments.
        rules: Rules as ``infer_rules`` completed them.
        namespace: Namespace whose history the runs become.
        known: Registered models of the namespace.
        prefix: Prefix of the models' names in its registry.

    Raises:
        HistoryError: No run is left; the message gives the reasons.
        ConfigError: Two models would have the same name, or a modality is not known.
    """
    reader = _Reader(
        rules=rules,
        namespace=namespace,
        known={model.name: model for model in known},
        prefix=prefix,
        percent_keys=_find_percent_keys(runs, rules),
    )
    left_out: dict[str, list[LoggedRun]] = {}
    usable: list[InterpretedRun] = []
    for run in sorted(runs, key=lambda run: (run.start_time, run.run_id)):
        if reason := reader.refusal(run):
            left_out.setdefault(reason, []).append(run)
        else:
            usable.append(reader.interpret(run))
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
    _check_modalities(kept)
    dropped = {c.run.run_id for c in usable} - {c.run.run_id for c in kept}
    return RunSelection(
        rules,
        tuple(kept),
        {reason: tuple(unused) for reason, unused in left_out.items()},
        tuple(c.run for c in usable if c.run.run_id in dropped and c.run.adopted == namespace),
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads single runs by rules."""

    rules: ImportRules
    namespace: str
    #: name -> registered model
    known: Mapping[str, KnownModel]
    prefix: str
    #: keys whose values are percent in every run
    percent_keys: frozenset[str]

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
            value = metrics[key] * self._scale(key, metrics)
            if not math.isfinite(value):
                return f"{key} is no finite number"
            if is_bounded(rules.metric) and not 0 <= value <= 1:
                return f"{key} is no {rules.metric}, neither in [0, 1] nor in percent"
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
            validation_scale=self._scale(validation, metrics),
            test_scale=self._scale(test, metrics),
            minimize=bool(rules.minimize),
            epochs=trained_epochs(run) if validation else 0,
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

    def _scale(self, key: str, metrics: Mapping[str, float]) -> float:
        if not key or not is_bounded(self.rules.metric):
            return 1.0
        return 0.01 if key in self.percent_keys or metrics[key] > 1 else 1.0


def _find_percent_keys(runs: Iterable[LoggedRun], rules: ImportRules) -> frozenset[str]:
    """Return the keys that are named as timm names percent, and exceed 1 in some run."""
    keys = {key for key in (*rules.validation, *rules.test) if is_percent_name(key)}
    return frozenset(key for run in runs for key in keys if run.metrics.get(key, 0.0) > 1)


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
    """Let all runs of a dataset be compared by one split.

    That is the validation split where some run has no test score.

    Returns:
        The runs, and those that are left out because they have nothing but a test score.
    """
    by_validation = {run.dataset for run in kept if not run.source.test}
    comparable, test_only = [], []
    for run in kept:
        if run.dataset not in by_validation or not run.source.test:
            comparable.append(run)
        elif run.source.validation:
            comparable.append(replace(run, source=replace(run.source, test="", test_scale=1.0)))
        else:
            test_only.append(run.run)
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


def _check_modalities(kept: Sequence[InterpretedRun]) -> None:
    unknown = [run for run in kept if not run.modality]
    if unknown:
        names = sorted({run.model for run in unknown})
        raise ConfigError(
            f"modality: {len(unknown)} runs do not tell it, of {join_names(names, _NAMED)}: "
            "name it with --modality text or --modality image"
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
