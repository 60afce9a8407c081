"""A zoo with its history as text files that any MLflow store can take in; see ``export_files``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.export.export_files import (
    MODELS,
    RUNS,
    read_lines,
    read_models,
    read_runs,
    write_lines,
)
from mlflow_recall.adapters.export.summaries import ExportSummary, ImportSummary
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns
from mlflow_recall.adapters.tracking.client import ensure_experiment, search_runs
from mlflow_recall.adapters.tracking.ownership import owner_tag
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Reporter

#: metrics and parameters of one request: the server takes a thousand entries
_BATCH = 900
_LOCAL = {
    *(tags.OWNER, tags.HEARTBEAT, tags.CLUSTERED_BY, tags.NAMESPACE, tags.SPEC, "mlflow.user"),
}
#: what a server measures of itself while somebody trains
_SYSTEM = "system/"


class HistoryTransfer:
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
        self._adopted = AdoptedRuns(client, namespace)

    def export(self, folder: Path, reporter: Reporter) -> ExportSummary:
        """Write every finished run of the history and every registered model of the namespace.

        Runs that were adopted, or made of tables, travel with all that they logged but what their
        server measured of itself. A benchmark run that finished never changes, so the lines that
        the folder has of it are kept.

        Raises:
            HistoryError: there is nothing to export.
        """
        own, others = list(self._benchmarks()), self._adopted.runs()
        if not own and not others:
            raise HistoryError(f"experiment {self._experiment!r}: expected finished runs, got none")
        folder.mkdir(parents=True, exist_ok=True)
        there = read_lines(folder)
        lines: list[tuple[tuple[str, str, str], str]] = []
        with reporter.progress("export", len(own) + len(others)) as bar:
            for run in own:
                line = there.get(_origin(run)) or json.dumps(self._told(run), sort_keys=True)
                lines.append((_order(run), line))
                bar.advance()
            for run in others:
                lines.append((_order(run), json.dumps(self._told_adopted(run), sort_keys=True)))
                bar.advance()
        members = self._registry.members()
        models = [{"title": self._title(m.name), "tags": _described(m)} for m in members]
        write_lines(folder / RUNS, [line for _, line in sorted(lines)])
        write_lines(folder / MODELS, [json.dumps(model, sort_keys=True) for model in models])
        return ExportSummary(runs=len(lines), models=len(models))

    def import_history(
        self, folder: Path, reporter: Reporter, modality: str | None = None
    ) -> ImportSummary:
        """Replay an export through the public interface; what is there already is skipped.

        Args:
            folder: As ``export`` wrote it.
            reporter: Shows the progress.
            modality: Modality of the runs and models to import; None: all.

        Raises:
            HistoryError: the folder holds no export, or a metric of it is history here in the
                other direction.
        """
        runs, models = (
            [entry for entry in entries if modality in (None, entry["tags"].get(tags.MODALITY))]
            for entries in (read_runs(folder), read_models(folder))
        )
        experiment = ensure_experiment(self._client, self._experiment)
        known = self._known(experiment)
        new = [run for run in runs if not known & {run["run"], self._rows(run["tags"])}]
        directions = _directions(new)
        self._adopted.check_directions(directions)
        versions = {model["title"]: self._model(model) for model in models}
        home = [self._client.get_experiment(experiment)]
        if directions:
            self._adopted.record_experiments(home)
        with reporter.progress("import history", len(new)) as bar:
            for run in new:
                self._run(experiment, run, versions)
                bar.advance(status=run["name"])
        if directions:
            self._adopted.record_experiments(home)
        return ImportSummary(runs=len(new), models=len(models), known=len(runs) - len(new))

    def _benchmarks(self) -> Iterator[Run]:
        """Finished runs of our own."""
        found = self._client.get_experiment_by_name(self._experiment)
        query = f"tags.`{tags.KIND}` = 'benchmark' AND attributes.status = 'FINISHED'"
        return search_runs(self._client, [str(found.experiment_id)] if found else [], query)

    def _known(self, experiment: str) -> set[str]:
        """What need not be imported again: ids of runs, and the rows that were made of tables."""
        there = search_runs(self._client, [experiment], "attributes.status = 'FINISHED'")
        runs = [*there, *self._adopted.runs()]
        return {*map(_origin, runs), *(self._rows(run.data.tags) for run in runs)} - {""}

    def _rows(self, told: Mapping[str, str]) -> str:
        """Rows of tables that a run was made of; empty: of none."""
        if tags.TABLE_ROWS not in told:
            return ""
        title = self._title(told[tags.MODEL])
        return json.dumps([title, told[tags.DATASET], told[tags.TABLE_ROWS]])

    def _title(self, name: str) -> str:
        return name.removeprefix(self._registry.name_of(""))

    def _told(self, run: Run) -> dict[str, Any]:
        told = _portable(run.data.tags)
        told[tags.MODEL] = self._title(told.get(tags.MODEL, ""))
        told.pop(tags.CURVE, None)  # made again from the metrics
        told.pop(tags.IMPORTED, None)
        name = f"{told[tags.MODEL]} on {told.get(tags.DATASET, '')}"
        return {**self._logged(run), "name": name, "tags": told}

    def _told_adopted(self, run: Run) -> dict[str, Any]:
        """A run of somebody else's: its own name and tags too, and whose experiment it was in."""
        told = {
            key: value
            for key, value in run.data.tags.items()
            if not key.startswith("mlflow.") and key not in {*_LOCAL, tags.ADOPTED, tags.IMPORTED}
        }
        told[tags.MODEL] = self._title(told[tags.MODEL])
        told.setdefault(tags.KIND, "adopted")
        experiment = str(self._client.get_experiment(run.info.experiment_id).name)
        if experiment != self._experiment:
            told.setdefault(tags.ORIGIN, experiment)
        return {**self._logged(run), "name": run.info.run_name, "tags": told}

    def _logged(self, run: Run) -> dict[str, Any]:
        """What a run holds beside its name and tags."""
        run_id, params = run.info.run_id, dict(run.data.params)
        if params.get("model") == run.data.tags[tags.MODEL]:
            params["model"] = self._title(params["model"])
        return {
            "run": _origin(run),
            "start": run.info.start_time,
            "end": run.info.end_time or run.info.start_time,
            "params": params,
            "metrics": {
                key: [
                    [point.step, point.value]
                    for point in self._client.get_metric_history(run_id, key)
                ]
                for key in sorted(run.data.metrics)
                if not key.startswith(_SYSTEM)
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
            tags.IMPORTED: run["run"],
            tags.OWNER: owner_tag(),
            tags.HEARTBEAT: f"{time.time():.0f}",
        }
        if tags.SOURCES in told:
            told[tags.ADOPTED] = self._namespace
        else:
            told[tags.MODEL_VERSION] = versions.get(title, told.get(tags.MODEL_VERSION, ""))
            told[tags.CURVE] = json.dumps(_curves(run["metrics"]))
        made = self._client.create_run(
            experiment, start_time=run["start"], run_name=run["name"], tags=told
        )
        points = [
            Metric(key, value, run["end"] - before, step)  # of several values of a step the last
            for key, history in run["metrics"].items()
            for before, (step, value) in zip(range(len(history) - 1, -1, -1), history, strict=True)
        ]
        params = [Param(key, value) for key, value in run["params"].items()]
        for start in range(0, max(1, len(points)), _BATCH):
            some = points[start : start + _BATCH]
            self._client.log_batch(made.info.run_id, metrics=some, params=params)
            params = []
        self._client.set_terminated(made.info.run_id, "FINISHED", run["end"])


def _origin(run: Run) -> str:
    """Id of a run in the store where it was made."""
    return str(run.data.tags.get(tags.IMPORTED, run.info.run_id))


def _directions(runs: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Metric -> whether it is a loss, of runs that were adopted where they came from."""
    told = (run["tags"].get(tags.SOURCES, "") for run in runs)
    return {
        name: source.minimize for text in told for name, source in sources_from_json(text).items()
    }


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
