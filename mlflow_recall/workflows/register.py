"""Zoo file -> registered models."""

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
    """Register every entry; run again, it changes only what changed.

    Raises:
        ZooError: no entry could be registered; the single failures were said before.
    """
    done = []
    with reporter.progress("register", len(entries)) as bar:
        for entry in entries:
            try:
                done.append(registry.register(with_size(entry)))
            except ZooError as error:
                reporter.info(f"not registered: {error}")
            bar.advance(now=entry.title)
    if not done:
        raise ZooError("register: expected at least one usable model, got none")
    return done


def with_size(entry: ZooEntry) -> ZooEntry:
    """The entry with its size, where nobody wrote that down and its architecture is known here.

    Nothing is fetched for it: a hub model gets its size when it is registered again after its first
    use on this machine.
    """
    if entry.parameters and entry.gmacs and entry.input_size:
        return entry
    found = measure_size(
        entry_arch(entry), entry.modality, config_folder(entry.source), entry.config
    )
    if found is None:
        return entry
    return replace(
        entry,
        parameters=entry.parameters or found.parameters,
        gmacs=entry.gmacs or found.gmacs or 0.0,
        input_size=entry.input_size or found.input_size,
    )
