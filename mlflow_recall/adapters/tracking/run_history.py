"""Benchmark runs of one namespace, and runs that it adopted, as records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import adopted_experiments, metric_points, search_runs
from mlflow_recall.adapters.tracking.run_records import (
    adopted_record,
    benchmark_record,
    distinct_datasets,
    ends_with,
)
from mlflow_recall.core.external_runs.rules import MetricSource, sources_from_json
from mlflow_recall.core.history.metrics import METRICS, check_metric, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.errors import HistoryError


class TrackingHistory:
    """Benchmark runs of one namespace, and runs adopted by it, as records; see ``ports.History``.

    Args:
        client: of the tracking server.
        namespace: its experiment is ``<namespace>/benchmark``.
    """

    def __init__(self, client: MlflowClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.experiment = f"{namespace}/benchmark"
        self._runs: dict[str, Run] = {}
        self._latest = 0
        #: run id -> run and where it keeps its metrics, as of the tag that says what was adopted
        self._adopted: dict[str, tuple[Run, Mapping[str, MetricSource]]] = {}
        self._adopted_from = ""

    def metrics(self) -> tuple[str, ...]:
        """See ``ports.History.metrics``."""
        self._update()
        runs = [r.data.metrics for r in self._runs.values() if tags.MODEL in r.data.tags]
        own = {
            name
            for name in METRICS
            if any({f"val/{name}", f"test/{name}"} <= logged.keys() for logged in runs)
        }
        return tuple(sorted(own | self._foreign))

    def is_loss(self, metric: str) -> bool:
        """See ``ports.History.is_loss``: what was said of adopted runs, or the name says it."""
        self._update()
        told = [s[metric].minimize for _, s in self._adopted.values() if metric in s]
        return any(told) if told else to_maximize(metric, 1.0) < 0

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``."""
        self._update()
        if metric not in self._foreign:  # adopted runs may know metrics that we do not
            check_metric(metric)
        records = [record for run in self._runs.values() if (record := self._record(run, metric))]
        records += [
            adopted_record(
                run.data.tags,
                sources[metric],
                metric,
                run.data.metrics,
                partial(metric_points, self._client, run.info.run_id),
                run.info.run_id,
            )
            for run, sources in self._adopted.values()
            if metric in sources
        ]
        if not records:
            raise HistoryError(
                f"experiment {self.experiment!r}: expected benchmark runs with the metric "
                f"{metric!r}, found none: run `mlflow-recall benchmark` first, or try the "
                "example's zoo with --namespace recall/example"
            )
        return distinct_datasets(records)

    def _update(self) -> None:
        """Fetch what ended since the last time."""
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            return
        query = (
            f"tags.`{tags.KIND}` = 'benchmark' AND attributes.status != 'RUNNING' "
            "AND attributes.status != 'FAILED'"
            + (f" AND attributes.end_time >= {self._latest}" if self._latest else "")
        )
        for run in search_runs(self._client, [str(found.experiment_id)], query):
            self._runs[run.info.run_id] = run
            self._latest = max(self._latest, run.info.end_time or 0)
        self._update_adopted(found)

    def _update_adopted(self, found: Experiment) -> None:
        """Fetch all runs that were adopted, if there is news; some may have been released."""
        told = found.tags.get(tags.ADOPTED_FROM, "")
        if told == self._adopted_from:
            return
        query = f"tags.`{tags.ADOPTED}` = '{self._namespace}' AND attributes.status = 'FINISHED'"
        self._adopted = {
            run.info.run_id: (run, sources_from_json(run.data.tags.get(tags.SOURCES, "")))
            for run in search_runs(self._client, adopted_experiments(found), query)
            if tags.MODEL in run.data.tags
        }
        self._adopted_from = told

    @property
    def _foreign(self) -> set[str]:
        """Metrics of adopted runs."""
        return {metric for _, sources in self._adopted.values() for metric in sources}

    def _record(self, run: Run, metric: str) -> Record | None:
        """A run as a record; its status is never trusted alone, its curve is."""
        told = run.data.tags
        if f"val/{metric}" not in run.data.metrics or tags.MODEL not in told:
            return None
        test = run.data.metrics.get(f"test/{metric}", math.nan)
        return benchmark_record(told, metric, *self._curves(run, metric), test, run.info.run_id)

    def _curves(self, run: Run, metric: str) -> tuple[list[float], list[float], list[float]]:
        """Validation, test as often as it was made, and seconds.

        From the tag where it agrees with metrics and stage, else from the metrics' history.
        """
        key, test, logged = f"val/{metric}", f"test/{metric}", run.data.metrics
        with suppress(ValueError, TypeError, LookupError):  # a tag that says nothing
            curves = json.loads(run.data.tags[tags.CURVE])
            told = [float(value) for value in curves[key]]
            tested, seconds = (
                [float(value) for value in curves.get(name, ())] for name in (test, "seconds")
            )
            stages = int(run.data.tags.get(tags.STAGE, len(told)))
            agrees = ends_with(told, logged[key]) and (
                not tested or ends_with(tested, logged[test])
            )
            if agrees and len(told) == stages:
                return told, tested, seconds
        told, tested = self._history(run, key), self._history(run, test)
        return told, tested, self._history(run, "time/seconds")

    def _history(self, run: Run, key: str) -> list[float]:
        if key not in run.data.metrics:
            return []
        return [value for _, value in metric_points(self._client, run.info.run_id, key)]
