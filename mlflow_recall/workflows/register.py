"""Register the models of a zoo file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflow_recall.adapters.manifests.yaml_files import ZooEntry
from mlflow_recall.adapters.tracking.entry_tags import entry_arch
from mlflow_recall.adapters.tracking.registry import MlflowRegistry, RegistrationResult
from mlflow_recall.adapters.zoo.model_folder import check_folder
from mlflow_recall.adapters.zoo.model_settings import check_settings
from mlflow_recall.adapters.zoo.model_size import measure_size
from mlflow_recall.adapters.zoo.sources import locate
from mlflow_recall.adapters.zoo.trial import try_model
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import Reporter
from mlflow_recall.workflows.benchmark import resolve_recipe


@dataclass(kw_only=True)
class RegisterResult:
    """What became of the entries of a zoo file."""

    models: list[RegistrationResult] = field(default_factory=list)
    #: name -> why it is not registered
    failed: dict[str, str] = field(default_factory=dict)


def register_models(
    entries: Sequence[ZooEntry], registry: MlflowRegistry, reporter: Reporter
) -> RegisterResult:
    """Register every entry that can be trained, probed and served; a warning names the others.

    Entries that have not changed since are left as they are.
    """
    result = RegisterResult()
    with reporter.progress("register", len(entries)) as bar:
        for entry in entries:
            try:
                result.models.append(registry.register(_examine(entry)))
            except ZooError as error:
                result.failed[entry.title] = str(error)
                reporter.warning(f"not registered: {error}")
            bar.advance(status=entry.title)
    return result


def _examine(entry: ZooEntry) -> ZooEntry:
    """Return an entry with its architecture and its size, after it was tried.

    Raises:
        ZooError: Its weights cannot be had, or it cannot be trained, probed and served.
    """
    check_settings(entry.config, f"{entry.title}: config")
    folder = locate(entry.source)
    if entry.folder is not None:
        check_folder(entry.folder)
    entry = replace(entry, arch=entry_arch(entry, folder))
    member = Member(
        name=entry.title,
        version="",
        modality=entry.modality,
        arch=entry.arch,
        family=entry.family,
        has_source_head=entry.source_head,
        config=entry.config,
        recipe=entry.recipe,
    )
    try_model(member, folder, resolve_recipe(member, {}))
    return _add_size(entry, folder)


def _add_size(entry: ZooEntry, folder: Path | None) -> ZooEntry:
    """Return the entry with its size, where it has none and its configuration is known."""
    if entry.parameters and entry.gmacs and entry.input_size:
        return entry
    size = measure_size(entry.arch, entry.modality, folder, entry.config)
    if size is None:
        return entry
    return replace(
        entry,
        parameters=entry.parameters or size.parameters,
        gmacs=entry.gmacs or size.gmacs,
        input_size=entry.input_size or size.input_size,
    )
