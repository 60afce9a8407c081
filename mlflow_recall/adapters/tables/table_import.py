"""Plain tables become runs of a namespace: one a fine-tuning, tagged as its history."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.export.summaries import ImportSummary
from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.adapters.tables.validation import (
    FineTuningKey,
    ImportOptions,
    MetricPoints,
    collect_fine_tunings,
    find_modality,
    registry_titles,
    select_new,
)
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.adopted_runs import AdoptedRuns
from mlflow_recall.adapters.tracking.client import ensure_experiment, search_runs
from mlflow_recall.adapters.tracking.ownership import owner_tag
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.core.external_runs.rules import MetricSource, sources_to_json
from mlflow_recall.ports import Reporter

#: parameters of an imported run that tell of its dataset
FEATURE = "dataset."
#: most metrics that a tracking server takes in one request
_BATCH = 1000
#: what a table may call a feature of a model -> its tag
_MODEL_TAGS = {
    tags.FAMILY: ("family", "model_type", "base_model"),
    tags.PARAMETERS: ("parameters", "number_of_parameters"),
    tags.ARCH: ("arch", "architecture"),
    tags.UPSTREAM: ("upstream", "pretrain_dataset"),
    tags.LICENSE: ("license", "license"),
}


class TableImport:
    """Takes plain tables into one namespace.

    Args:
        client: of the tracking server.
        namespace: its experiment is ``<namespace>/benchmark``.
        registry: of the same namespace.
    """

    def __init__(self, client: MlflowClient, namespace: str, registry: MlflowRegistry) -> None:
        self._client = client
        self._namespace = namespace
        self._registry = registry
        self._adopted = AdoptedRuns(client, namespace)

    def import_history(
        self, folder: Path, wanted: ImportOptions, reporter: Reporter
    ) -> ImportSummary:
        """Log what the namespace does not have yet; each run is whole, or is none.

        Raises:
            HistoryError: the tables are not as expected, or contradict what was imported before.
            SettingError: nobody tells the modality, or a metric is neither loss nor score.
        """
        tables = FolderHistory(folder, minimize=wanted.minimize)
        found = collect_fine_tunings(tables, wanted)
        titles = registry_titles(found)
        modalities = {key: find_modality(tables, key, wanted) for key in found}
        home = ensure_experiment(self._client, f"{self._namespace}/benchmark")
        experiment = self._client.get_experiment(home)
        self._adopted.check_directions(
            {name: each.minimize for metrics in found.values() for name, each in metrics.items()}
        )
        new = select_new(found, self._known(home), titles)
        self._adopted.record_experiments([experiment])
        self._register(tables, {key[0]: modalities[key] for key in found}, titles)
        features = tables.dataset_features()
        with reporter.progress("import tables", len(new)) as bar:
            for key, metrics in new.items():
                told = {
                    tags.MODEL: self._registry.name_of(titles[key[0]]),
                    tags.DATASET: key[1],
                    tags.MODALITY: modalities[key],
                    tags.TABLE_ROWS: json.dumps(
                        {"run": key[2], "digests": {n: p.digest for n, p in metrics.items()}}
                    ),
                }
                about = {name: column.get(key[1], "") for name, column in features.items()}
                self._log(home, f"{titles[key[0]]} on {key[1]}", told, about, metrics)
                bar.advance(status=key[1])
        self._adopted.record_experiments([experiment])
        return ImportSummary(runs=len(new), models=len(titles), known=len(found) - len(new))

    def _known(self, experiment: str) -> dict[FineTuningKey, dict[str, str]]:
        """Metric -> digest of every fine-tuning that was imported before."""
        query = (
            f"tags.`{tags.TABLE_ROWS}` LIKE '%' AND tags.`{tags.ADOPTED}` = '{self._namespace}' "
            "AND attributes.status = 'FINISHED'"
        )
        known: dict[FineTuningKey, dict[str, str]] = {}
        prefix = self._registry.name_of("")
        for run in search_runs(self._client, [experiment], query):
            told = json.loads(run.data.tags[tags.TABLE_ROWS])
            title = run.data.tags[tags.MODEL].removeprefix(prefix)
            key = (title, run.data.tags[tags.DATASET], told["run"])
            known.setdefault(key, {}).update(told["digests"])
        return known

    def _register(
        self, tables: FolderHistory, modality: Mapping[str, str], titles: Mapping[str, str]
    ) -> None:
        """Make models that nobody registered members that only teach by their history."""
        features = tables.model_features()
        for model, title in titles.items():
            name = self._registry.name_of(title)
            told = {
                tag: text
                for tag, columns in _MODEL_TAGS.items()
                for text in [_feature(features, columns, model)]
                if text
            }
            told.setdefault(tags.ARCH, f"unknown/{told.get(tags.FAMILY, 'unknown')}")
            told |= {
                tags.MODALITY: modality[model],
                tags.NAMESPACE: self._namespace,
                tags.SOURCE: f"absent:/{title}",
                tags.WEIGHTS: "absent",
            }
            try:
                self._client.create_registered_model(name, tags={tags.NAMESPACE: self._namespace})
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                if self._client.search_model_versions(f"name = '{name}'", max_results=1):
                    continue
            self._client.create_model_version(name, told[tags.SOURCE], tags=told)

    def _log(
        self,
        experiment: str,
        name: str,
        told: Mapping[str, str],
        about: Mapping[str, float | str],
        metrics: Mapping[str, MetricPoints],
    ) -> None:
        now = int(time.time() * 1000)
        run = self._client.create_run(
            experiment,
            run_name=name,
            tags={tags.OWNER: owner_tag(), tags.HEARTBEAT: f"{time.time():.0f}"},
        )
        run_id = run.info.run_id
        try:
            points = [Metric(key, value, now, step) for key, value, step in _logged(metrics)]
            for start in range(0, len(points), _BATCH):
                self._client.log_batch(run_id, metrics=points[start : start + _BATCH])
            params = {"model": told[tags.MODEL], "dataset": told[tags.DATASET]}
            params |= {f"{FEATURE}{key}": text for key, v in about.items() if (text := _text(v))}
            self._client.log_batch(
                run_id,
                params=[Param(key, value) for key, value in params.items()],
                tags=[RunTag(k, v) for k, v in {**told, **self._read_by(metrics)}.items()],
            )
        except BaseException:
            self._client.set_terminated(run_id, "FAILED")
            raise
        self._client.set_terminated(run_id, "FINISHED")

    def _read_by(self, metrics: Mapping[str, MetricPoints]) -> dict[str, str]:
        """Tags that make a run history, and say where it keeps what and in which direction."""
        sources = {
            name: MetricSource(
                validation=f"val/{name}" if each.validation else "",
                test=f"test/{name}",
                minimize=each.minimize,
            )
            for name, each in metrics.items()
        }
        told = {
            tags.KIND: "table",
            tags.ADOPTED: self._namespace,
            tags.SOURCES: sources_to_json(sources),
        }
        curves = json.dumps(dict(_curves(metrics)))
        if len(curves) <= tags.MAX_LENGTH:
            told[tags.CURVE] = curves
        steps = [[step for step, _ in each.validation] for each in metrics.values()]
        longest = max(steps, key=len)
        if longest != [*range(1, len(longest) + 1)] and len(json.dumps(longest)) <= tags.MAX_LENGTH:
            told[tags.STEPS] = json.dumps(longest)
        return told


def _logged(metrics: Mapping[str, MetricPoints]) -> Iterator[tuple[str, float, int]]:
    """Key, value and step; steps that are no whole numbers are counted instead."""
    for metric, each in metrics.items():
        whole = all(float(step).is_integer() for step, _ in (*each.validation, *each.test))
        for split, curve in (("val", each.validation), ("test", each.test)):
            for number, (step, value) in enumerate(curve, start=1):
                yield f"{split}/{metric}", value, int(step) if whole else number


def _curves(metrics: Mapping[str, MetricPoints]) -> Iterator[tuple[str, list[float]]]:
    """As the tag keeps them; a test that was made once is no curve."""
    for metric, each in metrics.items():
        yield f"val/{metric}", [value for _, value in each.validation]
        if len(each.test) == len(each.validation):
            yield f"test/{metric}", [value for _, value in each.test]


def _feature(
    features: Mapping[str, Mapping[str, float | str]], columns: tuple[str, ...], model: str
) -> str:
    """The first of these columns that tells something of a model, as the text of a tag."""
    texts = (_text(features.get(column, {}).get(model, "")) for column in columns)
    return next(filter(None, texts), "")


def _text(value: float | str) -> str:
    """A feature as a tag or parameter; empty where it is unknown."""
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else str(value)
