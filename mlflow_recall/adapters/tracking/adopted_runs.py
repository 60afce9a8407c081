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

import yaml
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, RunTag
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.client import (
    adopted_experiments,
    ensure_experiment,
    metric_points,
    search_runs,
)
from mlflow_recall.adapters.tracking.run_records import adopted_curves
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import (
    ImportRules,
    InterpretedRun,
    MetricSource,
    sources_from_json,
    sources_to_json,
)
from mlflow_recall.errors import ConfigError, HistoryError

#: all tags that an adoption sets, and all that a release takes away
TAGS = (tags.ADOPTED, tags.MODEL, tags.DATASET, tags.MODALITY, tags.SOURCES, tags.CURVE)
#: keys of a file of rules beside those of ``Rules``
_OTHER = ("experiment", "filter")
_LISTS = ("model", "dataset", "validation", "test", "ignore", "experiment")
_MAPPINGS = ("models", "datasets")


@dataclass
class AdoptionSummary:
    """What an adoption did to the runs; each counts once."""

    adopted: int = 0
    known: int = 0
    updated: int = 0
    released: int = 0


class AdoptedRuns:
    """Reads what others logged, and tags it for one namespace.

    Args:
        client: of the tracking server.
        namespace: whose history the runs become.
    """

    def __init__(self, client: MlflowClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def read_runs(
        self, experiments: Sequence[Experiment], query: str | None = None
    ) -> list[LoggedRun]:
        """All runs of these experiments that match a filter.

        Raises:
            SettingError: MLflow does not understand the filter.
        """
        names = {str(each.experiment_id): str(each.name) for each in experiments}
        try:
            runs = list(search_runs(self._client, list(names), query or ""))
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"filter: expected one such as \"tags.team = 'x'\", got {query!r}: {reason}"
            ) from None
        return [_logged(run, names[str(run.info.experiment_id)]) for run in runs]

    def experiments(self, wanted: Sequence[str]) -> list[Experiment]:
        """Experiments by name, shell pattern or id.

        Raises:
            SettingError: one of them matches none; the message lists those that are there.
        """
        there: dict[str, Experiment] = {}
        everyone = list(_pages(self._client))
        for each in wanted:
            found = [e for e in everyone if e.name == each] or [
                e for e in everyone if fnmatchcase(e.name, each) or str(e.experiment_id) == each
            ]
            if not found:
                names = [e.name for e in everyone]
                more = f" and {len(names) - 12} more" if len(names) > 12 else ""
                raise ConfigError(
                    f"experiment: expected some of {', '.join(names[:12])}{more}, got {each!r}"
                )
            there.update({str(e.experiment_id): e for e in found})
        return list(there.values())

    def directions(self, metric: str) -> dict[bool, str]:
        """Lower is better or not, as a metric was adopted before -> a run of it."""
        home = self._client.get_experiment_by_name(f"{self._namespace}/benchmark")
        found: dict[bool, str] = {}
        if home is not None and (ids := adopted_experiments(home)):
            for run in search_runs(self._client, ids, self._mine):
                if source := _sources(run.data.tags).get(metric):
                    found.setdefault(source.minimize, f"{run.info.run_name} ({run.info.run_id})")
        return found

    def check_directions(self, wanted: Mapping[str, bool]) -> None:
        """A metric of one name has one direction in a namespace.

        Args:
            wanted: metric -> whether it is about to become history as a loss.

        Raises:
            HistoryError: it is history already, in the other direction.
        """
        told = {False: "a score", True: "a loss"}
        for name, minimize in wanted.items():
            if other := self.directions(name).get(not minimize):
                raise HistoryError(
                    f"metric {name!r}: expected {told[not minimize]} as in {other}, got "
                    f"{told[minimize]}: mixed directions; check --minimize, or give it another "
                    f"name with --metric NAME=OTHER"
                )

    def runs(self) -> list[Run]:
        """What is the namespace's history without being of its own making, wherever it is."""
        home = self._client.get_experiment_by_name(f"{self._namespace}/benchmark")
        there = adopted_experiments(home) if home is not None else []
        return list(
            search_runs(self._client, there, f"{self._mine} AND attributes.status = 'FINISHED'")
        )

    def record_experiments(self, experiments: Sequence[Experiment]) -> None:
        """Say in the namespace's own experiment where its adopted runs are, and that it changed."""
        home = self._client.get_experiment(
            ensure_experiment(self._client, f"{self._namespace}/benchmark")
        )
        ids = dict.fromkeys(
            [*adopted_experiments(home), *(str(e.experiment_id) for e in experiments)]
        )
        told = json.dumps({"experiments": list(ids), "changed": time.time_ns()})
        self._client.set_experiment_tag(home.experiment_id, tags.ADOPTED_FROM, told)

    def state(self, candidate: InterpretedRun, metric: str) -> str:
        """``known`` where the run's tags say all of it already, else ``adopted`` or ``updated``."""
        told = candidate.run.tags
        if any(told.get(tag) != value for tag, value in self._tags(candidate, metric).items()):
            return "updated" if candidate.run.adopted else "adopted"
        curve, _, _ = adopted_curves(told, metric)
        end = candidate.source.validation_scale * candidate.run.metrics.get(
            candidate.source.validation, math.nan
        )
        return "updated" if curve and not math.isclose(curve[-1], end, rel_tol=1e-9) else "known"

    def write(self, candidate: InterpretedRun, metric: str) -> None:
        """Tag one run, in one request; of its metrics only the history is read."""
        run, source = candidate.run, candidate.source
        curves = _object(run.tags.get(tags.CURVE, "{}"))
        for key, values in self._curves(run, source).items():
            curves[f"{key}/{metric}"] = values
        text = json.dumps({key: values for key, values in curves.items() if values})
        told = self._tags(candidate, metric)
        told[tags.CURVE] = text if len(text) <= tags.MAX_LENGTH else "{}"  # the metric is the truth
        entries = [RunTag(key, value) for key, value in told.items()]
        self._client.log_batch(run.run_id, tags=entries)

    def release(self, run: LoggedRun, metric: str = "") -> None:
        """Take back the tags that made a run history: of one metric, or of all."""
        sources = _sources(run.tags)
        sources.pop(metric, None)
        if metric and sources:
            self._client.set_tag(run.run_id, tags.SOURCES, sources_to_json(sources))
            return
        for tag in TAGS:
            if tag in run.tags:
                self._client.delete_tag(run.run_id, tag)

    @property
    def _mine(self) -> str:
        return f"tags.`{tags.ADOPTED}` = '{self._namespace}'"

    def _tags(self, candidate: InterpretedRun, metric: str) -> dict[str, str]:
        """Everything but the curve."""
        sources = {**_sources(candidate.run.tags), metric: candidate.source}
        return {
            tags.ADOPTED: self._namespace,
            tags.MODEL: candidate.model,
            tags.DATASET: candidate.dataset,
            tags.MODALITY: candidate.modality,
            tags.SOURCES: sources_to_json(sources),
        }

    def _curves(self, run: LoggedRun, source: MetricSource) -> dict[str, list[float]]:
        """Validation by stage; test too where every stage was tested; the run's time in shares."""
        if not source.validation:
            return {"val": [], "test": [], "seconds": []}
        points = metric_points(self._client, run.run_id, source.validation)
        validation = source.stages(points, source.validation_scale)
        tested = metric_points(self._client, run.run_id, source.test) if source.test else []
        each = source.stages(tested, source.test_scale) if len(tested) == len(points) else []
        total = run.metrics.get("train_runtime", (run.end_time - run.start_time) / 1000)
        stages = max(1, len(validation))
        seconds = [round(total / stages, 3)] * stages if math.isfinite(total) and total > 0 else []
        return {"val": validation, "test": each, "seconds": seconds}


def read_rules(path: str | Path) -> dict[str, Any]:
    """What a YAML file says of ``Rules``, and the experiments and filter that it is for.

    Raises:
        SettingError: no such file, an unknown key, or a value of the wrong kind.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as YAML: {reason}") from None
    known = sorted({f.name for f in fields(ImportRules)} - {"test_needed"} | {*_OTHER})
    if not isinstance(content, dict) or set(content) - set(known):
        strange = min(map(str, set(content) - set(known))) if isinstance(content, dict) else content
        raise ConfigError(f"{path}: expected some of the keys {', '.join(known)}, got {strange!r}")
    return {key: _setting(path, key, value) for key, value in content.items() if value is not None}


def _setting(path: str | Path, key: str, value: Any) -> Any:
    """A value of a file of rules, as the kind that its key asks for."""
    kinds: tuple[type, ...]
    if key in _MAPPINGS:
        kinds, wanted = (dict,), "a mapping"
    elif key in _LISTS:
        kinds, wanted = (str, list), "text or a list"
    elif key == "minimize":
        kinds, wanted = (bool,), "true or false"
    else:
        kinds, wanted = (str,), "text"
    if not isinstance(value, kinds):
        raise ConfigError(f"{path}: {key}: expected {wanted}, got {value!r}")
    if isinstance(value, dict):
        return {str(k): str(v) for k, v in value.items()}
    if key in _LISTS:
        return tuple(map(str, value if isinstance(value, list) else [value]))
    return value


def _logged(run: Run, experiment: str) -> LoggedRun:
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
        inputs=tuple(each.dataset.name for each in inputs),
        is_own=tags.KIND in run.data.tags,
        adopted=run.data.tags.get(tags.ADOPTED, ""),
    )


def _sources(told: Mapping[str, str]) -> dict[str, MetricSource]:
    return sources_from_json(told.get(tags.SOURCES, "{}"))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _pages(client: MlflowClient) -> Iterator[Experiment]:
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
