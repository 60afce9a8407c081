"""Rules that are inferred from the params, tags and metrics of the runs at hand."""

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
from mlflow_recall.core.external_runs.units import infer_units
from mlflow_recall.core.history.metrics import METRICS, lowest_value, to_maximize
from mlflow_recall.errors import ConfigError, HistoryError

#: ends of the names of metrics that measure time
_TIMINGS = ("runtime", "per_second", "preparation_time", "jit_compilation_time", "_time")
#: metric -> names that training code gives it where it is the loss that is trained on
_LOSSES: Mapping[str, tuple[str, ...]] = {"log_loss": ("log_loss", "loss")}
#: value of ``greater_is_better`` -> whether lower is better
_IS_MINIMIZED = {"True": False, "False": True}


def infer_rules(runs: Sequence[LoggedRun], requested: ImportRules) -> ImportRules:
    """Complete the requested rules by the names that training code uses.

    Args:
        runs: Runs of one experiment, so that other experiments change nothing.
        requested: Rules of the user; empty fields are inferred.

    Raises:
        HistoryError: There is no finished run, or none with a model, a dataset or a score. The
            message names the expected keys and those that the runs have.
        ConfigError: Validation, test and metric have different directions, or the unit of the
            scores cannot be told.
    """
    usable = [run for run in runs if run.status == "FINISHED" and not run.is_own]
    if not usable:
        states = ", ".join(f"{n} {s}" for s, n in Counter(r.status for r in runs).items())
        raise HistoryError(
            f"adopt: expected finished runs of others, got {states or 'none'}: look for them with "
            "another --experiment or --filter"
        )
    rules = replace(
        requested,
        model=requested.model or _infer_keys(usable, MODEL_KEYS, "model"),
        dataset=requested.dataset or _infer_keys(usable, DATASET_KEYS, "dataset"),
        test_needed=bool(requested.test),
    )
    for role, keys in (("model", rules.model), ("dataset", rules.dataset)):
        if not any(read_value(run, key) for run in usable for key in keys):
            raise _no_key_error(usable, role, keys)
    rules = _infer_metric(usable, rules)
    rules = replace(rules, minimize=_infer_direction(usable, rules))
    return replace(rules, units=_infer_units(usable, rules))


def _infer_units(runs: Sequence[LoggedRun], rules: ImportRules) -> dict[str, str]:
    """Return metric key -> unit; empty for metrics that have none."""
    keys = dict.fromkeys((*rules.validation, *rules.test))
    if lowest_value(rules.metric) is None:
        return {}
    return dict.fromkeys(keys, rules.unit) if rules.unit else infer_units(runs, keys)


def _infer_keys(runs: Sequence[LoggedRun], names: Iterable[str], role: str) -> tuple[str, ...]:
    """Return as few keys as cover the runs; keys whose values vary have precedence."""
    values_of = {}
    for name in names:
        for kind in ("params", "tags"):
            key = "+".join(f"{kind}.{part}" for part in name.split("+"))
            if all(any(read_value(run, part) for run in runs) for part in key.split("+")):
                values_of[key] = [read_value(run, key) for run in runs]
    if role == "dataset":
        values_of["inputs"] = [read_value(run, "inputs") for run in runs]
    ordered = sorted(values_of, key=lambda key: len({*values_of[key]} - {""}) < min(2, len(runs)))
    chosen, covered = [], [False] * len(runs)
    for key in ordered:
        values = values_of[key]
        if any(value and not done for value, done in zip(values, covered, strict=True)):
            chosen.append(key)
            covered = [bool(value) or done for value, done in zip(values, covered, strict=True)]
    if not chosen and role == "dataset":
        return ("experiment",)
    if not chosen:
        raise _no_key_error(runs, role, names)
    return tuple(chosen)


def _no_key_error(runs: Sequence[LoggedRun], role: str, keys: Iterable[str]) -> HistoryError:
    """Make the error for runs without a model or dataset; it lists the params that differ."""
    differing = differing_params(runs, ImportRules())
    hint = f" (they differ in params.{', params.'.join(differing[:6])})" if differing else ""
    more = ", inputs or experiment" if role == "dataset" else ""
    return HistoryError(
        f"{role}: none of {len(runs)} finished runs, such as {runs[0].label}, has one of "
        f"{', '.join(keys)}{hint}: name it with --{role} params.KEY, tags.KEY{more}"
    )


def _infer_metric(runs: Sequence[LoggedRun], rules: ImportRules) -> ImportRules:
    """Complete the metric, and the keys of its validation curve and test score."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for run in runs:
        for key in run.metrics:
            if (parsed := parse_metric_key(key)) and not parsed[1].endswith(_TIMINGS):
                counts.setdefault(parsed, Counter())[key] += 1
    metric = rules.metric or _metric_of_keys(rules) or _most_suitable_metric(counts)
    aliases = {metric, canonical_metric(metric)} if metric not in METRICS else {metric}
    names = _LOSSES.get(metric, tuple(sorted(aliases)))

    def keys_of(split: str) -> tuple[str, ...]:
        key_counts = [counts[split, name] for name in names if (split, name) in counts]
        return tuple(key for count in key_counts for key, _ in count.most_common())

    validation = rules.validation or keys_of("validation")
    test = rules.test or keys_of("test")
    logged = {key for run in runs for key in run.metrics}
    if not logged & {*validation, *test}:
        expected = f"one of {', '.join((*validation, *test))}" if validation or test else (
            f"metrics such as eval_{metric or 'accuracy'}, val_{metric or 'accuracy'}"
        )  # fmt: skip
        raise HistoryError(
            f"metric {metric or 'accuracy'!r}: expected {expected} in {len(runs)} finished runs, "
            f"such as {runs[0].label}, got {', '.join(sorted(logged)[:12]) or 'no metric'}: "
            "name them with --validation and --test"
        )
    return replace(rules, metric=metric, validation=validation, test=test)


def _metric_of_keys(rules: ImportRules) -> str:
    """Return the metric of the first requested key; empty without any."""
    return next((_metric_of(key) for key in (*rules.validation, *rules.test)), "")


def _metric_of(key: str) -> str:
    parsed = parse_metric_key(key)
    return parsed[1] if parsed else canonical_metric(key)


def _most_suitable_metric(counts: Mapping[tuple[str, str], Counter[str]]) -> str:
    """Return a score rather than a loss, then one that half of the runs have, then a known one.

    Args:
        counts: Split and metric -> number of runs that logged each of its keys.
    """
    runs_with: Counter[str] = Counter()
    for (_, metric), keys in counts.items():
        runs_with[metric] = max(runs_with[metric], *keys.values())
    order = list(METRICS)
    most = max((n for metric, n in runs_with.items() if not is_minimized(metric)), default=0)

    def rank(metric: str) -> tuple[bool, bool, int, str]:
        position = order.index(metric) if metric in order else len(order)
        return is_minimized(metric) is True, 2 * runs_with[metric] < most, position, metric

    return min(runs_with, key=rank, default="")


def _infer_direction(runs: Sequence[LoggedRun], rules: ImportRules) -> bool:
    """Return whether lower is better, by the rules, the metric's name, or HF Trainer's params."""
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
        lower = _direction_by_params(runs, rules)
    keys = (*rules.validation, *rules.test)
    directions = {key: way for key in keys if (way := is_minimized(_metric_of(key))) is not None}
    wrong = next((key for key, direction in directions.items() if direction != lower), "")
    if wrong and (rules.minimize is None or len({*directions.values()}) > 1):
        raise ConfigError(
            f"mixed directions: {wrong} is {_better(directions[wrong])}, {rules.metric} is "
            f"{_better(lower)}: name keys of one metric with --validation, --test and --metric"
        )
    return lower


def _direction_by_params(runs: Sequence[LoggedRun], rules: ImportRules) -> bool:
    """Return whether lower is better by ``greater_is_better`` of this metric; else False."""
    keys = {*rules.validation, *rules.test}
    votes: dict[bool, list[LoggedRun]] = {}
    for run in runs:
        best = run.params.get("metric_for_best_model", "")
        greater = run.params.get("greater_is_better")
        if {best, f"eval_{best}"} & keys and greater in _IS_MINIMIZED:
            votes.setdefault(_IS_MINIMIZED[greater], []).append(run)
    if len(votes) > 1:
        raise ConfigError(
            f"mixed directions: greater_is_better of {rules.metric} is True in "
            f"{votes[False][0].label} and False in {votes[True][0].label}: "
            "add --maximize or --minimize"
        )
    return next(iter(votes), False)


def _better(lower: bool) -> str:
    return f"{'lower' if lower else 'higher'}-is-better"
