"""What the runs at hand mean by their params, tags and metrics, where nobody said it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlflow_recall.core.external_runs.logging_conventions import (
    DATASET_KEYS,
    MODEL_KEYS,
    LoggedRun,
    canonical_metric,
    is_minimized,
    parse_metric_key,
    read_value,
)
from mlflow_recall.core.external_runs.repeats import differing_params
from mlflow_recall.core.external_runs.rules import ImportRules
from mlflow_recall.core.history.metrics import METRICS, to_maximize
from mlflow_recall.errors import ConfigError, HistoryError

_TIMINGS = ("runtime", "per_second", "preparation_time", "jit_compilation_time", "_time")
#: how the cross-entropy of a classifier is called by those who train on it
_LOSSES: Mapping[str, tuple[str, ...]] = {"log_loss": ("log_loss", "loss")}


def infer_rules(runs: Sequence[LoggedRun], wishes: ImportRules) -> ImportRules:
    """Complete rules: what was wished for, and the rest by the names that training code uses.

    Raises:
        HistoryError: no run, or none that says its model, dataset or score; the message names what
            was looked for and what is there.
        SettingError: validation, test and metric are not of one direction.
    """
    usable = [run for run in runs if run.status == "FINISHED" and not run.is_own]
    if not usable:
        states = ", ".join(f"{n} {s}" for s, n in Counter(r.status for r in runs).items())
        raise HistoryError(
            f"adopt: expected finished runs of others, got {states or 'none'}: look for them with "
            "another --experiment or --filter"
        )
    rules = replace(
        wishes,
        model=wishes.model or _keys(usable, MODEL_KEYS, "model"),
        dataset=wishes.dataset or _keys(usable, DATASET_KEYS, "dataset"),
        test_needed=bool(wishes.test),
    )
    for role, keys in (("model", rules.model), ("dataset", rules.dataset)):
        if not any(read_value(run, key) for run in usable for key in keys):
            raise _nameless(usable, role, keys)
    rules = _scored(usable, rules)
    return replace(rules, minimize=_direction(usable, rules))


def _keys(runs: Sequence[LoggedRun], names: Iterable[str], role: str) -> tuple[str, ...]:
    """As few keys as cover the runs; those that vary come before those that say one thing."""
    found = {}
    for name in names:
        for kind in ("params", "tags"):
            key = "+".join(f"{kind}.{part}" for part in name.split("+"))
            if all(any(read_value(run, part) for run in runs) for part in key.split("+")):
                found[key] = [read_value(run, key) for run in runs]
    if role == "dataset":
        found["inputs"] = [read_value(run, "inputs") for run in runs]
        if len({run.experiment for run in runs}) > 1:
            found["experiment"] = [run.experiment for run in runs]
    ordered = sorted(found, key=lambda key: len({*found[key]} - {""}) < min(2, len(runs)))
    chosen, covered = [], [False] * len(runs)
    for key in ordered:
        if any(value and not done for value, done in zip(found[key], covered, strict=True)):
            chosen.append(key)
            covered = [bool(v) or done for v, done in zip(found[key], covered, strict=True)]
    if not chosen:
        raise _nameless(runs, role, names)
    return tuple(chosen)


def _nameless(runs: Sequence[LoggedRun], role: str, keys: Iterable[str]) -> HistoryError:
    """Nobody says the model, or the dataset; what differs between runs may."""
    differing = differing_params(runs, ImportRules())
    hint = f" (they differ in params.{', params.'.join(differing[:6])})" if differing else ""
    more = ", inputs or experiment" if role == "dataset" else ""
    return HistoryError(
        f"{role}: none of {len(runs)} finished runs, such as {runs[0].label}, has one of "
        f"{', '.join(keys)}{hint}: name it with --{role} params.KEY, tags.KEY{more}"
    )


def _scored(runs: Sequence[LoggedRun], rules: ImportRules) -> ImportRules:
    """The metric, and the keys of its validation curve and test score."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        for key in run.metrics:
            if (found := parse_metric_key(key)) and not found[1].endswith(_TIMINGS):
                counts.setdefault(found, Counter())[key] += 1
    metric = rules.metric or _named(rules) or _favorite(counts)
    aliases = {metric, canonical_metric(metric)} if metric not in METRICS else {metric}
    wanted = _LOSSES.get(metric, tuple(sorted(aliases)))

    def keys(split: str) -> tuple[str, ...]:
        some = [counts[split, name] for name in wanted if (split, name) in counts]
        return tuple(key for each in some for key, _ in each.most_common())

    validation = rules.validation or keys("validation")
    test = rules.test or keys("test")
    there = {key for run in runs for key in run.metrics}
    if not there & {*validation, *test}:
        asked = f"one of {', '.join((*validation, *test))}" if validation or test else (
            f"metrics such as eval_{metric or 'accuracy'}, val_{metric or 'accuracy'}"
        )  # fmt: skip
        raise HistoryError(
            f"metric {metric or 'accuracy'!r}: expected {asked} in {len(runs)} finished runs, such "
            f"as {runs[0].label}, got {', '.join(sorted(there)[:12]) or 'no metric'}: name them "
            "with --validation and --test"
        )
    return replace(rules, metric=metric, validation=validation, test=test)


def _named(rules: ImportRules) -> str:
    """The metric of the first key that was wished for."""
    return next((_metric_in(key) for key in (*rules.validation, *rules.test)), "")


def _metric_in(key: str) -> str:
    found = parse_metric_key(key)
    return found[1] if found else canonical_metric(key)


def _favorite(counts: Mapping[tuple[str, str], Counter[str]]) -> str:
    """A score rather than a loss, one that half of the runs have, and one that we know."""
    runs: Counter[str] = Counter()
    for (_, metric), keys in counts.items():
        runs[metric] = max(runs[metric], *keys.values())
    order = list(METRICS)
    most = max((n for metric, n in runs.items() if not is_minimized(metric)), default=0)

    def rank(metric: str) -> tuple[bool, bool, int, str]:
        known = order.index(metric) if metric in order else len(order)
        return is_minimized(metric) is True, 2 * runs[metric] < most, known, metric

    return min(runs, key=rank, default="")


def _direction(runs: Sequence[LoggedRun], rules: ImportRules) -> bool:
    """Whether lower is better, by the wish, the metric's name, or what HF Trainer was told."""
    known = (
        to_maximize(rules.metric, 1.0) < 0
        if rules.metric in METRICS
        else is_minimized(rules.metric)
    )
    if rules.minimize is not None and rules.metric in METRICS and rules.minimize != known:
        raise ConfigError(
            f"mixed directions: {rules.metric} is {_better(bool(known))}, "
            f"got --{'minimize' if rules.minimize else 'maximize'}: name another --metric"
        )
    lower = rules.minimize if rules.minimize is not None else known
    if lower is None:
        lower = _voted(runs, rules)
    keys = (*rules.validation, *rules.test)
    own = {key: way for key in keys if (way := is_minimized(_metric_in(key))) is not None}
    wrong = next((key for key, way in own.items() if way != lower), "")
    if wrong and (rules.minimize is None or len({*own.values()}) > 1):
        raise ConfigError(
            f"mixed directions: {wrong} is {_better(own[wrong])}, {rules.metric} is "
            f"{_better(lower)}: name keys of one metric with --validation, --test and --metric"
        )
    return lower


def _voted(runs: Sequence[LoggedRun], rules: ImportRules) -> bool:
    """What ``greater_is_better`` says where it is of this metric; else higher is better."""
    keys = {*rules.validation, *rules.test}
    votes: dict[bool, list[LoggedRun]] = {}
    for run in runs:
        best = run.params.get("metric_for_best_model", "")
        if {best, f"eval_{best}"} & keys and run.params.get("greater_is_better") in _SAID:
            votes.setdefault(_SAID[run.params["greater_is_better"]], []).append(run)
    if len(votes) > 1:
        raise ConfigError(
            f"mixed directions: greater_is_better of {rules.metric} is True in "
            f"{votes[False][0].label} and False in {votes[True][0].label}: "
            "say --maximize or --minimize"
        )
    return next(iter(votes), False)


#: value of ``greater_is_better`` -> lower is better
_SAID = {"True": False, "False": True}


def _better(lower: bool) -> str:
    return f"{'lower' if lower else 'higher'}-is-better"
