"""An export as a history, without a server."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.export.export_files import RUNS, read_models, read_runs
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.run_metrics import RunMetrics, read_run_metrics
from mlflow_recall.adapters.tracking.run_records import (
    adopted_record,
    benchmark_record,
    distinct_datasets,
)
from mlflow_recall.core.external_runs.rules import (
    MetricSource,
    compare_by_one_split,
    sources_from_json,
)
from mlflow_recall.core.history.metrics import METRICS, check_metric, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.resample import RecordedSteps
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import HistoryError

_FEATURE_TAGS = {"family": tags.FAMILY, "architecture": tags.ARCH, "upstream": tags.UPSTREAM}


class ExportHistory:
    """The files of ``history export`` as a history; see ``ports.Tables``.

    Args:
        folder: Folder of the export.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @staticmethod
    def is_one(folder: str | Path) -> bool:
        """Return whether a folder holds an export."""
        return (Path(folder) / RUNS).is_file()

    def metrics(self) -> tuple[str, ...]:
        """See ``ports.History.metrics``."""
        keys = {key for run in self._benchmark_runs for key in run["metrics"]}
        own = {name for name in METRICS if {f"val/{name}", f"test/{name}"} <= keys}
        return tuple(sorted(own | self._adopted_metrics))

    def is_loss(self, metric: str) -> bool:
        """See ``ports.History.is_loss``; the tags of adopted runs count before the name."""
        directions = [
            sources[metric].minimize for _, sources in self._adopted_runs if metric in sources
        ]
        return any(directions) if directions else to_maximize(metric, 1.0) < 0

    def records(self, metric: str) -> list[Record]:
        """Return the records of a metric; see ``ports.History.records``.

        Raises:
            HistoryError: The export has no fine-tuning, or none with this metric.
            ConfigError: The metric is unknown.
        """
        if not self._runs:
            raise HistoryError(f"{self._folder / RUNS}: expected fine-tunings, got none")
        # adopted runs may have metrics that this package does not know
        if metric != PRIMARY and metric not in self._adopted_metrics:
            check_metric(metric)
        chosen = self._run_metrics(metric)
        named = [(run, chosen.of_benchmark(run["tags"])) for run in self._benchmark_runs]
        records = [
            _benchmark_record(run, name) for run, name in named if run["metrics"].get(f"val/{name}")
        ]
        adopted = [
            (run, name, by[name])
            for run, by in self._adopted_runs
            if (name := chosen.of_adopted(run["tags"])) in by
        ]
        sources = compare_by_one_split(
            [(run["tags"].get(tags.DATASET, ""), source) for run, _, source in adopted]
        )
        records += [
            _adopted_record(run, source, name)
            for (run, name, _), source in zip(adopted, sources, strict=True)
        ]
        if not records:
            raise HistoryError(
                f"{self._folder}: metric {metric!r}: expected one of "
                f"{', '.join(self.metrics()) or 'none'}: name it with --metric"
            )
        return distinct_datasets(records)

    def left_out(self, metric: str) -> tuple[str, ...]:
        """See ``ports.History.left_out``."""
        return self._run_metrics(metric).left_out

    def _run_metrics(self, metric: str) -> RunMetrics:
        return read_run_metrics(
            metric,
            [(run["tags"], run["start"]) for run in self._benchmark_runs],
            [(run["tags"], sources.keys()) for run, sources in self._adopted_runs],
        )

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """See ``ports.Tables.scores``; an export has none."""
        return {}

    def curves(self, metric: str | None = None) -> list[RecordedSteps]:  # noqa: ARG002 - the port's signature
        """See ``ports.Tables.curves``; an export has none, because its records hold them."""
        return []

    def model_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.model_features``; these are family, architecture and upstream data."""
        models = list(read_models(self._folder))
        return {
            name: {model["title"]: model["tags"].get(tag, "") for model in models}
            for name, tag in _FEATURE_TAGS.items()
        }

    def dataset_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.dataset_features``; an export has none."""
        return {}

    @cached_property
    def _runs(self) -> list[dict[str, Any]]:
        return list(read_runs(self._folder))

    @cached_property
    def _benchmark_runs(self) -> list[dict[str, Any]]:
        return [run for run in self._runs if tags.SOURCES not in run["tags"]]

    @cached_property
    def _adopted_runs(self) -> list[tuple[dict[str, Any], dict[str, MetricSource]]]:
        """Adopted runs, each with metric -> where the run keeps it."""
        runs = [run for run in self._runs if tags.SOURCES in run["tags"]]
        return [(run, sources_from_json(run["tags"][tags.SOURCES])) for run in runs]

    @property
    def _adopted_metrics(self) -> set[str]:
        return {metric for _, sources in self._adopted_runs for metric in sources}


def _points(run: Mapping[str, Any], key: str) -> list[tuple[int, float]]:
    """Return the steps and values of a metric, by step; the last of several values counts."""
    return sorted(dict(run["metrics"].get(key, [])).items())


def _benchmark_record(run: Mapping[str, Any], metric: str) -> Record:
    keys = (f"val/{metric}", f"test/{metric}", "time/seconds")
    validation, test, seconds = ([value for _, value in _points(run, key)] for key in keys)
    final_score = test[-1] if test else math.nan
    return benchmark_record(run["tags"], metric, validation, test, seconds, final_score, run["run"])


def _adopted_record(run: Mapping[str, Any], source: MetricSource, metric: str) -> Record:
    def points(key: str) -> Sequence[tuple[int, float]]:
        return _points(run, key)

    logged = {key: _points(run, key)[-1][1] for key in run["metrics"] if run["metrics"][key]}
    return adopted_record(run["tags"], source, metric, logged, points, run["run"])
