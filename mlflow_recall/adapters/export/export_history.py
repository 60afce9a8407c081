"""An export as a history of its own, without a server."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.export.export_files import RUNS, read_models, read_runs
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.run_records import (
    adopted_record,
    benchmark_record,
    distinct_datasets,
)
from mlflow_recall.core.external_runs.rules import MetricSource, sources_from_json
from mlflow_recall.core.history.metrics import METRICS, check_metric, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.resample import RecordedSteps
from mlflow_recall.errors import HistoryError

_FEATURES = {"family": tags.FAMILY, "architecture": tags.ARCH, "upstream": tags.UPSTREAM}


class ExportHistory:
    """What ``history export`` wrote, as it lies there; see ``ports.Tables``.

    Args:
        folder: with its ``runs.jsonl``.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @staticmethod
    def is_one(folder: str | Path) -> bool:
        """Whether a folder holds an export."""
        return (Path(folder) / RUNS).is_file()

    def metrics(self) -> tuple[str, ...]:
        """See ``ports.History.metrics``."""
        keys = {key for run in self._own for key in run["metrics"]}
        both = {name for name in METRICS if {f"val/{name}", f"test/{name}"} <= keys}
        return tuple(sorted(both | self._foreign))

    def is_loss(self, metric: str) -> bool:
        """See ``ports.History.is_loss``: what was said of adopted runs, or the name says it."""
        told = [sources[metric].minimize for _, sources in self._adopted if metric in sources]
        return any(told) if told else to_maximize(metric, 1.0) < 0

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``; without a metric, the only one there is."""
        if not self._runs:
            raise HistoryError(f"{self._folder / RUNS}: expected fine-tunings, got none")
        there = self.metrics()
        if not metric and len(there) == 1:
            metric = there[0]
        if metric and metric not in self._foreign:  # adopted runs may know metrics that we do not
            check_metric(metric)
        found = [_record(run, metric) for run in self._own if run["metrics"].get(f"val/{metric}")]
        found += [
            _adopted(run, sources[metric], metric)
            for run, sources in self._adopted
            if metric in sources
        ]
        if not found:
            raise HistoryError(
                f"{self._folder}: metric {metric!r}: expected one of "
                f"{', '.join(there) or 'none'}: name it with --metric"
            )
        return distinct_datasets(found)

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """See ``ports.Tables.scores``; an export has none."""
        return {}

    def curves(self, metric: str | None = None) -> list[RecordedSteps]:  # noqa: ARG002 - the port's signature
        """See ``ports.Tables``: every record carries its own."""
        return []

    def model_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.model_features``: family, architecture and upstream data."""
        models = list(read_models(self._folder))
        return {
            name: {model["title"]: model["tags"].get(tag, "") for model in models}
            for name, tag in _FEATURES.items()
        }

    def dataset_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.dataset_features``; an export has none."""
        return {}

    @cached_property
    def _runs(self) -> list[dict[str, Any]]:
        return list(read_runs(self._folder))

    @cached_property
    def _own(self) -> list[dict[str, Any]]:
        return [run for run in self._runs if tags.SOURCES not in run["tags"]]

    @cached_property
    def _adopted(self) -> list[tuple[dict[str, Any], dict[str, MetricSource]]]:
        """Runs of others, and where each keeps its metrics."""
        told = [run for run in self._runs if tags.SOURCES in run["tags"]]
        return [(run, sources_from_json(run["tags"][tags.SOURCES])) for run in told]

    @property
    def _foreign(self) -> set[str]:
        return {metric for _, sources in self._adopted for metric in sources}


def _points(run: Mapping[str, Any], key: str) -> list[tuple[int, float]]:
    """Step and value in order of steps; of several values of a step the last."""
    return sorted(dict(run["metrics"].get(key, [])).items())


def _record(run: Mapping[str, Any], metric: str) -> Record:
    keys = (f"val/{metric}", f"test/{metric}", "time/seconds")
    validation, tested, seconds = ([value for _, value in _points(run, key)] for key in keys)
    test = tested[-1] if tested else math.nan
    return benchmark_record(run["tags"], metric, validation, tested, seconds, test, run["run"])


def _adopted(run: Mapping[str, Any], source: MetricSource, metric: str) -> Record:
    def points(key: str) -> Sequence[tuple[int, float]]:
        return _points(run, key)

    logged = {key: _points(run, key)[-1][1] for key in run["metrics"] if run["metrics"][key]}
    return adopted_record(run["tags"], source, metric, logged, points, run["run"])
