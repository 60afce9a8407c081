"""An image classifier as MLflow serves it: this file is copied into the model and executed there.

It stands alone: a machine that serves the model need not have the package that trained it. What it
reads is what ``mlflow_recall.adapters.zoo`` writes: a timm folder, or a transformers encoder with
one linear layer in ``head.safetensors`` and the names of the classes in ``classifier.json``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor

_BATCH = 64

#: n pictures -> (n, c) logits
_Logits: TypeAlias = Callable[[list[Image.Image]], Tensor]


class ImageClassifier(PythonModel):
    """``image`` -> ``label`` and ``score``, its probability."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network, from safetensors only."""
        folder = Path(context.artifacts["weights"])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        load = _transformers if (folder / "classifier.json").exists() else _timm
        self._classes, self._logits = load(folder, device)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Classify every row.

        Args:
            context: not used: all was loaded once.
            model_input: n rows with the column ``image``: the bytes of a PNG, JPEG or other file
                that Pillow reads, or these in base64, as a data URL or without.
            params: none are known.

        Returns:
            n rows: ``label``, and ``score`` in (0, 1], in the order of the input.

        Raises:
            ValueError: a row is no picture.
        """
        # a dictionary of a list arrives as one row that holds the list
        given = model_input["image"].explode().tolist()
        labels: list[str] = []
        scores: list[float] = []
        for start in range(0, len(given), _BATCH):
            rows = range(start, min(start + _BATCH, len(given)))
            with torch.inference_mode():
                logits = self._logits([_picture(given[row], row) for row in rows])
                best, places = logits.double().softmax(dim=1).max(dim=1)
            labels += [self._classes[place] for place in places.tolist()]
            scores += best.tolist()
        return pd.DataFrame({"label": labels, "score": scores})


def _picture(value: object, row: int) -> Image.Image:
    """An upright RGB picture, as training saw it."""
    try:
        if isinstance(value, str):
            value = base64.b64decode(value.rpartition(",")[2], validate=False)
        if not isinstance(value, bytes):
            raise TypeError(f"it is a {type(value).__name__}")
        return ImageOps.exif_transpose(Image.open(io.BytesIO(value))).convert("RGB")
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"row {row}: expected the bytes of a picture, or these in base64: {error}"
        ) from error


def _timm(folder: Path, device: torch.device) -> tuple[list[str], _Logits]:
    import timm

    described = json.loads((folder / "config.json").read_text())
    classes: list[str] = described["label_names"]
    arguments = {**described.get("model_args", {}), "num_classes": len(classes)}
    module = timm.create_model(described["architecture"], pretrained=False, **arguments)
    module.load_state_dict(load_file(folder / "model.safetensors"))
    module.to(device).eval()
    size, mean, std = (described["recall_input"][key] for key in ("size", "mean", "std"))

    def logits(pictures: list[Image.Image]) -> Tensor:
        squares = [np.asarray(picture.resize((size, size)), np.float32) for picture in pictures]
        scaled = torch.from_numpy(np.stack(squares) / 255)
        normal = (scaled - torch.tensor(mean)) / torch.tensor(std)
        answer: Tensor = module(normal.permute(0, 3, 1, 2).to(device))
        return answer

    return classes, logits


def _transformers(folder: Path, device: torch.device) -> tuple[list[str], _Logits]:
    from transformers import AutoImageProcessor, AutoModel

    described = json.loads((folder / "classifier.json").read_text())
    head = load_file(folder / "head.safetensors")
    weight, bias = (head[name].to(device) for name in ("weight", "bias"))
    encoder: Any = AutoModel.from_pretrained(
        folder, use_safetensors=True, dtype=torch.float32, local_files_only=True
    )
    encoder.to(device).eval()
    untyped: Any = AutoImageProcessor
    processor = untyped.from_pretrained(folder, local_files_only=True)
    size = described["input_size"]
    options: dict[str, Any] = {}
    if size:
        options = {"size": {"height": size, "width": size}, "do_center_crop": False}
    native = getattr(encoder.config, "image_size", None)
    resized = {"interpolate_pos_encoding": True} if native and size != native else {}

    def logits(pictures: list[Image.Image]) -> Tensor:
        batch = processor(pictures, return_tensors="pt", **options).to(device)
        hidden: Tensor = encoder(**batch, **resized).last_hidden_state
        pooled = hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)
        return torch.nn.functional.linear(pooled, weight, bias)

    return described["classes"], logits


mlflow.models.set_model(ImageClassifier())
