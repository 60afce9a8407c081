"""A zoo with its history as text files that any MLflow store can import; see ``export_files``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.export.export_files import (
    MODELS,
    RUNS,
    check_destination,
    make_folder,
    read_lines,
    read_models,
    read_runs,
    write_lines,
)
from mlflow_recall.adapters.export.summaries import ExportSummary, ImportSummary
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns
from mlflow_recall.adapters.tracking.client import (
    FINISHED,
    ensure_experiment,
    search_runs,
    search_versions,
    without_copies,
)
from mlflow_recall.adapters.tracking.locations import EXTERNAL
from mlflow_recall.adapters.tracking.ownership import owner_tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Reporter
from mlflow_recall.safe_text import redact, safe_data

#: number of metrics in one request; with the parameters it stays below the server's limit of 1000
_BATCH_SIZE = 900
#: tags that mean nothing in another store
_LOCAL_TAGS = {
    tags.TOKEN,
    tags.OWNER,
    tags.HEARTBEAT,
    tags.TAKEN_OVER,
    tags.CONFIRMED,
    tags.CLUSTERED_BY,
    tags.NAMESPACE,
    tags.SPEC,
    "mlflow.user",
}
#: prefix of the metrics that a server measures of its machine during a training
_SYSTEM_PREFIX = "system/"


class HistoryTransfer:
    """Exports one namespace of an MLflow store into a folder, and imports it from there.

    Args:
        client: Client of the store.
        namespace: Namespace whose experiment is ``<namespace>/benchmark``.
        registry: Registry of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._experiment = f"{namespace}/benchmark"
        self._namespace = namespace
        self._registry = registry
        self._adopted = AdoptedRuns(client, namespace)

    def export(self, folder: Path, reporter: Reporter) -> ExportSummary:
        """Write every finished run of the history and every registered model of the namespace.

        Runs that were adopted, or imported from tables, are written with all that they logged
        except system metrics. A finished benchmark run never changes, so the lines that the folder
        already has of such runs are kept.

        Raises:
            HistoryError: There is nothing to export.
        """
        benchmark_runs, adopted_runs = list(self._benchmark_runs()), self._adopted.runs()
        if not benchmark_runs and not adopted_runs:
            raise HistoryError(f"experiment {self._experiment!r}: expected finished runs, got none")
        check_destination(folder, [RUNS, MODELS])
        make_folder(folder)
        known_lines = read_lines(folder)
        lines: list[tuple[tuple[str, str, str], str]] = []
        with reporter.progress("export", len(benchmark_runs) + len(adopted_runs)) as bar:
            for run in benchmark_runs:
                line = known_lines.get(_origin(run)) or _to_line(self._benchmark_entry(run))
                lines.append((_sort_key(run), line))
                bar.advance()
            for run in adopted_runs:
                lines.append((_sort_key(run), _to_line(self._adopted_entry(run))))
                bar.advance()
        members = self._registry.members()
        models = [{"title": self._title(m.name), "tags": _member_tags(m)} for m in members]
        write_lines(folder / RUNS, [line for _, line in sorted(lines)])
        write_lines(folder / MODELS, [_to_line(model) for model in models])
        return ExportSummary(runs=len(lines), models=len(models))

    def import_history(
        self, folder: Path, reporter: Reporter, modality: str | None = None
    ) -> ImportSummary:
        """Log the runs and register the models of an export; what is known already is skipped.

        Args:
            folder: Folder of the export.
            reporter: Shows the progress.
            modality: Modality of the runs and models to import; None: all.

        Raises:
            HistoryError: The folder holds no export, or the history has one of its metrics in the
                other direction.
        """
        runs, models = (
            [entry for entry in entries if modality in (None, entry["tags"].get(tags.MODALITY))]
            for entries in (read_runs(folder), read_models(folder))
        )
        known = self._known_runs()
        new = [run for run in runs if not known & {run["run"], self._table_rows(run["tags"])}]
        directions = _directions(new)
        self._adopted.check_directions(directions)
        experiment_id = ensure_experiment(self._client, self._experiment)
        versions = {model["title"]: self._import_model(model) for model in models}
        experiments = [self._client.get_experiment(experiment_id)]
        if directions:
            self._adopted.record_experiments(experiments)
        with reporter.progress("import history", len(new)) as bar:
            for run in new:
                self._import_run(experiment_id, run, versions)
                bar.advance(status=run["name"])
        if directions:
            self._adopted.record_experiments(experiments)
        return ImportSummary(runs=len(new), models=len(models), known=len(runs) - len(new))

    def _benchmark_runs(self) -> list[Run]:
        """Return the finished benchmark runs of the namespace."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        ids = [str(experiment.experiment_id)] if experiment else []
        query = f"tags.`{tags.KIND}` = 'benchmark' AND attributes.status = 'FINISHED'"
        return without_copies(search_runs(self._client, ids, query))

    def _known_runs(self) -> set[str]:
        """Return the ids and the table rows of the runs that need not be imported again."""
        experiment = self._client.get_experiment_by_name(self._experiment)
        ids = [str(experiment.experiment_id)] if experiment is not None else []
        finished = search_runs(self._client, ids, FINISHED)
        runs = [*finished, *self._adopted.runs()]
        return {*map(_origin, runs), *(self._table_rows(run.data.tags) for run in runs)} - {""}

    def _table_rows(self, run_tags: Mapping[str, str]) -> str:
        """Return the rows of tables that a run was imported from; empty where there are none."""
        if tags.TABLE_ROWS not in run_tags:
            return ""
        title = self._title(run_tags[tags.MODEL])
        return json.dumps([title, run_tags[tags.DATASET], run_tags[tags.TABLE_ROWS]])

    def _title(self, name: str) -> str:
        return name.removeprefix(self._registry.name_of(""))

    def _benchmark_entry(self, run: Run) -> dict[str, Any]:
        run_tags = _portable_tags(run.data.tags)
        run_tags[tags.MODEL] = self._title(run_tags.get(tags.MODEL, ""))
        run_tags.pop(tags.CURVE, None)  # an import computes it from the metrics
        run_tags.pop(tags.IMPORTED, None)
        name = f"{run_tags[tags.MODEL]} on {run_tags.get(tags.DATASET, '')}"
        return {**self._logged_values(run), "name": name, "tags": run_tags}

    def _adopted_entry(self, run: Run) -> dict[str, Any]:
        """Return an adopted run with its own name, its own tags and the name of its experiment."""
        left_out = {*_LOCAL_TAGS, tags.ADOPTED, tags.IMPORTED}
        run_tags = {
            key: value
            for key, value in run.data.tags.items()
            if not key.startswith("mlflow.") and key not in left_out
        }
        run_tags[tags.MODEL] = self._title(run_tags[tags.MODEL])
        run_tags.setdefault(tags.KIND, "adopted")
        experiment = str(self._client.get_experiment(run.info.experiment_id).name)
        if experiment != self._experiment:
            run_tags.setdefault(tags.ORIGIN, experiment)
        return {**self._logged_values(run), "name": run.info.run_name, "tags": run_tags}

    def _logged_values(self, run: Run) -> dict[str, Any]:
        """Return id, times, parameters and metric histories of a run."""
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
                if not key.startswith(_SYSTEM_PREFIX)
            },
        }

    def _import_model(self, model: Mapping[str, Any]) -> str:
        """Return the version of a registered model, which is created if there is none."""
        name = self._registry.name_of(model["title"])
        model_tags = safe_data({**model["tags"], tags.NAMESPACE: self._namespace})
        try:
            self._client.create_registered_model(name, tags=model_tags)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            if versions := search_versions(self._client, name):
                return str(max(int(v.version) for v in versions))
        source = model_tags.get(tags.SOURCE, "")
        # other sources are folders, weights that were logged in the exported store, or strangers
        if source.partition(":/")[0] not in EXTERNAL:
            source, model_tags[tags.WEIGHTS] = f"absent:/{model['title']}", "absent"
        version = self._client.create_model_version(name, source, tags=model_tags)
        return str(version.version)

    def _import_run(
        self, experiment: str, entry: Mapping[str, Any], versions: Mapping[str, str]
    ) -> None:
        title = entry["tags"][tags.MODEL]
        run_tags = {
            **entry["tags"],
            tags.MODEL: self._registry.name_of(title),
            tags.IMPORTED: entry["run"],
            **owner_tags(),
        }
        if tags.SOURCES in run_tags:
            run_tags[tags.ADOPTED] = self._namespace
        else:
            run_tags[tags.MODEL_VERSION] = versions.get(title, run_tags.get(tags.MODEL_VERSION, ""))
            run_tags[tags.CURVE] = json.dumps(_curves(entry["metrics"]))
        run = self._client.create_run(
            experiment, start_time=entry["start"], run_name=entry["name"], tags=safe_data(run_tags)
        )
        try:
            self._log_history(run.info.run_id, entry)
        except BaseException:
            self._client.set_terminated(run.info.run_id, "FAILED")
            raise
        self._client.set_terminated(run.info.run_id, "FINISHED", entry["end"])

    def _log_history(self, run_id: str, entry: Mapping[str, Any]) -> None:
        """Log the parameters and whole metric histories of a run."""
        points = [
            # times increase, so that the last of several values of a step counts
            Metric(key, value, entry["end"] - later_points, step)
            for key, history in entry["metrics"].items()
            for later_points, (step, value) in zip(
                range(len(history) - 1, -1, -1), history, strict=True
            )
        ]
        params = [Param(key, redact(value)) for key, value in entry["params"].items()]
        for start in range(0, max(1, len(points)), _BATCH_SIZE):
            batch = points[start : start + _BATCH_SIZE]
            self._client.log_batch(run_id, metrics=batch, params=params)
            params = []


def _to_line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _origin(run: Run) -> str:
    """Return the id of a run in the store where it was created."""
    return str(run.data.tags.get(tags.IMPORTED, run.info.run_id))


def _directions(entries: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Return metric -> whether it is a loss, from the adopted runs of an export."""
    return {
        name: source.minimize
        for entry in entries
        for name, source in sources_from_json(entry["tags"].get(tags.SOURCES, "")).items()
    }


def _sort_key(run: Run) -> tuple[str, str, str]:
    run_tags = run.data.tags
    return run_tags.get(tags.DATASET, ""), run_tags.get(tags.MODEL, ""), run.info.run_id


def _portable_tags(all_tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of this package that mean the same in another store."""
    return {
        key: value
        for key, value in all_tags.items()
        if key.startswith(tags.PREFIX) and key not in _LOCAL_TAGS
    }


def _member_tags(member: Member) -> dict[str, str]:
    """Return the tags that describe a member without its weights."""
    member_tags = {
        tags.ARCH: member.arch,
        tags.MODALITY: member.modality,
        **_portable_tags(member.tags),
    }
    if tags.REBUILD in member_tags:
        member_tags[tags.WEIGHTS] = "absent"  # until they are rebuilt where the export is imported
    return member_tags


def _curves(metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    curves = {
        key: [value for _, value in history]
        for key, history in metrics.items()
        if key.startswith(("val/", "test/"))
    }
    return {**curves, "seconds": [value for _, value in metrics.get("time/seconds", [])]}
