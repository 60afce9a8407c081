"""Register the models of a zoo file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking.entry_tags import entry_arch
from mlflow_recall.adapters.tracking.registry import MlflowRegistry, RegistrationResult
from mlflow_recall.adapters.zoo.model_size import config_folder, measure_size
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import Reporter


def register_models(
    entries: Sequence[ZooEntry], registry: MlflowRegistry, reporter: Reporter
) -> list[RegistrationResult]:
    """Register every entry; entries that have not changed since are left as they are.

    Raises:
        ZooError: No entry could be registered; a warning says why for each.
    """
    results = []
    with reporter.progress("register", len(entries)) as bar:
        for entry in entries:
            try:
                results.append(registry.register(add_size(entry)))
            except ZooError as error:
                reporter.warning(f"not registered: {error}")
            bar.advance(status=entry.title)
    if not results:
        raise ZooError("register: expected at least one usable model, got none")
    return results


def add_size(entry: ZooEntry) -> ZooEntry:
    """Return the entry with its size, if it has none and its architecture is known.

    Nothing is downloaded: a hub model gets its size when it is registered again after its first use
    on this machine.
    """
    if entry.parameters and entry.gmacs and entry.input_size:
        return entry
    size = measure_size(
        entry_arch(entry), entry.modality, config_folder(entry.source), entry.config
    )
    if size is None:
        return entry
    return replace(
        entry,
        parameters=entry.parameters or size.parameters,
        gmacs=entry.gmacs or size.gmacs,
        input_size=entry.input_size or size.input_size,
    )
