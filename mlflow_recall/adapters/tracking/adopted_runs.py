"""Runs of any experiment as plain data, and the tags that make some of them history."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, RunTag
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.manifests.bounded_yaml import read_yaml
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import (
    FINISHED,
    adopted_experiments,
    ensure_experiment,
    metric_points,
    search_adopted_runs,
    search_runs,
)
from mlflow_recall.adapters.tracking.run_records import adopted_curves
from mlflow_recall.bounded_json import parse_object
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    InterpretedRun,
    MetricSource,
    sources_from_json,
    sources_to_json,
)
from mlflow_recall.core.formatting import join_names
from mlflow_recall.errors import ConfigError, HistoryError

#: tags that an adoption sets and a release deletes
TAGS = (tags.ADOPTED, tags.MODEL, tags.DATASET, tags.MODALITY, tags.SOURCES, tags.CURVE)
#: keys of a file of rules that are no fields of ``ImportRules``
_RUN_KEYS = ("experiment", "filter")
#: keys whose value is text or a list
_LIST_KEYS = ("model", "dataset", "validation", "test", "ignore", "experiment")
#: keys whose value is a mapping
_MAPPING_KEYS = ("models", "datasets")
#: fields of ``ImportRules`` that no user sets
_INFERRED = {"test_needed", "units"}


@dataclass
class AdoptionSummary:
    """Numbers of runs by what an adoption did to them; each run counts once."""

    adopted: int = 0
    known: int = 0
    updated: int = 0
    released: int = 0


class AdoptedRuns:
    """Reads runs that other code logged, and tags them as history of one namespace.

    Args:
        client: Client of the tracking server.
        namespace: Namespace whose history the runs become.
    """

    def __init__(self, client: MlflowClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def read_runs(
        self, experiments: Sequence[Experiment], query: str | None = None
    ) -> list[LoggedRun]:
        """Return all runs of these experiments that match a filter.

        Args:
            experiments: Experiments to search.
            query: Filter in MLflow's syntax; None: all runs.

        Raises:
            ConfigError: MLflow does not understand the filter.
        """
        names = {str(e.experiment_id): str(e.name) for e in experiments}
        try:
            runs = list(search_runs(self._client, list(names), query or ""))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"filter: expected one such as \"tags.team = 'x'\", got {query!r}: {reason}"
            ) from None
        return [_to_logged_run(run, names[str(run.info.experiment_id)]) for run in runs]

    def experiments(self, patterns: Sequence[str]) -> list[Experiment]:
        """Return the experiments with these names, shell patterns or ids.

        Raises:
            ConfigError: One of them matches no experiment; the message lists the experiments.
        """
        selected: dict[str, Experiment] = {}
        experiments = list(_all_experiments(self._client))
        for pattern in patterns:
            matches = [e for e in experiments if e.name == pattern] or [
                e
                for e in experiments
                if fnmatchcase(e.name, pattern) or str(e.experiment_id) == pattern
            ]
            if not matches:
                names = join_names(e.name for e in experiments)
                raise ConfigError(f"experiment: expected some of {names}, got {pattern!r}")
            selected.update({str(e.experiment_id): e for e in matches})
        return list(selected.values())

    def directions(self, metric: str) -> dict[bool, str]:
        """Return whether lower is better -> a run with that direction, of an adopted metric."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        run_of: dict[bool, str] = {}
        if experiment is not None and (ids := adopted_experiments(experiment)):
            for run in search_adopted_runs(self._client, ids, self._namespace):
                if source := _sources(run.data.tags).get(metric):
                    run_of.setdefault(source.minimize, f"{run.info.run_name} ({run.info.run_id})")
        return run_of

    def check_directions(self, directions: Mapping[str, bool]) -> None:
        """Check that every metric has one direction in the namespace.

        Args:
            directions: Metric -> whether it is about to become history as a loss.

        Raises:
            HistoryError: A metric is history already, in the other direction.
        """
        kinds = {False: "a score", True: "a loss"}
        for name, minimize in directions.items():
            if other := self.directions(name).get(not minimize):
                raise HistoryError(
                    f"metric {name!r}: expected {kinds[not minimize]} as in {other}, got "
                    f"{kinds[minimize]}: mixed directions; check --minimize, or give it another "
                    f"name with --metric NAME=OTHER"
                )

    def runs(self) -> list[Run]:
        """Return the finished runs that the namespace adopted or imported from tables."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        ids = adopted_experiments(experiment) if experiment is not None else []
        return list(search_adopted_runs(self._client, ids, self._namespace, FINISHED))

    def record_experiments(self, experiments: Sequence[Experiment]) -> None:
        """Record in the namespace's experiment where its adopted runs are, and that they changed.

        Args:
            experiments: Experiments with runs that are about to be adopted or released, or were.
        """
        experiment = self._client.get_experiment(ensure_experiment(self._client, self._experiment))
        ids = dict.fromkeys(
            [*adopted_experiments(experiment), *(str(e.experiment_id) for e in experiments)]
        )
        value = json.dumps({"experiments": list(ids), "changed": time.time_ns()})
        self._client.set_experiment_tag(experiment.experiment_id, tags.ADOPTED_FROM, value)

    def state(self, candidate: InterpretedRun, metric: str) -> str:
        """Return ``known`` if the run's tags are complete, else ``adopted`` or ``updated``."""
        run_tags = candidate.run.tags
        if any(run_tags.get(tag) != value for tag, value in self._tags(candidate, metric).items()):
            return "updated" if candidate.run.adopted else "adopted"
        curve, _, _ = adopted_curves(run_tags, metric)
        last = candidate.source.validation_scale * candidate.run.metrics.get(
            candidate.source.validation, math.nan
        )
        return "updated" if curve and not math.isclose(curve[-1], last, rel_tol=1e-9) else "known"

    def write(self, candidate: InterpretedRun, metric: str) -> None:
        """Write the tags of one run in one request; its metric histories are read for the curve."""
        run, source = candidate.run, candidate.source
        curves = parse_object(run.tags.get(tags.CURVE, "{}"))
        for key, values in self._curves(run, source).items():
            curves[f"{key}/{metric}"] = values
        text = json.dumps({key: values for key, values in curves.items() if values})
        run_tags = self._tags(candidate, metric)
        # without the tag, readers use the metric histories
        run_tags[tags.CURVE] = text if len(text) <= tags.MAX_LENGTH else "{}"
        entries = [RunTag(key, value) for key, value in run_tags.items()]
        self._client.log_batch(run.run_id, tags=entries)

    def release(self, run: LoggedRun, metric: str | None = None) -> None:
        """Delete the tags that make a run history.

        Args:
            run: Adopted run.
            metric: Metric that is released; None: all.
        """
        sources = _sources(run.tags)
        if metric:
            sources.pop(metric, None)
        if metric and sources:
            self._client.set_tag(run.run_id, tags.SOURCES, sources_to_json(sources))
            return
        for tag in TAGS:
            if tag in run.tags:
                self._client.delete_tag(run.run_id, tag)

    @property
    def _experiment(self) -> str:
        return f"{self._namespace}/benchmark"

    def _tags(self, candidate: InterpretedRun, metric: str) -> dict[str, str]:
        """Return the tags of an adopted run, except its curve."""
        sources = {**_sources(candidate.run.tags), metric: candidate.source}
        return {
            tags.ADOPTED: self._namespace,
            tags.MODEL: candidate.model,
            tags.DATASET: candidate.dataset,
            tags.MODALITY: candidate.modality,
            tags.SOURCES: sources_to_json(sources),
        }

    def _curves(self, run: LoggedRun, source: MetricSource) -> dict[str, list[float]]:
        """Return validation scores, test scores and seconds of the stages.

        There are test scores only if every stage was tested. The run's time is divided equally.
        """
        if not source.validation:
            return {"val": [], "test": [], "seconds": []}
        points = metric_points(self._client, run.run_id, source.validation)
        validation = source.stages(points, source.validation_scale)
        test_points = metric_points(self._client, run.run_id, source.test) if source.test else []
        is_parallel = len(test_points) == len(points)
        test = source.stages(test_points, source.test_scale) if is_parallel else []
        total = run.metrics.get("train_runtime", (run.end_time - run.start_time) / 1000)
        stages = max(1, len(validation))
        seconds = [round(total / stages, 3)] * stages if math.isfinite(total) and total > 0 else []
        return {"val": validation, "test": test, "seconds": seconds}


def read_rules(path: str | Path) -> dict[str, Any]:
    """Read a YAML file with fields of ``ImportRules``, and with experiments and a filter.

    Raises:
        ConfigError: There is no such file, a key is unknown, or a value has the wrong type.
    """
    content = read_yaml(Path(path))
    known = sorted({f.name for f in fields(ImportRules)} - _INFERRED | {*_RUN_KEYS})
    if not isinstance(content, dict) or set(content) - set(known):
        unknown = min(map(str, set(content) - set(known))) if isinstance(content, dict) else content
        raise ConfigError(
            f"{path}: expected some of the keys {', '.join(known)}, got {unknown!r:.60}"
        )
    return {
        key: _convert_value(path, key, value) for key, value in content.items() if value is not None
    }


def _convert_value(path: str | Path, key: str, value: Any) -> Any:
    """Return a value of a file of rules, in the type of its key.

    Raises:
        ConfigError: The value has another type.
    """
    types: tuple[type, ...]
    if key in _MAPPING_KEYS:
        types, expected = (dict,), "a mapping"
    elif key in _LIST_KEYS:
        types, expected = (str, list), "text or a list"
    elif key == "minimize":
        types, expected = (bool,), "true or false"
    else:
        types, expected = (str,), "text"
    if not isinstance(value, types):
        raise ConfigError(f"{path}: {key}: expected {expected}, got {value!r}")
    if isinstance(value, dict):
        return {str(k): str(v) for k, v in value.items()}
    if key in _LIST_KEYS:
        return tuple(map(str, value if isinstance(value, list) else [value]))
    return value


def _to_logged_run(run: Run, experiment: str) -> LoggedRun:
    inputs = run.inputs.dataset_inputs if run.inputs else ()
    return LoggedRun(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        experiment=experiment,
        status=run.info.status,
        start_time=run.info.start_time or 0,
        end_time=run.info.end_time or 0,
        params=run.data.params,
        tags=run.data.tags,
        metrics=run.data.metrics,
        steps={metric.key: metric.step for metric in run.data.to_proto().metrics},
        inputs=tuple(dataset_input.dataset.name for dataset_input in inputs),
        is_own=tags.KIND in run.data.tags,
        adopted=run.data.tags.get(tags.ADOPTED, ""),
    )


def _sources(run_tags: Mapping[str, str]) -> dict[str, MetricSource]:
    return sources_from_json(run_tags.get(tags.SOURCES, "{}"))


def _all_experiments(client: MlflowClient) -> Iterator[Experiment]:
    """Yield all experiments, page by page."""
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
