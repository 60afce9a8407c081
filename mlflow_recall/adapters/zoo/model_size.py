"""How large a model is, told from its architecture alone: no weights, no memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: tokens of the text that work is counted for
TOKENS = 128
_SIDE = 224  # of the picture, where an architecture takes any


@dataclass(frozen=True)
class Size:
    """Of a backbone, without a head."""

    parameters: int
    #: 10⁹ multiply-adds of one forward pass over one sample; None: the pass needs real numbers
    gmacs: float | None
    #: tokens of that text, or the side of that picture in pixels
    input_size: int


def measure_size(
    arch: str, modality: str, folder: Path | None = None, config: Mapping[str, object] | None = None
) -> Size | None:
    """Parameters and work of a model that is never loaded: it is built of shapes alone.

    Multiply-adds are those of matrix products, convolutions and attention, for one text of 128
    tokens, or one picture of the side that the architecture was made for (224 where it takes any).

    Args:
        arch: ``timm/<architecture>`` or ``transformers/<model type>``.
        modality: ``text`` or ``image``.
        folder: with ``config.json``; needed for transformers.
        config: arguments that shape the architecture.

    Returns:
        None where these do not say what the model looks like.
    """
    described = _described(folder)
    library, _, name = arch.partition("/")
    try:
        if library == "timm":
            shape = {**(described.get("model_args") or {}), **(config or {})}
            return _timm(str(described.get("architecture") or name), shape)
        if folder is not None and "model_type" in described:
            return _transformers(folder, modality, config or {})
    except Exception as error:  # a library's own complaints about a strange config are many
        logging.getLogger(__name__).info("%s: size unknown: %s", arch, error)
    return None


def config_folder(source: str) -> Path | None:
    """Where the configuration of a source is on this machine; None: not yet, or nowhere.

    Args:
        source: a folder, ``hf:/org/name[@revision]`` or ``timm:/name[@revision]``.
    """
    scheme, here, rest = source.partition(":/")
    if not here:
        return Path(source)
    name, _, revision = rest.partition("@")
    repository = {"hf": name, "timm": f"timm/{name}"}.get(scheme)
    if repository is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json", revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _described(folder: Path | None) -> dict[str, Any]:
    file = folder / "config.json" if folder else None
    if file is None or not file.exists():
        return {}
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _timm(architecture: str, shape: dict[str, Any]) -> Size:
    import timm
    import torch

    shape.pop("num_classes", None)
    with torch.device("meta"):
        module: Any = timm.create_model(architecture, num_classes=0, **shape).eval()
        picture = torch.empty(1, *_picture(module.pretrained_cfg, shape))
    return Size(_parameters(module), _gmacs(module, x=picture), picture.shape[-1])


def _picture(described: Mapping[str, Any], shape: Mapping[str, Any]) -> tuple[int, int, int]:
    channels, *_, side = described.get("input_size") or (3, _SIDE, _SIDE)
    side = shape.get("img_size", side)
    return channels, side, side


def _transformers(folder: Path, modality: str, config: Mapping[str, object]) -> Size:
    import torch
    from transformers import AutoConfig, AutoModel

    auto: Any = AutoModel
    described: Any = AutoConfig.from_pretrained(folder, **config)
    with torch.device("meta"):
        # plain attention: other kinds look into masks, and shapes have none
        module: Any = auto.from_config(described, attn_implementation="eager").eval()
        if modality == "text":
            longest = getattr(described, "max_position_embeddings", None) or TOKENS
            size = min(TOKENS, longest)
            given = {"input_ids": torch.zeros(1, size, dtype=torch.long)}
        else:
            size = getattr(described, "image_size", None) or _SIDE
            given = {"pixel_values": torch.empty(1, 3, size, size)}
    return Size(_parameters(module), _gmacs(module, **given), size)


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _gmacs(module: Any, **batch: Any) -> float | None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            module(**batch)
    except (RuntimeError, NotImplementedError):
        return None
    return float(counter.get_total_flops()) / 2e9
