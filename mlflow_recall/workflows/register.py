"""Zoo file -> registered models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlflow_recall.adapters.entries import arch_of
from mlflow_recall.adapters.manifests import ZooEntry
from mlflow_recall.adapters.registry import MlflowRegistry, Registered
from mlflow_recall.adapters.zoo.size import config_folder, size_of
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import Voice


def register(
    entries: Sequence[ZooEntry], registry: MlflowRegistry, voice: Voice
) -> list[Registered]:
    """Register every entry; run again, it changes only what changed.

    Raises:
        ZooError: no entry could be registered; the single failures were said before.
    """
    done = []
    with voice.progress("register", len(entries)) as bar:
        for entry in entries:
            try:
                done.append(registry.register(sized(entry)))
            except ZooError as error:
                voice.say(f"not registered: {error}")
            bar.advance(now=entry.title)
    if not done:
        raise ZooError("register: expected at least one usable model, got none")
    return done


def sized(entry: ZooEntry) -> ZooEntry:
    """The entry with its size, where nobody wrote that down and its architecture is known here.

    Nothing is fetched for it: a hub model gets its size when it is registered again after its first
    use on this machine.
    """
    if entry.parameters and entry.gmacs and entry.input_size:
        return entry
    found = size_of(arch_of(entry), entry.modality, config_folder(entry.source), entry.config)
    if found is None:
        return entry
    return replace(
        entry,
        parameters=entry.parameters or found.parameters,
        gmacs=entry.gmacs or found.gmacs or 0.0,
        input_size=entry.input_size or found.input_size,
    )
