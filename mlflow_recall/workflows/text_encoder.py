"""A text model of the zoo as an encoder of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts
from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ConfigError
from mlflow_recall.workflows.services import Services


def load_encoder(name: str, services: Services) -> EncodeTexts:
    """The registered text model of that name, or the folder of one.

    Args:
        name: in the registry, with or without the prefix of the namespace; or a folder with
            ``config.json``, safetensors and a tokenizer.
        bench: gives the registry.

    Raises:
        SettingError: there is no such model, or it reads no texts.
        ZooError: its weights cannot be had.
    """
    if Path(name).is_dir():
        return load_encoder_folder(name)
    members = [m for m in services.registry.members() if m.modality == "text" and m.is_available]
    found = [m for m in members if m.name == name or m.name.endswith(f"--{name}")]
    exact = [m for m in found if m.name == name] or found
    if len(exact) != 1:
        known = ", ".join(member.name for member in (found or members)[:12]) or "none"
        raise ConfigError(f"encoder: expected a folder or one of {known}, got {name!r}")
    return _encoder(exact[0], services.registry.weights(exact[0]))


def load_encoder_folder(folder: str) -> EncodeTexts:
    """The text model in a folder with ``config.json``, safetensors and a tokenizer.

    Raises:
        SettingError: there is no such folder.
    """
    if not (Path(folder) / "config.json").exists():
        raise ConfigError(
            f"encoder: expected a folder with config.json, safetensors and a tokenizer, since "
            f"tables have no registry, got {folder!r}"
        )
    return _encoder(Member(Path(folder).name, "", "text", "transformers/auto"), folder)


def _encoder(member: Member, weights: str) -> EncodeTexts:
    from mlflow_recall.adapters import zoo

    def encode(texts: Sequence[str]) -> FloatArray:
        return zoo.embed(member, weights, texts)

    return encode
