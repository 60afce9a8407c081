"""Zoo file -> registered models."""

from __future__ import annotations

from collections.abc import Sequence

from mlflow_recall.adapters.manifests import ZooEntry
from mlflow_recall.adapters.registry import MlflowRegistry, Registered
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
                done.append(registry.register(entry))
            except ZooError as error:
                voice.say(f"not registered: {error}")
            bar.advance(now=entry.title)
    if not done:
        raise ZooError("register: expected at least one usable model, got none")
    return done
