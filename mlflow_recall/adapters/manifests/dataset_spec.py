"""Where a dataset is, as a person writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mlflow_recall.errors import DatasetError


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and which columns matter; empty columns are guessed."""

    #: hub id, file, image folder, or folder written by ``Dataset.save_to_disk``
    path: str
    name: str = ""
    #: configuration of a hub dataset
    config: str = ""
    text: str = ""
    image: str = ""
    label: str = ""
    #: column that names each row's split
    split: str = "split"
    #: of the splits that are not given
    seed: int = 0
    license: str = ""
    origin: str = ""

    @classmethod
    def from_mapping(cls, entry: Mapping[str, Any], where: str, folder: Path) -> DatasetSpec:
        """One entry of a benchmark file; a path that exists beside the file is relative to it.

        Raises:
            DatasetError: unknown keys, no path, or a seed that is no integer.
        """
        known = {field.name for field in fields(cls)}
        if extra := set(entry) - known:
            raise DatasetError(
                f"{where}: unknown key {min(extra)!r}: expected some of {', '.join(sorted(known))}"
            )
        if not entry.get("path"):
            raise DatasetError(f"{where}: expected a path or hub id under 'path', got none")
        beside = folder / str(entry["path"])
        path = str(beside) if beside.exists() else str(entry["path"])
        texts = {k: str(v) for k, v in entry.items() if k != "seed" and v is not None}
        seed = entry.get("seed") or 0
        try:
            return cls(**{**texts, "path": path}, seed=int(seed))
        except (TypeError, ValueError):
            raise DatasetError(f"{where}: seed: expected an integer, got {seed!r}") from None

    def to_json(self) -> str:
        """What ``read`` needs to make it again, wherever the process stands then."""
        path = Path(self.path).expanduser()
        told = {**vars(self), "path": str(path.resolve()) if path.exists() else self.path}
        kept = {key: value for key, value in told.items() if value not in ("", 0)}
        return json.dumps(kept, sort_keys=True)

    @property
    def title(self) -> str:
        """``name``, or else what the path is called."""
        if self.name:
            return self.name
        local = Path(self.path)
        stem = local.stem if local.exists() else self.path.strip("/").replace("/", "--")
        return f"{stem}--{self.config}" if self.config else stem
