"""An image model as MLflow serves it: this file is copied into the model and executed there.

It imports nothing of this package, which need not be installed where the model is served: the
artifact ``decoding`` is the file that decodes images in training, too, and ``answers`` the one that
turns outputs into answers. It reads the files that ``mlflow_recall.adapters.zoo`` writes: a timm
folder, or a transformers encoder with one linear layer in ``head.safetensors`` and what it predicts
in ``classifier.json``.
"""

from __future__ import annotations

import base64
import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

_BATCH_SIZE = 64

#: n images -> (n, c) logits
_Logits: TypeAlias = Callable[[list[Image.Image]], Tensor]
#: what differs from a classification, the classes, and the logits
_Loaded: TypeAlias = tuple[dict[str, Any], list[str], _Logits]


class ImageModel(PythonModel):
    """A model that answers each ``image``, as ``answers.to_answers`` says."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network, from safetensors only, and the code of decoding and answers."""
        folder = Path(context.artifacts["weights"])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        load = _load_transformers if (folder / "classifier.json").exists() else _load_timm
        described, classes, self._logits = load(folder, device)
        self._answers = runpy.run_path(context.artifacts["answers"])
        self._target: dict[str, Any] = self._answers["read_target"](described, classes)
        self._decode = _load_decoder(context.artifacts["decoding"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer every row.

        Args:
            context: Not used, because ``load_context`` has loaded everything.
            model_input: n rows with the column ``image``: the bytes of a PNG, JPEG or other file
                that Pillow reads, or these bytes in base64, with or without the prefix of a data
                URL.
            params: ``threshold``, the probability from which a label is part of an answer.

        Returns:
            n rows in the order of the input: ``label`` and ``score`` in (0, 1]; of a multi-label
            model ``labels`` and ``scores``; of a regression ``prediction``.

        Raises:
            ValueError: A row is not an image.
        """
        # MLflow passes a dictionary of a list as one row that holds the list
        values = model_input["image"].explode().tolist()
        outputs: list[Tensor] = []
        for start in range(0, len(values), _BATCH_SIZE):
            rows = range(start, min(start + _BATCH_SIZE, len(values)))
            with torch.inference_mode():
                logits = self._logits([self._image(values[row], row) for row in rows])
                outputs.append(self._answers["to_outputs"](logits, self._target))
        answers: pd.DataFrame = self._answers["to_answers"](outputs, self._target, **(params or {}))
        return answers

    def _image(self, value: object, row: int) -> Image.Image:
        """Return an upright RGB image, as in training.

        Raises:
            ValueError: The value is not an image.
        """
        try:
            if isinstance(value, str):
                value = base64.b64decode(value.rpartition(",")[2], validate=False)
            if not isinstance(value, bytes):
                raise TypeError(f"it is a {type(value).__name__}")
            return self._decode(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"row {row}: expected the bytes of a picture, or these in base64: {error}"
            ) from error


def _load_decoder(file: str) -> Callable[[bytes], Image.Image]:
    """Return ``decode_image`` of a file, which other models' files do not replace."""
    names = runpy.run_path(file)
    decode: Callable[[bytes], Image.Image] = names["decode_image"]
    return decode


def _load_timm(folder: Path, device: torch.device) -> _Loaded:
    """Return the target, the classes and the logits of a timm folder."""
    import timm

    described = json.loads((folder / "config.json").read_text())
    arguments = {**described.get("model_args", {}), "num_classes": described["num_classes"]}
    module = timm.create_model(described["architecture"], pretrained=False, **arguments)
    module.load_state_dict(load_file(folder / "model.safetensors"))
    module.to(device).eval()
    described_input = described["recall_input"]
    size, mode, mean, std = (described_input[key] for key in ("size", "mode", "mean", "std"))

    def logits(images: list[Image.Image]) -> Tensor:
        squares = [
            np.asarray(image.convert(mode).resize((size, size)), np.float32).reshape(size, size, -1)
            for image in images
        ]
        scaled = torch.from_numpy(np.stack(squares) / 255)
        normalized = (scaled - torch.tensor(mean)) / torch.tensor(std)
        output: Tensor = module(normalized.permute(0, 3, 1, 2).to(device))
        return output

    return described.get("recall_target", {}), described.get("label_names") or [], logits


def _load_transformers(folder: Path, device: torch.device) -> _Loaded:
    """Return the target, the classes and the logits of an encoder folder with a linear head."""
    from transformers import AutoImageProcessor, AutoModel

    described = json.loads((folder / "classifier.json").read_text())
    head = load_file(folder / "head.safetensors")
    weight, bias = (head[name].to(device) for name in ("weight", "bias"))
    # nothing of the model's own runs, and nothing is fetched
    local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    backbone: Any = AutoModel.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, **local
    )
    backbone.to(device).eval()
    encoder = backbone
    if getattr(backbone.config, "is_encoder_decoder", False):
        encoder = backbone.get_encoder()
    elif hasattr(backbone.config, "vision_config"):
        encoder = backbone.get_encoder(modality="image")
    untyped: Any = AutoImageProcessor
    processor = untyped.from_pretrained(folder, **local)
    size, resample = described["size"], described["resample"]

    def logits(images: list[Image.Image]) -> Tensor:
        squares = [image.resize((size, size), resample) for image in images]
        values = processor(squares, return_tensors="pt", **described["steps"])
        batch = {
            key: value for key, value in values.to(device).items() if key in described["inputs"]
        }
        output = encoder(**batch, **described["arguments"])
        has_maps = not hasattr(output, "last_hidden_state")
        hidden: Tensor = output.feature_maps[-1] if has_maps else output.last_hidden_state
        pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)
        return torch.nn.functional.linear(pooled, weight, bias)

    return described.get("target", {}), described["classes"], logits


mlflow.models.set_model(ImageModel())
