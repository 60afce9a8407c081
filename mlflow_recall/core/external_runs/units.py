"""The unit of scores: a fraction of 1, or percent; it is one for a metric of an experiment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from mlflow_recall.core.external_runs.logging_conventions import (
    LoggedRun,
    is_percent_name,
    metric_family,
    says_percent,
)
from mlflow_recall.core.formatting import count_of
from mlflow_recall.errors import ConfigError

#: unit -> factor that makes a fraction of it
UNITS: Mapping[str, float] = {"fraction": 1.0, "percent": 0.01}


def infer_units(runs: Iterable[LoggedRun], keys: Iterable[str]) -> dict[str, str]:
    """Return the unit of each metric key, decided by all values of the experiment.

    Keys that differ only in their split, such as ``val_acc`` and ``test_acc``, have one unit, and
    so have ``top1`` and ``top5``. Values above 100 are in neither unit and do not count.

    Args:
        runs: Runs of one experiment.
        keys: Metric keys whose scores are at most 1 by definition.

    Raises:
        ConfigError: Values and name do not tell the unit.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for key, value in run.metrics.items():
            if abs(value) <= 100:
                values[metric_family(key)].append(abs(value))
    return {key: _infer_unit(key, values[metric_family(key)]) for key in keys}


def _infer_unit(key: str, values: list[float]) -> str:
    # a score of exactly 1 may be off by rounding
    percent = sum(value > 1 + 1e-6 for value in values)
    fractions = len(values) - percent
    if says_percent(key) or (percent and (percent >= fractions or is_percent_name(key))):
        return "percent"
    if not percent and (not is_percent_name(key) or math.isclose(max(values, default=0.0), 0.0)):
        return "fraction"
    got = f"{count_of(fractions, 'value')} up to 1" + (f" and {percent} above" if percent else "")
    raise ConfigError(
        f"{key}: expected one unit, got {got}: name it with --unit percent or --unit fraction"
    )
