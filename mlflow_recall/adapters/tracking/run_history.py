"""Benchmark runs of one namespace, and runs that it adopted, as records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import (
    FINISHED,
    adopted_experiments,
    metric_points,
    search_adopted_runs,
    search_runs,
    without_copies,
)
from mlflow_recall.adapters.tracking.run_metrics import RunMetrics, read_run_metrics
from mlflow_recall.adapters.tracking.run_records import (
    adopted_record,
    benchmark_record,
    distinct_datasets,
    ends_with,
)
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.external_runs.rules import (
    MetricSource,
    compare_by_one_split,
    sources_from_json,
)
from mlflow_recall.core.history.metrics import METRICS, check_metric, to_maximize
from mlflow_recall.core.history.records import Record
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import HistoryError


class TrackingHistory:
    """Benchmark runs and adopted runs of one namespace as records; see ``ports.History``.

    Args:
        client: Client of the tracking server.
        namespace: Namespace whose experiment is ``<namespace>/benchmark``.
    """

    def __init__(self, client: MlflowClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.experiment = f"{namespace}/benchmark"
        self._runs: dict[str, Run] = {}
        self._latest_end = 0
        #: run id -> run, and metric -> where the run keeps it
        self._adopted: dict[str, tuple[Run, Mapping[str, MetricSource]]] = {}
        #: value of the experiment's tag when the adopted runs were fetched
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
        return tuple(sorted(own | self._adopted_metrics))

    def is_loss(self, metric: str) -> bool:
        """See ``ports.History.is_loss``; the tags of adopted runs count before the name."""
        self._update()
        directions = [
            sources[metric].minimize for _, sources in self._adopted.values() if metric in sources
        ]
        return any(directions) if directions else to_maximize(metric, 1.0) < 0

    def records(self, metric: str) -> list[Record]:
        """Return the records of a metric; see ``ports.History.records``.

        Raises:
            HistoryError: No run has this metric.
            ConfigError: The metric is unknown.
        """
        self._update()
        # adopted runs may have metrics that this package does not know
        if metric != PRIMARY and metric not in self._adopted_metrics:
            check_metric(metric)
        chosen = self._run_metrics(metric)
        records = [
            record
            for run in without_copies(self._runs.values())
            if (record := self._record(run, chosen.of_benchmark(run.data.tags)))
        ]
        adopted = [
            (run, name, by[name])
            for run, by in self._adopted.values()
            if (name := chosen.of_adopted(run.data.tags)) in by
        ]
        sources = compare_by_one_split(
            [(run.data.tags.get(tags.DATASET, ""), source) for run, _, source in adopted]
        )
        records += [
            adopted_record(
                run.data.tags,
                source,
                name,
                run.data.metrics,
                partial(metric_points, self._client, run.info.run_id),
                run.info.run_id,
            )
            for (run, name, _), source in zip(adopted, sources, strict=True)
        ]
        if not records:
            wanted = "" if metric == PRIMARY else f" with the metric {metric!r}"
            found = "; ".join(chosen.left_out) or "found none"
            raise HistoryError(
                f"experiment {self.experiment!r}: expected benchmark runs{wanted}, {found}: run "
                "`mlflow-recall benchmark` first, or try the example's zoo with --namespace "
                "recall/example"
            )
        return distinct_datasets(records)

    def left_out(self, metric: str) -> tuple[str, ...]:
        """See ``ports.History.left_out``."""
        self._update()
        return self._run_metrics(metric).left_out

    def _run_metrics(self, metric: str) -> RunMetrics:
        return read_run_metrics(
            metric,
            [(run.data.tags, run.info.start_time or 0) for run in self._runs.values()],
            [(run.data.tags, sources.keys()) for run, sources in self._adopted.values()],
        )

    def _update(self) -> None:
        """Fetch the runs that ended since the last call."""
        experiment = self._client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return
        query = (
            f"tags.`{tags.KIND}` = 'benchmark' AND attributes.status != 'RUNNING' "
            "AND attributes.status != 'FAILED'"
            + (f" AND attributes.end_time >= {self._latest_end}" if self._latest_end else "")
        )
        for run in search_runs(self._client, [str(experiment.experiment_id)], query):
            self._runs[run.info.run_id] = run
            self._latest_end = max(self._latest_end, run.info.end_time or 0)
        self._update_adopted(experiment)

    def _update_adopted(self, experiment: Experiment) -> None:
        """Fetch all adopted runs if the tag has changed, since runs may have been released."""
        adopted_from = experiment.tags.get(tags.ADOPTED_FROM, "")
        if adopted_from == self._adopted_from:
            return
        runs = search_adopted_runs(
            self._client, adopted_experiments(experiment), self._namespace, FINISHED
        )
        self._adopted = {
            run.info.run_id: (run, sources_from_json(run.data.tags.get(tags.SOURCES, "")))
            for run in runs
            if tags.MODEL in run.data.tags
        }
        self._adopted_from = adopted_from

    @property
    def _adopted_metrics(self) -> set[str]:
        return {metric for _, sources in self._adopted.values() for metric in sources}

    def _record(self, run: Run, metric: str) -> Record | None:
        """Return a run as a record; None where it lacks the metric or the model.

        The length of its curve decides whether it is complete, and not its status.
        """
        run_tags = run.data.tags
        if f"val/{metric}" not in run.data.metrics or tags.MODEL not in run_tags:
            return None
        final_score = run.data.metrics.get(f"test/{metric}", math.nan)
        validation, test, seconds = self._curves(run, metric)
        return benchmark_record(
            run_tags, metric, validation, test, seconds, final_score, run.info.run_id
        )

    def _curves(self, run: Run, metric: str) -> tuple[list[float], list[float], list[float]]:
        """Return validation scores, test scores and seconds of the stages.

        They come from the tag if it agrees with metrics and stage, else from the metric histories.
        """
        validation_key, test_key, logged = f"val/{metric}", f"test/{metric}", run.data.metrics
        # the tag is damaged or absent
        with suppress(ValueError, TypeError, LookupError, AttributeError, OverflowError):
            curves = parse_json(run.data.tags[tags.CURVE])
            validation = [float(value) for value in curves[validation_key]]
            test, seconds = (
                [float(value) for value in curves.get(key, ())] for key in (test_key, "seconds")
            )
            stages = int(run.data.tags.get(tags.STAGE, len(validation)))
            agrees = ends_with(validation, logged[validation_key]) and (
                not test or ends_with(test, logged[test_key])
            )
            if agrees and len(validation) == stages:
                return validation, test, seconds
        validation, test, seconds = (
            self._metric_values(run, key) for key in (validation_key, test_key, "time/seconds")
        )
        return validation, test, seconds

    def _metric_values(self, run: Run, key: str) -> list[float]:
        if key not in run.data.metrics:
            return []
        return [value for _, value in metric_points(self._client, run.info.run_id, key)]
