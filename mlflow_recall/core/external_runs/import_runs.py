"""Runs that somebody logged for themselves -> cells of a history: what is taken, what is left."""

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
from mlflow_recall.core.history.metrics import is_bounded
from mlflow_recall.errors import ConfigError, HistoryError


@dataclass(frozen=True)
class RunSelection:
    """What becomes history, and why the rest does not."""

    rules: ImportRules
    accepted: tuple[InterpretedRun, ...]
    #: reason -> runs
    left_out: Mapping[str, tuple[LoggedRun, ...]]
    #: runs that were history and are no more: a better or later configuration took their place
    superseded: tuple[LoggedRun, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({each.model for each in self.accepted}))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({each.dataset for each in self.accepted}))

    @property
    def cells(self) -> int:
        """Measured pairs of model and dataset."""
        return len({each.cell for each in self.accepted})

    @property
    def coverage(self) -> float:
        """Share of all pairs of one modality that is measured, in [0, 1]."""
        pairs = 0
        for modality in {each.modality for each in self.accepted}:
            some = [each for each in self.accepted if each.modality == modality]
            pairs += len({each.model for each in some}) * len({each.dataset for each in some})
        return self.cells / max(1, pairs)

    @property
    def untested(self) -> tuple[LoggedRun, ...]:
        """Runs that have no test score."""
        return tuple(c.run for c in self.accepted if not _key(c.run.metrics, self.rules.test))

    @property
    def unregistered(self) -> tuple[InterpretedRun, ...]:
        """One run of every model that is not registered."""
        return tuple({c.model: c for c in reversed(self.accepted) if not c.is_registered}.values())[
            ::-1
        ]


def select_runs(
    runs: Sequence[LoggedRun],
    rules: ImportRules,
    namespace: str,
    known: Iterable[KnownModel],
    prefix: str = "",
) -> RunSelection:
    """Which runs become history by complete rules.

    Args:
        runs: of any experiments.
        rules: as ``guessing.guessed`` completed them.
        namespace: that takes them in.
        known: its registered models.
        prefix: of the names that models have in its registry.

    Raises:
        HistoryError: no run is left; the message says why.
        SettingError: two models or datasets would go by one name, or a modality is not known.
    """
    reader = _Reader(rules, namespace, {k.name: k for k in known}, prefix, _percents(runs, rules))
    left: dict[str, list[LoggedRun]] = {}
    found: list[InterpretedRun] = []
    for run in sorted(runs, key=lambda run: (run.start_time, run.run_id)):
        if reason := reader.refusal(run):
            left.setdefault(reason, []).append(run)
        else:
            found.append(reader.candidate(run))
    _check_names(found)
    kept: list[InterpretedRun] = []
    for cell in _cells(found):
        some, others = choose_configuration(cell, rules)
        kept += some
        for reason, candidates in others.items():
            left.setdefault(reason, []).extend(each.run for each in candidates)
    kept, alone = _comparable(kept)
    if alone:
        left["a test score alone, on a dataset where others have none"] = alone
    if not kept:
        why = "; ".join(f"{reason}: {_listed(some)}" for reason, some in left.items())
        raise HistoryError(f"adopt: expected fine-tuning runs, none can be used: {why or 'no run'}")
    _check_modalities(kept)
    gone = {c.run.run_id for c in found} - {c.run.run_id for c in kept}
    return RunSelection(
        rules,
        tuple(kept),
        {reason: tuple(some) for reason, some in left.items()},
        tuple(c.run for c in found if c.run.run_id in gone and c.run.adopted == namespace),
    )


@dataclass(frozen=True)
class _Reader:
    """Reads single runs."""

    rules: ImportRules
    namespace: str
    known: Mapping[str, KnownModel]
    prefix: str
    #: keys whose values are percent in every run
    percents: frozenset[str]

    def refusal(self, run: LoggedRun) -> str:
        """Why a run cannot be used; empty: it can."""
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
            if not _first(run, keys):
                return f"no {role}: none of {', '.join(keys)}"
        validation, test = _key(metrics, rules.validation), _key(metrics, rules.test)
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

    def candidate(self, run: LoggedRun) -> InterpretedRun:
        """A run that can be used."""
        rules, metrics = self.rules, run.metrics
        raw, dataset = _first(run, rules.model), _first(run, rules.dataset)
        validation, test = _key(metrics, rules.validation), _key(metrics, rules.test)
        source = MetricSource(
            validation,
            test,
            self._scale(validation, metrics),
            self._scale(test, metrics),
            bool(rules.minimize),
            trained_epochs(run) if validation else 0,
        )
        name = self._model(raw)
        known = self.known.get(name, KnownModel(name))
        return InterpretedRun(
            run,
            name,
            rules.datasets.get(dataset) or _plain(dataset),
            rules.modality or known.modality or infer_modality(run),
            source,
            raw,
            name in self.known,
        )

    def _model(self, raw: str) -> str:
        """Name in the registry, of a model that is there or that could be."""
        said = self.rules.models.get(raw, raw)
        sources = (f"hf:/{said}", f"timm:/{said}", said)
        for model in self.known.values():
            if model.name == said or model.source.partition("@")[0] in sources:
                return model.name
        return self.prefix + _plain(said).replace("/", "--").replace(":", "--")

    def _scale(self, key: str, metrics: Mapping[str, float]) -> float:
        if not key or not is_bounded(self.rules.metric):
            return 1.0
        return 0.01 if key in self.percents or metrics[key] > 1 else 1.0


def _percents(runs: Iterable[LoggedRun], rules: ImportRules) -> frozenset[str]:
    """Keys as timm names percent, which some run shows to be percent indeed."""
    keys = {key for key in (*rules.validation, *rules.test) if is_percent_name(key)}
    return frozenset(key for run in runs for key in keys if run.metrics.get(key, 0.0) > 1)


def _first(run: LoggedRun, keys: Iterable[str]) -> str:
    return next(filter(None, (read_value(run, key) for key in keys)), "")


def _key(metrics: Mapping[str, float], keys: Iterable[str]) -> str:
    return next((key for key in keys if key in metrics), "")


def _plain(name: str) -> str:
    """The last part of a path, with the run's folder for a checkpoint; other names as they are."""
    if not re.match(r"[/~.]|[A-Za-z]:[\\/]", name):
        return name
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..", "~")]
    parts = parts[-2:] if parts and re.match(r"checkpoint|snapshot", parts[-1]) else parts[-1:]
    return re.sub(r"\.(csv|tsv|jsonl?|parquet|txt)$", "", "--".join(parts)) or name


def _comparable(kept: Sequence[InterpretedRun]) -> tuple[list[InterpretedRun], list[LoggedRun]]:
    """One dataset is compared by one split: by validation where some run has no test score.

    Returns:
        The runs, and those that are left out since they were tested alone.
    """
    by_validation = {each.dataset for each in kept if not each.source.test}
    found, alone = [], []
    for each in kept:
        if each.dataset not in by_validation or not each.source.test:
            found.append(each)
        elif each.source.validation:
            found.append(replace(each, source=replace(each.source, test="", test_scale=1.0)))
        else:
            alone.append(each.run)
    return found, alone


def _check_names(found: Sequence[InterpretedRun]) -> None:
    """Two folders of one name are two models."""
    raws: dict[str, set[str]] = {}
    for each in found:
        raws.setdefault(each.model, set()).add(each.raw_model)
    for name, some in raws.items():
        paths = sorted(raw for raw in some if _plain(raw) != raw)
        if len(paths) > 1:
            raise ConfigError(
                f"model {name!r}: expected one folder, got {' and '.join(paths[:3])}: say under "
                "`models:` of a file for --rules what each is called"
            )


def _check_modalities(kept: Sequence[InterpretedRun]) -> None:
    silent = [each for each in kept if not each.modality]
    if silent:
        names = sorted({each.model for each in silent})
        raise ConfigError(
            f"modality: {len(silent)} runs do not tell it, of {_some(names)}: "
            "name it with --modality text or --modality image"
        )


def _cells(found: Iterable[InterpretedRun]) -> Iterator[list[InterpretedRun]]:
    cells: dict[tuple[str, str], list[InterpretedRun]] = {}
    for each in found:
        cells.setdefault(each.cell, []).append(each)
    for cell in sorted(cells):
        yield cells[cell]


def _listed(runs: Sequence[LoggedRun]) -> str:
    return _some([run.label for run in runs])


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
