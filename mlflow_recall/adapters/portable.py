"""A zoo with its history as text files that any MLflow store can take in.

``runs.jsonl`` holds one benchmark run a line, with parameters, tags and whole metric histories;
``models.jsonl`` one registered model a line, with its newest version. No database, no paths of the
machine that wrote it: names are those of the zoo, without the namespace they are imported into.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.ownership import owner
from mlflow_recall.adapters.registry import MlflowRegistry
from mlflow_recall.adapters.tracking import ensure_experiment, record_of, search_runs
from mlflow_recall.core.metrics import METRICS, check_metric, oriented
from mlflow_recall.core.records import Member, Record
from mlflow_recall.core.stages import Steps
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Voice

_RUNS, _MODELS = "runs.jsonl", "models.jsonl"
#: metrics and parameters of one request: the server takes a thousand entries
_BATCH = 900
_RUN_KEYS = ("run", "name", "start", "end", "tags", "params", "metrics")
_MODEL_KEYS = ("title", "tags")
_IMPORTED = "recall.imported"  # id of the run in the store it was exported from
_FEATURES = {"family": tags.FAMILY, "architecture": tags.ARCH, "upstream": "recall.upstream"}
_LOCAL = {
    *(tags.OWNER, tags.HEARTBEAT, tags.CLUSTERED_BY, tags.NAMESPACE, tags.SPEC, "mlflow.user"),
}


@dataclass(frozen=True)
class Moved:
    """How much an import or export moved, and how much was there already."""

    runs: int
    models: int
    known: int = 0


class Portable:
    """Moves one namespace between an MLflow store and a folder.

    Args:
        client: of the store.
        namespace: its experiment is ``<namespace>/benchmark``.
        registry: of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._experiment = f"{namespace}/benchmark"
        self._namespace = namespace
        self._registry = registry

    def export(self, folder: Path, voice: Voice) -> Moved:
        """Write every finished benchmark run and every registered model of the namespace.

        A finished run never changes, so the lines that the folder has of it are kept.

        Raises:
            HistoryError: there is nothing to export.
        """
        found = self._client.get_experiment_by_name(self._experiment)
        query = f"tags.`{tags.KIND}` = 'benchmark' AND attributes.status = 'FINISHED'"
        runs = list(search_runs(self._client, [str(found.experiment_id)], query)) if found else []
        if not runs:
            raise HistoryError(f"experiment {self._experiment!r}: expected finished runs, got none")
        folder.mkdir(parents=True, exist_ok=True)
        there = _lines(folder / _RUNS)
        with voice.progress("export", len(runs)) as bar:
            lines = []
            for run in sorted(runs, key=_order):
                line = there.get(_origin(run))
                lines.append(line or json.dumps(self._told(run), sort_keys=True))
                bar.advance()
        members = self._registry.members()
        models = [{"title": self._title(m.name), "tags": _described(m)} for m in members]
        _write(folder / _RUNS, lines)
        _write(folder / _MODELS, [json.dumps(model, sort_keys=True) for model in models])
        return Moved(len(runs), len(models))

    def take_in(self, folder: Path, voice: Voice, modality: str = "") -> Moved:
        """Replay an export through the public interface; what is there already is skipped.

        Args:
            folder: as ``export`` wrote it.
            voice: shows the progress.
            modality: of the runs and models to take; empty: all.

        Raises:
            HistoryError: the folder holds no export.
        """
        runs, models = (
            [each for each in read if modality in ("", each["tags"].get(tags.MODALITY, ""))]
            for read in (
                _read(folder / _RUNS, _RUN_KEYS, tags.MODEL),
                _read(folder / _MODELS, _MODEL_KEYS, tags.ARCH),
            )
        )
        experiment = ensure_experiment(self._client, self._experiment)
        query = f"tags.`{_IMPORTED}` LIKE '%' AND attributes.status = 'FINISHED'"
        known = {run.data.tags[_IMPORTED] for run in search_runs(self._client, [experiment], query)}
        versions = {model["title"]: self._model(model) for model in models}
        new = [run for run in runs if run["run"] not in known]
        with voice.progress("import history", len(new)) as bar:
            for run in new:
                self._run(experiment, run, versions)
                bar.advance(now=run["name"])
        return Moved(len(new), len(models), len(runs) - len(new))

    def _title(self, name: str) -> str:
        return name.removeprefix(self._registry.name_of(""))

    def _told(self, run: Run) -> dict[str, Any]:
        run_id = run.info.run_id
        told = _portable(run.data.tags)
        told[tags.MODEL] = self._title(told.get(tags.MODEL, ""))
        told.pop(tags.CURVE, None)  # made again from the metrics
        told.pop(_IMPORTED, None)
        return {
            "run": _origin(run),
            "name": f"{told[tags.MODEL]} on {told.get(tags.DATASET, '')}",
            "start": run.info.start_time,
            "end": run.info.end_time or run.info.start_time,
            "tags": told,
            "params": {**run.data.params, "model": told[tags.MODEL]},
            "metrics": {
                key: [
                    [point.step, point.value]
                    for point in self._client.get_metric_history(run_id, key)
                ]
                for key in sorted(run.data.metrics)
            },
        }

    def _model(self, model: Mapping[str, Any]) -> str:
        """Version of the registered model, made if need be."""
        name = self._registry.name_of(model["title"])
        told = {**model["tags"], tags.NAMESPACE: self._namespace}
        try:
            self._client.create_registered_model(name, tags=told)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            versions = self._client.search_model_versions(f"name = '{name}'")
            if versions:
                return str(max(int(v.version) for v in versions))
        source = told.get(tags.SOURCE, "")
        if ":/" not in source:  # a folder, or weights logged in the store it came from
            source, told[tags.WEIGHTS] = f"absent:/{model['title']}", "absent"
        version = self._client.create_model_version(name, source, tags=told)
        return str(version.version)

    def _run(self, experiment: str, run: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        title = run["tags"][tags.MODEL]
        told = {
            **run["tags"],
            tags.MODEL: self._registry.name_of(title),
            tags.MODEL_VERSION: versions.get(title, run["tags"].get(tags.MODEL_VERSION, "")),
            tags.CURVE: json.dumps(_curves(run["metrics"])),
            _IMPORTED: run["run"],
            tags.OWNER: owner(),
            tags.HEARTBEAT: f"{time.time():.0f}",
        }
        made = self._client.create_run(
            experiment, start_time=run["start"], run_name=run["name"], tags=told
        )
        points = [
            Metric(key, value, run["end"], step)
            for key, history in run["metrics"].items()
            for step, value in history
        ]
        params = [Param(key, value) for key, value in run["params"].items()]
        for start in range(0, max(1, len(points)), _BATCH):
            some = points[start : start + _BATCH]
            self._client.log_batch(made.info.run_id, metrics=some, params=params)
            params = []
        self._client.set_terminated(made.info.run_id, "FINISHED", run["end"])


def _origin(run: Run) -> str:
    """Id of a run in the store where it was made."""
    return str(run.data.tags.get(_IMPORTED, run.info.run_id))


def _lines(path: Path) -> dict[str, str]:
    """Lines of an earlier export by the run that each tells of."""
    if not path.exists():
        return {}
    told = zip(path.read_text().splitlines(), _read(path, _RUN_KEYS, tags.MODEL), strict=True)
    return {str(entry["run"]): line for line, entry in told}


class ExportHistory:
    """An export as a history of its own, without a server; see ``ports.Tables``.

    Args:
        folder: with the ``runs.jsonl`` that ``history export`` wrote.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    @staticmethod
    def is_one(folder: str | Path) -> bool:
        """Whether a folder holds an export."""
        return (Path(folder) / _RUNS).is_file()

    def metrics(self) -> tuple[str, ...]:
        """See ``ports.History.metrics``."""
        keys = {key for run in self._runs for key in run["metrics"]}
        both = (name for name in METRICS if {f"val/{name}", f"test/{name}"} <= keys)
        return tuple(sorted(both))

    def is_loss(self, metric: str) -> bool:
        """See ``ports.History.is_loss``."""
        return oriented(metric, 1.0) < 0

    def records(self, metric: str) -> list[Record]:
        """See ``ports.History.records``."""
        check_metric(metric)
        told = [run for run in self._runs if run["metrics"].get(f"val/{metric}")]
        if not told:
            raise HistoryError(
                f"{self._folder}: metric {metric!r}: expected one of "
                f"{', '.join(self.metrics()) or 'none'}: name it with --metric"
            )
        return [_record(run, metric) for run in told]

    def scores(self) -> dict[str, dict[tuple[str, str], float]]:
        """See ``ports.Tables.scores``; an export has none."""
        return {}

    def curves(self, metric: str = "") -> list[Steps]:  # noqa: ARG002 - the signature of the port
        """See ``ports.Tables``: every record carries its own."""
        return []

    def model_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.model_features``: family, architecture and upstream data."""
        models = list(_read(self._folder / _MODELS, _MODEL_KEYS, tags.ARCH))
        return {
            name: {model["title"]: model["tags"].get(tag, "") for model in models}
            for name, tag in _FEATURES.items()
        }

    def dataset_features(self) -> dict[str, dict[str, float | str]]:
        """See ``ports.Tables.dataset_features``; an export has none."""
        return {}

    @cached_property
    def _runs(self) -> list[dict[str, Any]]:
        return list(_read(self._folder / _RUNS, _RUN_KEYS, tags.MODEL))


def _record(run: Mapping[str, Any], metric: str) -> Record:
    keys = (f"val/{metric}", f"test/{metric}", "time/seconds")
    curves = ([value for _, value in sorted(run["metrics"].get(key, []))] for key in keys)
    validation, tested, seconds = curves
    test = tested[-1] if tested else math.nan
    return record_of(run["tags"], metric, validation, tested, seconds, test, run["run"])


def _order(run: Run) -> tuple[str, str, str]:
    told = run.data.tags
    return told.get(tags.DATASET, ""), told.get(tags.MODEL, ""), run.info.run_id


def _portable(told: Mapping[str, str]) -> dict[str, str]:
    """Our own tags that mean the same in another store."""
    return {
        key: value
        for key, value in told.items()
        if key.startswith(tags.PREFIX) and key not in _LOCAL
    }


def _described(member: Member) -> dict[str, str]:
    """Tags that make a member without a look at its weights."""
    known = {tags.ARCH: member.arch, tags.MODALITY: member.modality}
    told = {**known, **_portable(member.tags)}
    if tags.REBUILD in told:
        told[tags.WEIGHTS] = "absent"  # where it is taken in, until it was made again there
    return told


def _curves(metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    curves = {
        key: [value for _, value in history]
        for key, history in metrics.items()
        if key.startswith(("val/", "test/"))
    }
    return {**curves, "seconds": [value for _, value in metrics.get("time/seconds", [])]}


def _write(path: Path, lines: list[str]) -> None:
    """All or nothing."""
    rough = path.with_suffix(".part")
    rough.write_text("\n".join(lines) + "\n")
    rough.replace(path)


def _read(path: Path, keys: Sequence[str], tag: str) -> Iterator[dict[str, Any]]:
    """Lines of an export, each with all ``keys`` and that ``tag``."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        raise HistoryError(
            f"{path}: expected an export that `mlflow-recall history export` wrote: no such file"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            raise HistoryError(f"{path}, line {number}: expected JSON, cannot be read") from None
        if not isinstance(entry, dict) or set(keys) - set(entry) or tag not in entry["tags"]:
            raise HistoryError(
                f"{path}, line {number}: expected the keys {', '.join(keys)} and the tag {tag}"
            )
        yield entry
