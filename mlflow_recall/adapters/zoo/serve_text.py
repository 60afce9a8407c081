"""A text model as MLflow serves it: this file is copied into the model and executed there.

It imports nothing of this package, which need not be installed where the model is served: the
artifact ``answers`` is the file that turns outputs into answers. It reads the files that
``mlflow_recall.adapters.zoo.transformers_models`` writes: an encoder folder, one linear layer in
``head.safetensors``, and what it predicts in ``classifier.json``.
"""

from __future__ import annotations

import json
import runpy
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


class TextModel(PythonModel):
    """A model that answers each row, as ``answers.to_answers`` says.

    A row has a ``text``, and a ``text_pair`` if the model was trained on pairs of texts.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load encoder, tokenizer and head, from safetensors only, and the code of answers."""
        folder = Path(context.artifacts["weights"])
        described = json.loads((folder / "classifier.json").read_text())
        head = load_file(folder / "head.safetensors")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._weight, self._bias = (head[name].to(self._device) for name in ("weight", "bias"))
        self._answers = runpy.run_path(context.artifacts["answers"])
        self._target: dict[str, Any] = self._answers["read_target"](
            described.get("target", {}), described["classes"]
        )
        # nothing of the model's own runs, and nothing is fetched
        local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        backbone: Any = AutoModel.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, **local
        )
        self._encoder = _reader(backbone.to(self._device).eval())
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
        self._inputs: list[str] = described["inputs"]
        self._max_length: int = described["max_length"]
        self._reads_last_token = described.get("pooling") == "last"

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - MLflow's signature
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer every row.

        Args:
            context: Not used, because ``load_context`` has loaded everything.
            model_input: n rows with the column ``text``, of pairs also with ``text_pair``.
            params: ``threshold``, the probability from which a label is part of an answer.

        Returns:
            n rows in the order of the input: ``label`` and ``score`` in (0, 1]; of a multi-label
            model ``labels`` and ``scores``; of a regression ``prediction``.

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
        outputs = [
            self._outputs([texts[row] for row in by_length[start : start + _BATCH_SIZE]])
            for start in range(0, len(texts), _BATCH_SIZE)
        ]
        answers: pd.DataFrame = self._answers["to_answers"](outputs, self._target, **(params or {}))
        answers.index = pd.Index(by_length)
        return answers.sort_index()

    @torch.inference_mode()
    def _outputs(self, texts: list[tuple[str, ...]]) -> Tensor:
        """Return the outputs of the head on the pooled tokens, as ``answers`` describes them.

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
        mask = batch["attention_mask"]
        if self._reads_last_token:
            ends = mask.sum(dim=1).clamp(min=1) - 1
            pooled = hidden[torch.arange(len(hidden), device=hidden.device), ends]
        else:
            pooled = (hidden * mask[..., None]).sum(dim=1) / mask[..., None].sum(dim=1)
        logits = torch.nn.functional.linear(pooled, self._weight, self._bias)
        outputs: Tensor = self._answers["to_outputs"](logits, self._target)
        return outputs


def _reader(backbone: Any) -> Any:
    """Return the part of a model that reads a text: all of it, or one of its towers."""
    if getattr(backbone.config, "is_encoder_decoder", False):
        return backbone.get_encoder()
    if hasattr(backbone.config, "text_config"):
        towers = ("text_model", "language_model")
        return next((getattr(backbone, t) for t in towers if hasattr(backbone, t)), backbone)
    return backbone


mlflow.models.set_model(TextModel())
