"""The size of a model from its architecture alone, without weights and without memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: tokens of the text that multiply-adds are counted for
TOKENS = 128
#: pixels of a side of the image, where an architecture accepts any size
_IMAGE_SIDE = 224


@dataclass(frozen=True)
class Size:
    """The size of a backbone, without a head."""

    parameters: int
    #: 10⁹ multiply-adds of a forward pass over one sample; None where they cannot be counted
    gmacs: float | None
    #: size of that sample: tokens, or pixels of a side
    input_size: int


def measure_size(
    arch: str, modality: str, folder: Path | None = None, config: Mapping[str, object] | None = None
) -> Size | None:
    """Return parameters and multiply-adds of a model, which is built without weights.

    Multiply-adds are those of matrix products, convolutions and attention, for one text of 128
    tokens, or for one image of the architecture's own size (224 pixels where it accepts any).

    Args:
        arch: ``timm/<architecture>`` or ``transformers/<model type>``.
        modality: ``text`` or ``image``.
        folder: Folder with ``config.json``, which transformers needs; None: there is none.
        config: Arguments that shape the architecture.

    Returns:
        The size; None where the arguments do not determine the model.
    """
    described = _read_config(folder)
    library, _, name = arch.partition("/")
    try:
        if library == "timm":
            arguments = {**(described.get("model_args") or {}), **(config or {})}
            return _timm_size(str(described.get("architecture") or name), arguments)
        if folder is not None and "model_type" in described:
            return _transformers_size(folder, modality, config or {})
    except Exception as error:  # libraries raise many kinds of errors for an unusual config
        logging.getLogger(__name__).info("%s: size unknown: %s", arch, error)
    return None


def config_folder(source: str) -> Path | None:
    """Return the folder on this machine with the configuration of a source; None without one.

    Args:
        source: Folder, ``hf:/org/name[@revision]`` or ``timm:/name[@revision]``.
    """
    scheme, separator, rest = source.partition(":/")
    if not separator:
        return Path(source)
    name, _, revision = rest.partition("@")
    repository = {"hf": name, "timm": f"timm/{name}"}.get(scheme)
    if repository is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, "config.json", revision=revision or None)
    return Path(path).parent if isinstance(path, str) else None


def _read_config(folder: Path | None) -> dict[str, Any]:
    file = folder / "config.json" if folder else None
    if file is None or not file.exists():
        return {}
    described: dict[str, Any] = json.loads(file.read_text())
    return described


def _timm_size(architecture: str, arguments: dict[str, Any]) -> Size:
    import timm
    import torch

    arguments.pop("num_classes", None)
    with torch.device("meta"):
        module: Any = timm.create_model(architecture, num_classes=0, **arguments).eval()
        image = torch.empty(1, *_image_shape(module.pretrained_cfg, arguments))
    return Size(_count_parameters(module), _count_gmacs(module, x=image), image.shape[-1])


def _image_shape(
    described: Mapping[str, Any], arguments: Mapping[str, Any]
) -> tuple[int, int, int]:
    channels, *_, side = described.get("input_size") or (3, _IMAGE_SIDE, _IMAGE_SIDE)
    side = arguments.get("img_size", side)
    return channels, side, side


def _transformers_size(folder: Path, modality: str, config: Mapping[str, object]) -> Size:
    import torch
    from transformers import AutoConfig, AutoModel

    auto: Any = AutoModel
    described: Any = AutoConfig.from_pretrained(folder, **config)
    with torch.device("meta"):
        # other kinds of attention read the values of masks, which tensors without memory lack
        module: Any = auto.from_config(described, attn_implementation="eager").eval()
        if modality == "text":
            max_tokens = getattr(described, "max_position_embeddings", None) or TOKENS
            size = min(TOKENS, max_tokens)
            batch = {"input_ids": torch.zeros(1, size, dtype=torch.long)}
        else:
            size = getattr(described, "image_size", None) or _IMAGE_SIDE
            batch = {"pixel_values": torch.empty(1, 3, size, size)}
    return Size(_count_parameters(module), _count_gmacs(module, **batch), size)


def _count_parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count_gmacs(module: Any, **batch: Any) -> float | None:
    """Return 10⁹ multiply-adds of a forward pass; None where it needs the values of tensors."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            module(**batch)
    except (RuntimeError, NotImplementedError):
        return None
    return float(counter.get_total_flops()) / 2e9
