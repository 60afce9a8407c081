"""A text model of the zoo as an encoder of sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.cards import Encode
from mlflow_recall.core.records import Member
from mlflow_recall.errors import SettingError
from mlflow_recall.workflows.bench import Bench


def encoder_of(name: str, bench: Bench) -> Encode:
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
        return encoder_in(name)
    members = [m for m in bench.registry.members() if m.modality == "text" and m.available]
    found = [m for m in members if m.name == name or m.name.endswith(f"--{name}")]
    exact = [m for m in found if m.name == name] or found
    if len(exact) != 1:
        known = ", ".join(member.name for member in (found or members)[:12]) or "none"
        raise SettingError(f"encoder: expected a folder or one of {known}, got {name!r}")
    return _encoder(exact[0], bench.registry.weights(exact[0]))


def encoder_in(folder: str) -> Encode:
    """The text model in a folder with ``config.json``, safetensors and a tokenizer.

    Raises:
        SettingError: there is no such folder.
    """
    if not (Path(folder) / "config.json").exists():
        raise SettingError(
            f"encoder: expected a folder with config.json, safetensors and a tokenizer, since "
            f"tables have no registry, got {folder!r}"
        )
    return _encoder(Member(Path(folder).name, "", "text", "transformers/auto"), folder)


def _encoder(member: Member, weights: str) -> Encode:
    from mlflow_recall.adapters import zoo

    def encode(texts: Sequence[str]) -> FloatArray:
        return zoo.embed(member, weights, texts)

    return encode
