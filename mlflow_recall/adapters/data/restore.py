"""Datasets of the history, restored from the copy on this machine or from their source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlflow_recall.adapters.data.preparation import find_prepared
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.history.records import Dataset, Record
from mlflow_recall.core.history.tasks import CLASSIFICATION
from mlflow_recall.errors import DatasetError


def dataset_tags(dataset: Dataset) -> dict[str, str]:
    """Return the tags of a run that hold task, classes and source of its dataset."""
    classes = json.dumps(dataset.classes)
    class_tag = {tags.CLASSES: classes} if len(classes) <= tags.MAX_LENGTH else {}
    task_tag = {tags.TASK: dataset.task} if dataset.task != CLASSIFICATION else {}
    metric_tag = {tags.METRIC: dataset.own_metric} if dataset.own_metric else {}
    return {**class_tag, **task_tag, **metric_tag, tags.SPEC: dataset.spec}


def class_names(record: Record) -> tuple[str, ...]:
    """Return the class names of a record's dataset; none where they are unknown.

    They come from the record, or else from the prepared copy on this machine.
    """
    if record.class_names:
        return record.class_names
    prepared = find_prepared(record.dataset, record.dataset_digest, record.modality)
    return prepared.classes if prepared else ()


def restore_dataset(record: Record, prepare: Callable[[DatasetSpec], Dataset]) -> Dataset:
    """Return the dataset of a record, with the same content.

    Args:
        record: Record of a benchmark run.
        prepare: Prepares a dataset, as ``preparation.prepare`` does.

    Raises:
        DatasetError: Neither its copy nor its source is available, or the source has changed.
    """
    if prepared := find_prepared(record.dataset, record.dataset_digest, record.modality):
        return prepared
    if not record.dataset_spec:
        raise DatasetError(
            f"{record.dataset}: no prepared copy on this machine, and its runs do not say where it "
            "came from"
        )
    try:
        values = parse_json(record.dataset_spec)
        if not isinstance(values, dict):
            raise TypeError(f"expected a JSON object, got {values!r:.60}")
        spec = DatasetSpec.from_mapping(values, record.dataset, Path())
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{record.dataset}: what its runs say of it is damaged: {error}"
        ) from None
    dataset = prepare(spec)
    if dataset.digest != record.dataset_digest:
        raise DatasetError(
            f"{record.dataset}: {spec.path} has changed since: expected content "
            f"{record.dataset_digest}, got {dataset.digest}"
        )
    return dataset
