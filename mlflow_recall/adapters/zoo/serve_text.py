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
    """A model that returns ``label`` and ``score``, its probability, for each ``text``."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load encoder, tokenizer and head, from safetensors only."""
        folder = Path(context.artifacts["weights"])
        described = json.loads((folder / "classifier.json").read_text())
        head = load_file(folder / "head.safetensors")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._weight, self._bias = (head[name].to(self._device) for name in ("weight", "bias"))
        self._classes: list[str] = described["classes"]
        encoder: Any = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, local_files_only=True
        )
        self._encoder = encoder.to(self._device).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._max_length = described["input_size"] or min(self._tokenizer.model_max_length, 512)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Classify every row.

        Args:
            context: Not used, because ``load_context`` has loaded everything.
            model_input: n rows with the column ``text``.
            params: Not used.

        Returns:
            n rows with ``label`` and ``score`` in (0, 1], in the order of the input.

        Raises:
            TypeError: A row is not a text.
        """
        # MLflow passes a dictionary of a list as one row that holds the list
        texts = model_input["text"].explode().tolist()
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"row {row}: expected a text, got {type(text).__name__}")
        by_length = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        results: dict[int, tuple[str, float]] = {}
        for start in range(0, len(texts), _BATCH_SIZE):
            rows = by_length[start : start + _BATCH_SIZE]
            scores, indices = self._probabilities([texts[row] for row in rows]).max(dim=1)
            labels = (self._classes[index] for index in indices.tolist())
            results.update(zip(rows, zip(labels, scores.tolist(), strict=True), strict=True))
        ordered = [results[row] for row in range(len(texts))]
        return pd.DataFrame(ordered, columns=["label", "score"])

    @torch.inference_mode()
    def _probabilities(self, texts: list[str]) -> Tensor:
        """Return (n, c) probabilities: the softmax of the head on the mean over tokens."""
        batch = self._tokenizer(
            texts, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
        ).to(self._device)
        hidden: Tensor = self._encoder(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.linear(pooled, self._weight, self._bias).double().softmax(dim=1)


mlflow.models.set_model(TextClassifier())
