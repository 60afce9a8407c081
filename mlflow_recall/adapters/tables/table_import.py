"""Plain tables as runs of a namespace: one run for each fine-tuning, tagged as its history."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.export.export_files import check_model, check_run
from mlflow_recall.adapters.export.summaries import ImportSummary
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tables.validation import (
    FineTuningKey,
    ImportOptions,
    MetricPoints,
    collect_fine_tunings,
    find_modality,
    named_primary_metrics,
    registry_titles,
    select_new,
)
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns
from mlflow_recall.adapters.tracking.client import (
    FINISHED,
    ensure_experiment,
    search_adopted_runs,
    search_versions,
)
from mlflow_recall.adapters.tracking.ownership import owner_tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.bounded_json import parse_object
from mlflow_recall.core.external_runs.rules import MetricSource, sources_to_json
from mlflow_recall.core.history.tasks import TASKS
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import Reporter
from mlflow_recall.safe_text import redact

#: prefix of an imported run's parameters that hold features of its dataset
FEATURE = "dataset."
#: number of metrics that a tracking server accepts in one request
_BATCH_SIZE = 1000
#: tag of a model -> names that a table may have for it
_MODEL_COLUMNS = {
    tags.FAMILY: ("family", "model_type", "base_model"),
    tags.PARAMETERS: ("parameters", "number_of_parameters"),
    tags.ARCH: ("arch", "architecture"),
    tags.UPSTREAM: ("upstream", "pretrain_dataset"),
    tags.LICENSE: ("license",),
}


class TableImport:
    """Imports plain tables into one namespace.

    Args:
        client: Client of the tracking server.
        namespace: Namespace whose experiment is ``<namespace>/benchmark``.
        registry: Registry of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._namespace = namespace
        self._experiment = f"{namespace}/benchmark"
        self._registry = registry
        self._adopted = AdoptedRuns(client, namespace)

    def import_history(
        self, folder: Path, options: ImportOptions, reporter: Reporter
    ) -> ImportSummary:
        """Log what the namespace does not have yet; a run that is not complete is FAILED.

        Raises:
            HistoryError: The tables are not as expected, or contradict what was imported before.
            ConfigError: The modality of a fine-tuning is unknown.
        """
        tables = FolderHistory(folder, minimize=options.minimize)
        fine_tunings = collect_fine_tunings(tables, options)
        titles = registry_titles(fine_tunings)
        modalities = {key: find_modality(tables, key, options) for key in fine_tunings}
        self._adopted.check_directions(
            {
                name: points.minimize
                for metrics in fine_tunings.values()
                for name, points in metrics.items()
            }
        )
        new = select_new(fine_tunings, self._known_digests(), titles)
        features = tables.dataset_features()
        primary = named_primary_metrics(tables, options)
        entries = [
            self._entry(key, metrics, titles[key[0]], modalities[key], features, primary)
            for key, metrics in new.items()
        ]
        models = self._models(tables, {key[0]: modalities[key] for key in fine_tunings}, titles)
        _check_importable(folder, entries, models)  # from here on, everything can be written
        experiment_id = ensure_experiment(self._client, self._experiment)
        experiment = self._client.get_experiment(experiment_id)
        self._adopted.record_experiments([experiment])
        for name, model_tags in models.items():
            self._register(name, model_tags)
        with reporter.progress("import tables", len(new)) as bar:
            for entry in entries:
                self._log_run(experiment_id, entry)
                bar.advance(status=entry["tags"][tags.DATASET])
        self._adopted.record_experiments([experiment])
        return ImportSummary(runs=len(new), models=len(titles), known=len(fine_tunings) - len(new))

    def _known_digests(self) -> dict[FineTuningKey, dict[str, str]]:
        """Return metric -> digest of every fine-tuning that was imported before."""
        known: dict[FineTuningKey, dict[str, str]] = {}
        prefix = self._registry.name_of("")
        condition = f"tags.`{tags.TABLE_ROWS}` LIKE '%' AND {FINISHED}"
        home = self._client.get_experiment_by_name(self._experiment)
        experiments = [str(home.experiment_id)] if home is not None else []
        finished = search_adopted_runs(self._client, experiments, self._namespace, condition)
        for run in finished:
            rows = parse_object(run.data.tags[tags.TABLE_ROWS])
            title = run.data.tags.get(tags.MODEL, "").removeprefix(prefix)
            key = (title, run.data.tags.get(tags.DATASET, ""), str(rows.get("run", "")))
            digests = rows.get("digests")
            known.setdefault(key, {}).update(digests if isinstance(digests, dict) else {})
        return known

    def _models(
        self, tables: FolderHistory, modalities: Mapping[str, str], titles: Mapping[str, str]
    ) -> dict[str, dict[str, str]]:
        """Return name in the registry -> tags of a model without weights.

        Such a model has a history, but cannot be trained.
        """
        features, models = tables.model_features(), {}
        for model, title in titles.items():
            model_tags = {
                tag: text
                for tag, columns in _MODEL_COLUMNS.items()
                for text in [_first_feature(features, columns, model)]
                if text
            }
            model_tags.setdefault(tags.ARCH, f"unknown/{model_tags.get(tags.FAMILY, 'unknown')}")
            models[self._registry.name_of(title)] = model_tags | {
                tags.MODALITY: modalities[model],
                tags.NAMESPACE: self._namespace,
                tags.SOURCE: f"absent:/{title}",
                tags.WEIGHTS: "absent",
            }
        return models

    def _register(self, name: str, model_tags: Mapping[str, str]) -> None:
        """Register a model, unless it is registered."""
        try:
            self._client.create_registered_model(name, tags={tags.NAMESPACE: self._namespace})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            if search_versions(self._client, name):
                return
        self._client.create_model_version(name, model_tags[tags.SOURCE], tags=dict(model_tags))

    def _entry(
        self,
        key: FineTuningKey,
        metrics: Mapping[str, MetricPoints],
        title: str,
        modality: str,
        features: Mapping[str, Mapping[str, float | str]],
        primary: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return one fine-tuning as an export holds it.

        Args:
            key: Model, dataset, and name of the fine-tuning among its repeats.
            metrics: Metric -> its points.
            title: Name of the model without a namespace.
            modality: Modality of the fine-tuning.
            features: Feature -> dataset -> value.
            primary: Dataset -> its primary metric, where the tables name it.
        """
        now = int(time.time() * 1000)
        digests = {name: points.digest for name, points in metrics.items()}
        logged: dict[str, list[tuple[int, float]]] = {}
        for name, value, step in _log_points(metrics):
            logged.setdefault(name, []).append((step, value))
        params = {"model": self._registry.name_of(title), "dataset": key[1]}
        texts = {f"{FEATURE}{name}": _text(of.get(key[1], "")) for name, of in features.items()}
        task, metric = texts.get(f"{FEATURE}task", ""), primary.get(key[1], "")
        return {
            "run": key[2],
            "name": f"{title} on {key[1]}",
            "start": now,
            "end": now,
            "tags": {
                tags.MODEL: self._registry.name_of(title),
                tags.DATASET: key[1],
                tags.MODALITY: modality,
                tags.TABLE_ROWS: json.dumps({"run": key[2], "digests": digests}),
                **({tags.TASK: task} if task in TASKS else {}),
                **({tags.METRIC: metric} if metric in metrics else {}),
                **self._history_tags(metrics),
            },
            "params": params | {name: text for name, text in texts.items() if text},
            "metrics": logged,
        }

    def _log_run(self, experiment: str, entry: Mapping[str, Any]) -> None:
        """Log one fine-tuning as a finished run."""
        run = self._client.create_run(
            experiment,
            run_name=entry["name"],
            tags=owner_tags(),
        )
        run_id = run.info.run_id
        try:
            points = [
                Metric(key, value, entry["end"], step)
                for key, history in entry["metrics"].items()
                for step, value in history
            ]
            for start in range(0, len(points), _BATCH_SIZE):
                self._client.log_batch(run_id, metrics=points[start : start + _BATCH_SIZE])
            self._client.log_batch(
                run_id,
                params=[Param(key, redact(value)) for key, value in entry["params"].items()],
                tags=[RunTag(key, redact(value)) for key, value in entry["tags"].items()],
            )
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def _history_tags(self, metrics: Mapping[str, MetricPoints]) -> dict[str, str]:
        """Return the tags that make a run history, with the key and direction of each metric."""
        sources = {
            name: MetricSource(
                validation=f"val/{name}" if points.validation else "",
                test=f"test/{name}",
                minimize=points.minimize,
            )
            for name, points in metrics.items()
        }
        history_tags = {
            tags.KIND: "table",
            tags.ADOPTED: self._namespace,
            tags.SOURCES: sources_to_json(sources),
        }
        curves = json.dumps(dict(_curves(metrics)))
        if len(curves) <= tags.MAX_LENGTH:
            history_tags[tags.CURVE] = curves
        steps = [[step for step, _ in points.validation] for points in metrics.values()]
        longest = max(steps, key=len)
        if longest != [*range(1, len(longest) + 1)] and len(json.dumps(longest)) <= tags.MAX_LENGTH:
            history_tags[tags.STEPS] = json.dumps(longest)
        return history_tags


def _check_importable(
    folder: Path, entries: Sequence[Mapping[str, Any]], models: Mapping[str, Mapping[str, str]]
) -> None:
    """Check that a store accepts every fine-tuning and every model.

    Raises:
        HistoryError: It refuses one of them.
    """
    try:
        for entry in entries:
            place = entry["name"]
            check_run(entry)
        for name, model_tags in models.items():
            place = name
            check_model({"title": name, "tags": model_tags})
    except (ValueError, MlflowException) as error:
        reason = " ".join(str(error).split())
        raise HistoryError(f"{folder}: {place:.200}: {reason:.400}") from None


def _log_points(metrics: Mapping[str, MetricPoints]) -> Iterator[tuple[str, float, int]]:
    """Yield key, value and step; points are numbered where a step is not a whole number."""
    for metric, points in metrics.items():
        is_whole = all(float(step).is_integer() for step, _ in (*points.validation, *points.test))
        for split, curve in (("val", points.validation), ("test", points.test)):
            for number, (step, value) in enumerate(curve, start=1):
                yield f"{split}/{metric}", value, int(step) if is_whole else number


def _curves(metrics: Mapping[str, MetricPoints]) -> Iterator[tuple[str, list[float]]]:
    """Yield the curves for the tag; test scores are one where every stage was tested."""
    for metric, points in metrics.items():
        yield f"val/{metric}", [value for _, value in points.validation]
        if len(points.test) == len(points.validation):
            yield f"test/{metric}", [value for _, value in points.test]


def _first_feature(
    features: Mapping[str, Mapping[str, float | str]], columns: tuple[str, ...], model: str
) -> str:
    """Return the first known value of a model in these columns, as the text of a tag."""
    texts = (_text(features.get(column, {}).get(model, "")) for column in columns)
    return next(filter(None, texts), "")


def _text(value: float | str) -> str:
    """Return a feature as a tag or parameter; empty where it is unknown."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else str(value)
