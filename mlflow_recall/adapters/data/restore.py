"""Datasets of the history, had again: from the copy on this machine, or from where they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlflow_recall.adapters.data.preparation import find_prepared
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.history.records import Dataset, Record
from mlflow_recall.errors import DatasetError


def dataset_tags(dataset: Dataset) -> dict[str, str]:
    """Tags of a run by which its dataset is known, and had, later."""
    classes = json.dumps(dataset.classes)
    named = {tags.CLASSES: classes} if len(classes) <= tags.MAX_LENGTH else {}
    return {**named, tags.SPEC: dataset.spec}


def class_names(record: Record) -> tuple[str, ...]:
    """Names of the classes of a record's dataset: as its run tells, or its copy; else none."""
    if record.class_names:
        return record.class_names
    there = find_prepared(record.dataset, record.dataset_digest, record.modality)
    return there.classes if there else ()


def restore_dataset(record: Record, prepare: Callable[[DatasetSpec], Dataset]) -> Dataset:
    """The very dataset of a record.

    Args:
        record: of a benchmark run.
        prepare: as ``datasets.prepare``.

    Raises:
        DatasetError: neither its copy nor its source is here, or the source has changed since.
    """
    if there := find_prepared(record.dataset, record.dataset_digest, record.modality):
        return there
    if not record.dataset_spec:
        raise DatasetError(
            f"{record.dataset}: no prepared copy on this machine, and its runs do not say where it "
            "came from"
        )
    try:
        spec = DatasetSpec.from_mapping(json.loads(record.dataset_spec), record.dataset, Path())
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{record.dataset}: what its runs say of it is damaged: {error}"
        ) from None
    found = prepare(spec)
    if found.digest != record.dataset_digest:
        raise DatasetError(
            f"{record.dataset}: {spec.path} has changed since: expected content "
            f"{record.dataset_digest}, "
            f"got {found.digest}"
        )
    return found
