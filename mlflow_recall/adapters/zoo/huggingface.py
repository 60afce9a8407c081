"""Models of the transformers library, for text and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

from mlflow_recall.adapters.datasets import decode
from mlflow_recall.adapters.zoo.network import Batch
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.errors import ZooError

_MODELS = {
    "text": AutoModelForSequenceClassification,
    "image": AutoModelForImageClassification,
}


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TransformersNetwork:
    """A network from a folder with ``config.json``, safetensors and a tokenizer or processor.

    Args:
        member: whose weights they are.
        weights: the folder; what MLflow's transformers flavour logged is found inside it.
        dataset: gives the classes of the new head.
        recipe: gives the longest text or the side of the image.
        source_head: keep the head that came with the weights, in place of a new one.

    Raises:
        ZooError: the weights are missing, pickled, or of another architecture.
    """
    logging.set_verbosity_error()  # a new head is no news
    logging.disable_progress_bar()
    model_folder, processor_folder = _folders(Path(weights))
    labels: dict[str, Any] = {}
    if not source_head:
        labels = {
            "num_labels": len(dataset.classes),
            "id2label": dict(enumerate(dataset.classes)),
            "label2id": {name: i for i, name in enumerate(dataset.classes)},
        }
    try:
        config = AutoConfig.from_pretrained(model_folder, **member.config, **labels)
        module, info = _MODELS[member.modality].from_pretrained(
            model_folder,
            config=config,
            use_safetensors=True,  # nothing here ever unpickles
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
        processor = (
            AutoTokenizer.from_pretrained(processor_folder)
            if member.modality == "text"
            else AutoImageProcessor.from_pretrained(processor_folder, use_fast=True)
        )
    except (OSError, ValueError, KeyError) as error:
        raise ZooError(f"{member.name}: cannot be loaded from {weights}: {error}") from error
    mismatched = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    new = frozenset(info["missing_keys"]) | mismatched
    if not source_head and _classes_of(model_folder) not in ((), dataset.classes):
        new |= _fresh_head(module)
    if member.modality == "text":
        return _TextNetwork(module, processor, new, recipe)
    return _ImageNetwork(module, processor, new, recipe)


def _classes_of(folder: Path) -> tuple[str, ...]:
    """Names of the classes that a folder's own head knows; none where it has no head."""
    described = json.loads((folder / "config.json").read_text())
    return tuple((described.get("id2label") or {}).values())


def _fresh_head(module: Any) -> frozenset[str]:
    """Initialise the head anew: one of as many classes, but other ones, must not be kept."""
    prefix = f"{module.base_model_prefix}."
    for name, part in module.named_modules():
        if name and not f"{name}.".startswith(prefix) and hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return frozenset(name for name, _ in module.named_parameters() if not name.startswith(prefix))


def _folders(folder: Path) -> tuple[Path, Path]:
    """Where the model and its tokenizer or processor are; the flavour's layout has two folders."""
    if not (folder / "MLmodel").exists():
        return folder, folder
    parts = [folder / "components" / part for part in ("tokenizer", "image_processor")]
    processor = next((part for part in parts if part.exists()), folder / "model")
    return folder / "model", processor


class TransformersNetwork:
    """See ``network.Network``; the modality decides how rows become batches."""

    def __init__(self, module: nn.Module, processor: Any, new: frozenset[str], recipe: Recipe):
        self.module: Any = module
        self.new = new
        self._processor = processor
        self._size = recipe.input_size

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        logits: Tensor = self.module(**batch).logits
        return logits

    def frozen(self, what: str) -> list[str]:
        """See ``network.Network``."""
        prefix = f"{self.module.base_model_prefix}."
        backbone = [
            name
            for name, _ in self.module.named_parameters()
            if name.startswith(prefix) and name not in self.new
        ]
        if what == "embeddings":
            return [name for name in backbone if "embeddings" in name]
        return backbone if what == "backbone" else []

    def save(self, folder: Path) -> None:
        """See ``network.Network``."""
        self.module.save_pretrained(folder)
        self._processor.save_pretrained(folder)


class _TextNetwork(TransformersNetwork):
    def encode(self, rows: Any) -> list[Any]:
        longest = self._size or min(self._processor.model_max_length, 512)
        tokens = self._processor(list(rows["text"]), truncation=True, max_length=longest)
        return [{name: values[i] for name, values in tokens.items()} for i in range(len(rows))]

    def batch(self, encoded: list[Any]) -> Batch:
        if self._processor.pad_token is None:
            self._processor.pad_token = self._processor.eos_token
        self.module.config.pad_token_id = self._processor.pad_token_id
        padded: Batch = self._processor.pad(encoded, return_tensors="pt")
        return dict(padded)

    def embeddings(self, batch: Batch) -> Tensor:
        """Mean over layers of the masked mean over tokens."""
        hidden = self.module.base_model(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None]
        tokens = torch.stack(hidden[1:]).mean(dim=0)
        return (tokens * mask).sum(dim=1) / mask.sum(dim=1)


class _ImageNetwork(TransformersNetwork):
    def encode(self, rows: Any) -> list[Any]:
        return [decode(image) for image in rows["image"]]

    def batch(self, encoded: list[Any]) -> Batch:
        size = {"height": self._size, "width": self._size}
        options = {"size": size, "do_center_crop": False} if self._size else {}
        pixels: Batch = self._processor(encoded, return_tensors="pt", **options)
        return dict(pixels)

    def logits(self, batch: Batch) -> Tensor:
        return super().logits({**batch, **self._interpolation()})

    def embeddings(self, batch: Batch) -> Tensor:
        """The backbone's pooled output, or the mean over patches or places."""
        output = self.module.base_model(**batch, **self._interpolation())
        if getattr(output, "pooler_output", None) is not None:
            pooled: Tensor = output.pooler_output
            return pooled.flatten(start_dim=1)
        hidden: Tensor = output.last_hidden_state
        return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)

    def _interpolation(self) -> dict[str, Any]:
        """Transformers of fixed patches take another image size only when asked."""
        native = getattr(self.module.config, "image_size", None)
        return {"interpolate_pos_encoding": True} if native and self._size != native else {}
