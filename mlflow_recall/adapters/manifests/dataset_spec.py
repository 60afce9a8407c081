"""Where a dataset is and which columns matter, as a person writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlflow_recall.core.history.metrics import METRICS
from mlflow_recall.core.history.tasks import TASKS
from mlflow_recall.errors import DatasetError, unknown_name
from mlflow_recall.limits import MAX_NAME_LENGTH
from mlflow_recall.safe_text import redact, safe_line

#: an address such as https://host/file, or s3://bucket/file
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_SEED = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Where a dataset is and which columns matter; empty columns are inferred."""

    #: hub id, file, image folder, or folder written by ``Dataset.save_to_disk``
    path: str
    name: str = ""
    #: configuration of a hub dataset
    config: str = ""
    #: column of the texts, the images and the labels
    text: str = ""
    #: column of the second texts, of a dataset of sentence pairs
    text_pair: str = ""
    image: str = ""
    label: str = ""
    #: columns of zeros and ones, one for each label of a multi-label dataset
    labels: tuple[str, ...] = ()
    #: ``classification``, ``multilabel`` or ``regression``; empty: found out
    task: str = ""
    #: metric that models are compared by on it; empty: that of its task
    metric: str = ""
    #: column that names each row's split
    split: str = "split"
    #: seed of the splits that the source does not have
    seed: int = 0
    #: how a text file is written: one character or the name of a delimiter, an encoding, and
    #: ``double``, ``backslash`` or ``none`` for its quotation marks; empty: found out
    delimiter: str = ""
    encoding: str = ""
    quoting: str = ""
    license: str = ""
    #: where the dataset comes from, for people
    origin: str = ""

    def __post_init__(self) -> None:
        """Refuse what no run can be called, and addresses, which may hold a password."""
        if len(self.name) > MAX_NAME_LENGTH:
            raise DatasetError(
                f"name of a dataset: expected at most {MAX_NAME_LENGTH} characters, got "
                f"{len(self.name)}"
            )
        if self.task not in ("", *TASKS):
            raise DatasetError(unknown_name("task", self.task, TASKS))
        if self.metric and self.metric not in METRICS:
            raise DatasetError(unknown_name("metric", self.metric, METRICS))
        if not self.path:
            raise DatasetError("dataset: expected a file, a folder or a hub id, got an empty path")
        if _ADDRESS.match(self.path):
            raise DatasetError(
                "dataset: expected a file, a folder or a hub id, got the address "
                f"{redact(self.path)!r}: download it first"
            )

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any], where: str, folder: Path) -> DatasetSpec:
        """Return the dataset of one entry of a benchmark file.

        Args:
            entry: Keys and values of the entry.
            where: Place of the entry, for error messages.
            folder: Folder of the file; a path that exists in it is relative to it.

        Raises:
            DatasetError: A key is unknown, there is no path, or a value has another type.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(entry) - known:
            raise DatasetError(
                f"{where}: unknown key {min(unknown)!r}: "
                f"expected some of {', '.join(sorted(known))}"
            )
        if not entry.get("path"):
            raise DatasetError(f"{where}: expected a path or hub id under 'path', got none")
        entry = _split_labels(_split_pair(entry, where), where)
        labels = tuple(str(name) for name in entry.pop("labels", None) or ())
        for key, value in entry.items():
            if not isinstance(value, str | int | float | None):
                raise DatasetError(f"{where}: {key}: expected text, got {value!r}")
        local = folder / str(entry["path"])
        path = str(local) if _exists(local) else str(entry["path"])
        texts = {k: str(v) for k, v in entry.items() if k != "seed" and v is not None}
        seed = _read_seed(entry.get("seed"), where)
        try:
            return cls(**{**texts, "path": path}, labels=labels, seed=seed)
        except DatasetError as error:
            raise DatasetError(f"{where}: {error}") from None

    def to_json(self) -> str:
        """Return the specification as JSON that holds in any working directory."""
        path = Path(self.path).expanduser()
        entry = {**vars(self), "path": str(path.resolve()) if _exists(path) else self.path}
        non_empty = {key: value for key, value in entry.items() if value not in ("", 0, ())}
        return json.dumps(non_empty, sort_keys=True)

    @property
    def title(self) -> str:
        """``name``, or else one made of path and configuration; it is safe to show anywhere."""
        if self.name:
            return safe_line(self.name)
        local = Path(self.path)
        stem = local.stem if _exists(local) else self.path.strip("/").replace("/", "--")
        title = f"{stem}--{self.config}" if self.config else stem
        return safe_line(title)[:MAX_NAME_LENGTH]


def _exists(path: Path) -> bool:
    """Return whether there is such a file or folder; a name that no system allows has none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _split_pair(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry with the two columns of ``text: [first, second]`` under keys of their own.

    Raises:
        DatasetError: There are more columns, or other values.
    """
    columns = entry.get("text")
    if not isinstance(columns, list | tuple):
        return dict(entry)
    if not 1 <= len(columns) <= 2 or "text_pair" in entry:
        raise DatasetError(
            f"{where}: text: expected one column or a pair of columns, got {list(columns)!r}"
        )
    return {**entry, **dict(zip(("text", "text_pair"), columns, strict=False))}


def _split_labels(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry with the columns of ``label: [first, second, ...]`` under ``labels``.

    Raises:
        DatasetError: They are no names, or are named twice.
    """
    entry = dict(entry)
    columns = entry.get("label")
    if isinstance(columns, list | tuple):
        if "labels" in entry:
            raise DatasetError(f"{where}: expected label or labels, got both")
        entry["labels"] = entry.pop("label")
    names = entry.get("labels")
    if names is not None and not (
        isinstance(names, list | tuple) and all(isinstance(name, str | int) for name in names)
    ):
        raise DatasetError(f"{where}: labels: expected names of columns, got {names!r:.60}")
    if names is not None and len(names) == 1:
        entry["label"] = str(entry.pop("labels")[0])
    return entry


def _read_seed(value: object, where: str) -> int:
    """Return a seed; zero where it is unset.

    Raises:
        DatasetError: It is no integer from 0 up.
    """
    text = "0" if value is None or value == "" else str(value)
    if isinstance(value, bool) or not _SEED.fullmatch(text):
        raise DatasetError(f"{where}: seed: expected an integer from 0 up, got {value!r}")
    return int(text)
