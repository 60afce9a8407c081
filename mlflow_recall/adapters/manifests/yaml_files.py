"""YAML files that people write: a zoo of models or a list of benchmark datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlflow_recall import limits
from mlflow_recall.adapters.manifests.bounded_yaml import read_yaml
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.errors import ConfigError, DatasetError
from mlflow_recall.safe_text import redact, safe_line

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
        return safe_line(name.strip("/")).replace("/", "--").replace(":", "--")

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
        models.append(_read_model(entry, where, path.parent))
    titles = [model.title for model in models]
    if repeated := {title for title in titles if titles.count(title) > 1}:
        raise ConfigError(f"{path}: expected every model once, got {min(repeated)!r} twice")
    return models


def _read_model(entry: Mapping[str, Any], where: str, folder: Path) -> ZooEntry:
    """Return one entry of a zoo file, whose values may have any type that YAML has.

    Raises:
        ConfigError: A value is not what its key expects.
    """
    values = {key: value for key, value in entry.items() if value is not None}
    if not values.get("source"):
        raise ConfigError(f"{where}: expected a source such as hf:/org/name, got none")
    if redact(str(values["source"])) != str(values["source"]):
        raise ConfigError(
            f"{where}: source: expected no password in it, got {redact(str(values['source']))}: "
            "log in with `hf auth login` or the settings of your store"
        )
    for key in values.keys() - _KINDS.keys():
        values[key] = _read_text(values[key], f"{where}: {key}")
    for key, read in _KINDS.items():
        if key in values:
            values[key] = read(values[key], f"{where}: {key}")
    if values.get("modality") not in MODALITIES:
        raise ConfigError(
            f"{where}: modality: expected one of {', '.join(MODALITIES)}, "
            f"got {entry.get('modality')!r:.60}"
        )
    if ":/" not in values["source"]:
        values["source"] = str((folder / values["source"]).resolve())
    model = ZooEntry(**values)
    if not model.title:
        raise ConfigError(f"{where}: expected a name, got {values.get('name')!r}")
    Recipe().with_changes(model.recipe, where)
    return model


def _read_text(value: object, where: str) -> str:
    """Return text; a whole number is text that somebody did not write in quotes.

    Of fractions, dates and the like, YAML does not keep how they were written.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ConfigError(f"{where}: expected text, got {value!r:.60}: write it in quotes")
    if not value.isprintable() or len(value) > limits.MAX_ZOO_TEXT:
        raise ConfigError(
            f"{where}: expected one line of at most {limits.MAX_ZOO_TEXT} printable characters, "
            f"got {value!r:.60}"
        )
    return value


def _read_number(value: object, where: str) -> float:
    number = math.nan
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not 0 < number < math.inf:
        raise ConfigError(f"{where}: expected a number above 0, got {value!r:.60}")
    return number


def _read_count(value: object, where: str) -> int:
    number = _read_number(value, where)
    if not number.is_integer():
        raise ConfigError(f"{where}: expected a whole number, got {value!r:.60}")
    return int(number)


def _read_flag(value: object, where: str) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ConfigError(f"{where}: expected true or false, got {value!r:.60}")
    return str(value).lower() == "true"


def _read_mapping(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: expected a mapping of names, got {value!r:.60}")
    return value


#: key of a zoo file that is no text -> what reads it
_KINDS: Mapping[str, Callable[[object, str], Any]] = MappingProxyType(
    {
        "source_head": _read_flag,
        "parameters": _read_count,
        "gmacs": _read_number,
        "input_size": _read_count,
        "config": _read_mapping,
        "recipe": _read_mapping,
    }
)


def read_benchmarks(path: str | Path) -> list[DatasetSpec]:
    """Read the datasets of a benchmark file; paths are relative to it.

    Raises:
        ConfigError: The file is no such file.
        DatasetError: An entry is wrong; the message says which.
    """
    path, entries = _entries(path, "datasets")
    specs = [
        DatasetSpec.from_mapping(entry, f"{path}: datasets[{i}]", path.parent)
        for i, entry in enumerate(entries, start=1)
    ]
    titles = [spec.title for spec in specs]
    if repeated := {title for title in titles if titles.count(title) > 1}:
        raise DatasetError(
            f"{path}: expected every dataset once, got {min(repeated)!r} twice: give one another "
            "name, under 'name'"
        )
    return specs


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
