"""YAML files that people write: a zoo of models, a list of benchmark datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.errors import ConfigError

MODALITIES = ("image", "text")


@dataclass(frozen=True)
class ZooEntry:
    """One model of a zoo file."""

    #: ``hf:/org/name[@revision]``, ``timm:/name``, ``example:/name``, or a folder
    source: str
    modality: str
    name: str = ""
    #: ``timm/<architecture>`` where a folder of weights alone does not say it
    arch: str = ""
    family: str = ""
    upstream: str = ""
    license: str = ""
    source_head: bool = False
    #: of the backbone; 0: nobody told
    parameters: int = 0
    #: 10⁹ multiply-adds of its forward pass over one sample; 0: nobody told
    gmacs: float = 0.0
    #: of that sample: tokens, or the side of a picture; 0: nobody told
    input_size: int = 0
    #: for weights that no other machine can fetch: the command that makes them again
    rebuild: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    recipe: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name in the registry, which knows no ``/`` and no ``:``."""
        plain = self.name or self.source.partition(":/")[2].partition("@")[0] or self.source
        return plain.strip("/").replace("/", "--").replace(":", "--")

    @property
    def folder(self) -> Path | None:
        """The local folder, for a source that is one."""
        return None if ":/" in self.source else Path(self.source)


def read_zoo(path: str | Path) -> list[ZooEntry]:
    """The models of a zoo file; folders are relative to it.

    Raises:
        SettingError: not such a file; the message says which entry and key.
    """
    path, entries = _entries(path, "models")
    known = {field.name for field in fields(ZooEntry)}
    models = []
    for i, entry in enumerate(entries, start=1):
        where = f"{path}: models[{i}]"
        if extra := set(entry) - known:
            raise ConfigError(
                f"{where}: unknown key {min(extra)!r}: expected some of {', '.join(sorted(known))}"
            )
        source = str(entry.get("source") or "")
        if not source:
            raise ConfigError(f"{where}: expected a source such as hf:/org/name, got none")
        if entry.get("modality") not in MODALITIES:
            raise ConfigError(
                f"{where}: modality: expected one of {', '.join(MODALITIES)}, "
                f"got {entry.get('modality')!r}"
            )
        for key in ("config", "recipe"):
            if not isinstance(entry.get(key, {}), dict):
                raise ConfigError(f"{where}: {key}: expected a mapping, got {entry[key]!r}")
        if ":/" not in source:
            source = str((path.parent / source).resolve())
        model = ZooEntry(**{**entry, "source": source})
        Recipe().with_changes(model.recipe, where)
        models.append(model)
    names = [model.title for model in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{path}: expected every model once, got {min(twice)!r} twice")
    return models


def read_benchmarks(path: str | Path) -> list[DatasetSpec]:
    """The datasets of a benchmark file; paths are relative to it.

    Raises:
        SettingError: not such a file.
        DatasetError: an entry is wrong; the message says which.
    """
    path, entries = _entries(path, "datasets")
    return [
        DatasetSpec.from_mapping(entry, f"{path}: datasets[{i}]", path.parent)
        for i, entry in enumerate(entries, start=1)
    ]


def _entries(path: str | Path, key: str) -> tuple[Path, list[dict[str, Any]]]:
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected a YAML file with a list {key!r}: no such file"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"
        ) from None
    entries = content.get(key) if isinstance(content, dict) else None
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(e, dict) for e in entries)
    ):
        raise ConfigError(f"{path}: expected a list {key!r} of mappings at the top, got none")
    return path, entries
