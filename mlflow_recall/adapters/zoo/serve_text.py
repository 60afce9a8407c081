"""A text classifier as MLflow serves it: this file is copied into the model and executed there.

It imports nothing of this package, which need not be installed where the model is served. It reads
the files that ``mlflow_recall.adapters.zoo.transformers_models`` writes: an encoder folder, one
linear layer in ``head.safetensors`` and the names of the classes in ``classifier.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

_BATCH_SIZE = 64


class TextClassifier(PythonModel):
    """A model that returns ``label`` and ``score``, its probability, for each row.

    A row has a ``text``, and a ``text_pair`` if the model was trained on pairs of texts.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load encoder, tokenizer and head, from safetensors only."""
        folder = Path(context.artifacts["weights"])
        described = json.loads((folder / "classifier.json").read_text())
        head = load_file(folder / "head.safetensors")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._weight, self._bias = (head[name].to(self._device) for name in ("weight", "bias"))
        self._classes: list[str] = described["classes"]
        # nothing of the model's own runs, and nothing is fetched
        local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        backbone: Any = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, **local
        )
        self._encoder = _reader(backbone.to(self._device).eval())
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        self._inputs: list[str] = described["inputs"]
        self._max_length: int = described["max_length"]

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Classify every row.

        Args:
            context: Not used, because ``load_context`` has loaded everything.
            model_input: n rows with the column ``text``, of pairs also with ``text_pair``.
            params: Not used.

        Returns:
            n rows with ``label`` and ``score`` in (0, 1], in the order of the input.

        Raises:
            TypeError: A row is not a text.
        """
        names = [name for name in ("text", "text_pair") if name in model_input]
        # MLflow passes a dictionary of a list as one row that holds the list
        columns = [model_input[name].explode().tolist() for name in names]
        texts = list(zip(*columns, strict=True))
        for row, values in enumerate(texts):
            for value in values:
                if not isinstance(value, str):
                    raise TypeError(f"row {row}: expected a text, got {type(value).__name__}")
        by_length = sorted(range(len(texts)), key=lambda row: sum(map(len, texts[row])))
        results: dict[int, tuple[str, float]] = {}
        for start in range(0, len(texts), _BATCH_SIZE):
            rows = by_length[start : start + _BATCH_SIZE]
            scores, indices = self._probabilities([texts[row] for row in rows]).max(dim=1)
            labels = (self._classes[index] for index in indices.tolist())
            results.update(zip(rows, zip(labels, scores.tolist(), strict=True), strict=True))
        ordered = [results[row] for row in range(len(texts))]
        return pd.DataFrame(ordered, columns=["label", "score"])

    @torch.inference_mode()
    def _probabilities(self, texts: list[tuple[str, ...]]) -> Tensor:
        """Return (n, c) probabilities: the softmax of the head on the mean over tokens.

        Args:
            texts: n tuples of one text, or of the two of a pair.
        """
        # a model that knows no mask always gets the same length, as in training
        padding = True if "attention_mask" in self._inputs else "max_length"
        batch = self._tokenizer(
            *map(list, zip(*texts, strict=True)),
            truncation=True,
            max_length=self._max_length,
            padding=padding,
            padding_side="right",
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._device)
        arguments = {name: value for name, value in batch.items() if name in self._inputs}
        hidden: Tensor = self._encoder(**arguments).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.linear(pooled, self._weight, self._bias).double().softmax(dim=1)


def _reader(backbone: Any) -> Any:
    """Return the part of a model that reads a text: all of it, or one of its towers."""
    if getattr(backbone.config, "is_encoder_decoder", False):
        return backbone.get_encoder()
    if hasattr(backbone.config, "text_config"):
        towers = ("text_model", "language_model")
        return next((getattr(backbone, t) for t in towers if hasattr(backbone, t)), backbone)
    return backbone


mlflow.models.set_model(TextClassifier())
