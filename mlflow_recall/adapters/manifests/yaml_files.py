"""YAML files that people write: a zoo of models or a list of benchmark datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.manifests.bounded_yaml import read_yaml
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.errors import ConfigError

MODALITIES = ("image", "text")


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """One model of a zoo file."""

    #: ``hf:/org/name[@revision]``, ``timm:/name``, ``example:/name``, or a folder
    source: str
    modality: str
    name: str = ""
    #: ``timm/<architecture>`` where a folder of weights alone does not say it
    arch: str = ""
    family: str = ""
    #: dataset that it was pre-trained on
    upstream: str = ""
    license: str = ""
    #: whether its head was trained on real source classes
    source_head: bool = False
    #: parameters of the backbone; None where they are unknown
    parameters: int | None = None
    #: 10⁹ multiply-adds of a forward pass over one sample; None where they are unknown
    gmacs: float | None = None
    #: size of that sample: tokens, or pixels of a side; None where it is unknown
    input_size: int | None = None
    #: command that rebuilds weights which no other machine can fetch
    rebuild: str = ""
    #: arguments that shape the architecture
    config: Mapping[str, object] = field(default_factory=dict)
    #: fields of the recipe that differ from its family's default
    recipe: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name in the registry, which allows no ``/`` and no ``:``."""
        name = self.name or self.source.partition(":/")[2].partition("@")[0] or self.source
        return name.strip("/").replace("/", "--").replace(":", "--")

    @property
    def folder(self) -> Path | None:
        """The local folder of the source; None where the source is no folder."""
        return None if ":/" in self.source else Path(self.source)


def read_zoo(path: str | Path) -> list[ZooEntry]:
    """Read the models of a zoo file; folders are relative to it.

    Raises:
        ConfigError: The file is no such file; the message names the entry and the key.
    """
    path, entries = _entries(path, "models")
    known = {field.name for field in fields(ZooEntry)}
    models = []
    for i, entry in enumerate(entries, start=1):
        where = f"{path}: models[{i}]"
        if unknown := set(entry) - known:
            raise ConfigError(
                f"{where}: unknown key {min(unknown)!r}: "
                f"expected some of {', '.join(sorted(known))}"
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
    titles = [model.title for model in models]
    if repeated := {title for title in titles if titles.count(title) > 1}:
        raise ConfigError(f"{path}: expected every model once, got {min(repeated)!r} twice")
    return models


def read_benchmarks(path: str | Path) -> list[DatasetSpec]:
    """Read the datasets of a benchmark file; paths are relative to it.

    Raises:
        ConfigError: The file is no such file.
        DatasetError: An entry is wrong; the message says which.
    """
    path, entries = _entries(path, "datasets")
    return [
        DatasetSpec.from_mapping(entry, f"{path}: datasets[{i}]", path.parent)
        for i, entry in enumerate(entries, start=1)
    ]


def _entries(path: str | Path, key: str) -> tuple[Path, list[dict[str, Any]]]:
    """Return the path of a file, and the mappings in the list under a key."""
    path = Path(path)
    content = read_yaml(path)
    entries = content.get(key) if isinstance(content, dict) else None
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(e, dict) for e in entries)
    ):
        raise ConfigError(f"{path}: expected a list {key!r} of mappings at the top, got none")
    for i, entry in enumerate(entries, start=1):
        if wrong := [name for name in entry if not isinstance(name, str)]:
            raise ConfigError(f"{path}: {key}[{i}]: expected words as keys, got {wrong[0]!r:.60}")
    return path, entries
