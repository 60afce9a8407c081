"""Datasets of the history, had again: from the copy on this machine, or from where they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.dataset_spec import DatasetSpec
from mlflow_recall.adapters.datasets import prepared
from mlflow_recall.core.records import Dataset, Record
from mlflow_recall.errors import DatasetError


def described(dataset: Dataset) -> dict[str, str]:
    """Tags of a run by which its dataset is known, and had, later."""
    classes = json.dumps(dataset.classes)
    named = {tags.CLASSES: classes} if len(classes) <= tags.LONGEST else {}
    return {**named, tags.SPEC: dataset.spec}


def classes_of(record: Record) -> tuple[str, ...]:
    """Names of the classes of a record's dataset: as its run tells, or its copy; else none."""
    if record.classes:
        return record.classes
    there = prepared(record.dataset, record.digest, record.modality)
    return there.classes if there else ()


def again(record: Record, prepare: Callable[[DatasetSpec], Dataset]) -> Dataset:
    """The very dataset of a record.

    Args:
        record: of a benchmark run.
        prepare: as ``datasets.prepare``.

    Raises:
        DatasetError: neither its copy nor its source is here, or the source has changed since.
    """
    if there := prepared(record.dataset, record.digest, record.modality):
        return there
    if not record.spec:
        raise DatasetError(
            f"{record.dataset}: no prepared copy on this machine, and its runs do not say where it "
            "came from"
        )
    try:
        spec = DatasetSpec.read(json.loads(record.spec), record.dataset, Path())
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{record.dataset}: what its runs say of it is damaged: {error}"
        ) from None
    found = prepare(spec)
    if found.digest != record.digest:
        raise DatasetError(
            f"{record.dataset}: {spec.path} has changed since: expected content {record.digest}, "
            f"got {found.digest}"
        )
    return found
