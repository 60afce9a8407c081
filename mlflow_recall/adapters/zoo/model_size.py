"""The size of a model from its architecture alone, without weights and without memory."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.zoo.model_folder import read_config

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
        The size of the part that reads the modality; None where the arguments do not determine it.

    Raises:
        ZooError: ``config.json`` is refused.
    """
    described = read_config(folder)
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

    from mlflow_recall.adapters.zoo.transformers_models import LOCAL, find_reader

    auto: Any = AutoModel
    described: Any = AutoConfig.from_pretrained(folder, **LOCAL, **config)
    with torch.device("meta"):
        # other kinds of attention read the values of masks, which tensors without memory lack
        module: Any = auto.from_config(
            described, attn_implementation="eager", trust_remote_code=False
        ).eval()
        reader = find_reader(module, modality)
        if modality == "text":
            max_tokens = getattr(reader.config, "max_position_embeddings", None) or TOKENS
            size = min(TOKENS, max_tokens)
            batch = {"input_ids": torch.zeros(1, size, dtype=torch.long)}
        else:
            size = getattr(reader.config, "image_size", None) or _IMAGE_SIDE
            size = size[0] if isinstance(size, list | tuple) else size
            channels = getattr(reader.config, "num_channels", None) or 3
            batch = {"pixel_values": torch.empty(1, channels, size, size)}
    return Size(_count_parameters(reader), _count_gmacs(reader, **batch), size)


def _count_parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count_gmacs(module: Any, **batch: Any) -> float | None:
    """Return 10⁹ multiply-adds of a forward pass; None where it needs the values of tensors."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            module(**batch)
    except Exception:  # of many kinds, where tensors have no values
        return None
    return float(counter.get_total_flops()) / 2e9
