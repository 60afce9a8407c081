"""The tags of a registered version, from an entry of a zoo file."""

from __future__ import annotations

import json
from pathlib import Path

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.zoo.model_folder import read_config, weights_digest
from mlflow_recall.errors import ZooError


def entry_tags(entry: ZooEntry, namespace: str) -> dict[str, str]:
    """Return the tags of a version of the entry.

    Raises:
        ZooError: Its folder has no safetensors, or its architecture is unknown.
    """
    digest = {tags.WEIGHTS_DIGEST: weights_digest(entry.folder)} if entry.folder else {}
    values = {
        tags.ARCH: entry_arch(entry),
        tags.MODALITY: entry.modality,
        tags.FAMILY: entry.family,
        tags.SOURCE: entry.source,
        tags.SOURCE_HEAD: str(entry.source_head).lower(),
        tags.NAMESPACE: namespace,
        tags.UPSTREAM: entry.upstream,
        tags.LICENSE: entry.license,
        tags.WEIGHTS: "present" if entry.rebuild else "",  # an import writes absent
        tags.REBUILD: entry.rebuild,
        tags.PARAMETERS: str(entry.parameters or ""),
        tags.GMACS: f"{entry.gmacs:.4g}" if entry.gmacs else "",
        tags.INPUT_SIZE: str(entry.input_size or ""),
        tags.CONFIG: json.dumps(dict(entry.config), sort_keys=True),
        tags.RECIPE: json.dumps(dict(entry.recipe), sort_keys=True),
        **digest,
    }
    return {key: value for key, value in values.items() if value not in ("", "{}")}


def entry_arch(entry: ZooEntry, folder: Path | None = None) -> str:
    """Return library and architecture of an entry, without loading its weights.

    Args:
        entry: Entry of a zoo file.
        folder: Folder with its configuration; None: its own folder, if its source is one.

    Raises:
        ZooError: Its folder has no ``config.json``, and it has no key ``arch``.
    """
    if entry.arch:
        return entry.arch
    config = read_config(folder or entry.folder)
    if "architecture" in config:
        return f"timm/{config['architecture']}"
    if config:
        return f"transformers/{config.get('model_type', 'auto')}"
    scheme, _, rest = entry.source.partition(":/")
    if scheme == "timm":
        return f"timm/{rest.partition('@')[0].partition('.')[0]}"
    if entry.folder is not None:
        raise ZooError(
            f"{entry.title}: expected config.json in {entry.folder}, or the key arch "
            "(timm/<architecture>) in the zoo file"
        )
    return "transformers/auto"
