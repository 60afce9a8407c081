"""A text model of the zoo, or of a folder, as an encoder of sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ConfigError
from mlflow_recall.workflows.services import Services


def load_encoder(name: str, services: Services) -> EncodeTexts:
    """Return the registered text model of that name, or the one in a folder, as an encoder.

    Args:
        name: Name in the registry, with or without the prefix of the namespace; or a folder with
            ``config.json``, safetensors and a tokenizer.
        services: The registry.

    Raises:
        ConfigError: There is no such text model.
    """
    if Path(name).is_dir():
        return load_encoder_folder(name)
    members = [m for m in services.registry.members() if m.modality == "text" and m.is_available]
    matches = [m for m in members if m.name == name or m.name.endswith(f"--{name}")]
    chosen = [m for m in matches if m.name == name] or matches
    if len(chosen) != 1:
        known = join_names(member.name for member in matches or members)
        raise ConfigError(f"encoder: expected a folder or one of {known}, got {name!r}")
    return _encoder(chosen[0], lambda: services.registry.weights(chosen[0]))


def load_encoder_folder(folder: str) -> EncodeTexts:
    """Return the text model in a folder as an encoder.

    Args:
        folder: Folder with ``config.json``, safetensors and a tokenizer.

    Raises:
        ConfigError: There is no such folder.
    """
    if not (Path(folder) / "config.json").exists():
        raise ConfigError(
            f"encoder: expected a folder with config.json, safetensors and a tokenizer, since "
            f"tables have no registry, got {folder!r}"
        )
    member = Member(name=Path(folder).name, version="", modality="text", arch="transformers/auto")
    return _encoder(member, lambda: folder)


def _encoder(member: Member, weights: Callable[[], str]) -> EncodeTexts:
    """Return an encoder that resolves and loads its weights when it is used."""
    from mlflow_recall.adapters import zoo

    def encode(texts: Sequence[str]) -> FloatArray:
        return zoo.embed(member, weights(), texts)

    return encode
