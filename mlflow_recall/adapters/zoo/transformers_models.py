"""Models of the transformers library, for text and images.

A classifier here is the backbone, a pooling and one linear layer. The mean over tokens is pooled,
not a model's own classification token: sentence encoders never trained that one, and on 400
samples of WordNet supersenses it cost all-MiniLM-L6 0.07 of accuracy (0.67 against 0.74).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

from mlflow_recall.adapters.data.preparation import decode_image
from mlflow_recall.adapters.zoo.network import Batch
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError

_HEAD = "head.safetensors"
_CLASSES = "classifier.json"
_DROPOUT = 0.1
_WITH_HEAD = {
    "text": AutoModelForSequenceClassification,
    "image": AutoModelForImageClassification,
}


class Classifier(nn.Module):
    """A backbone with one linear layer on its pooled output."""

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.dropout = nn.Dropout(_DROPOUT)
        config: Any = backbone.config
        width = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.head = nn.Linear(width, classes)

    def forward(self, **batch: Tensor) -> Tensor:
        """(b, classes) logits."""
        output = self.backbone(**batch)
        logits: Tensor = self.head(self.dropout(pooled(output, batch.get("attention_mask"))))
        return logits


def pooled(output: Any, mask: Tensor | None) -> Tensor:
    """(b, d): the mean over tokens, or over patches or places of an image."""
    hidden: Tensor = output.last_hidden_state
    if mask is not None:
        return (hidden * mask[..., None]).sum(dim=1) / mask[..., None].sum(dim=1)
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TransformersNetwork:
    """A network from a folder with ``config.json``, safetensors and a tokenizer or processor.

    Args:
        member: whose weights they are.
        weights: the folder; what MLflow's transformers flavor logged is found inside it.
        dataset: gives the classes of the new head.
        recipe: gives the longest text or the side of the image.
        source_head: keep the head that came with the weights, in place of a new one.

    Raises:
        ZooError: the weights are missing, pickled, or of another architecture.
    """
    _quiet()
    model_folder, processor_folder = _folders(Path(weights))
    text = member.modality == "text"
    try:
        config = AutoConfig.from_pretrained(model_folder, **member.config)
        own = source_head and not (model_folder / _HEAD).exists()
        backbone, told = (_WITH_HEAD[member.modality] if own else AutoModel).from_pretrained(
            model_folder,
            config=config,
            use_safetensors=True,  # nothing here ever unpickles
            dtype=torch.float32,
            output_loading_info=True,
        )
        processor = (AutoTokenizer if text else AutoImageProcessor).from_pretrained(
            processor_folder
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ZooError(f"{member.name}: cannot be loaded from {weights}: {error}") from error
    every, missing = len(list(backbone.parameters())), len(told["missing_keys"])
    if 2 * missing > every:  # they are left at random
        raise ZooError(
            f"{member.name}: cannot be loaded from {weights}: it has {every - missing} of {every} "
            f"weights of {config.model_type}: is it another architecture?"
        )
    network = _TextNetwork if text else _ImageNetwork
    if own:
        return network(backbone, processor, recipe, ())
    return network(
        _headed(backbone, model_folder, dataset, source_head), processor, recipe, dataset.classes
    )


def _headed(backbone: Any, folder: Path, dataset: Dataset, source_head: bool) -> Classifier:
    """The backbone with the head in its folder, if that is of these classes, or a new one."""
    described = folder / _CLASSES
    classes = json.loads(described.read_text())["classes"] if described.exists() else None
    if classes is None or not (source_head or tuple(classes) == dataset.classes):
        return Classifier(backbone, len(dataset.classes))
    module = Classifier(backbone, len(classes))
    module.head.load_state_dict(load_file(folder / _HEAD))
    return module


def _quiet() -> None:
    """A head that is left out is no news, and nobody waits for a progress bar in a worker."""
    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _folders(folder: Path) -> tuple[Path, Path]:
    """Where the model and its tokenizer or processor are; the flavor's layout has two folders."""
    if not (folder / "MLmodel").exists():
        return folder, folder
    parts = [folder / "components" / part for part in ("tokenizer", "image_processor")]
    processor = next((part for part in parts if part.exists()), folder / "model")
    return folder / "model", processor


class TransformersNetwork:
    """See ``network.Network``; the modality decides how rows become batches.

    Args:
        module: a ``Classifier``, or a transformers model with its own source head.
        processor: tokenizer or image processor.
        recipe: gives the longest text or the side of the image.
        classes: names of the target's classes.
    """

    head_parameters = frozenset({"head.weight", "head.bias"})

    def __init__(
        self, module: nn.Module, processor: Any, recipe: Recipe, classes: tuple[str, ...]
    ) -> None:
        self.module: Any = module
        self._processor = processor
        self._size = recipe.input_size
        self._classes = classes

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        output = self.module(**self._arguments(batch))
        logits: Tensor = getattr(output, "logits", output)
        return logits

    def embeddings(self, batch: Batch) -> Tensor:
        """See ``network.Network``: the mean over layers for text."""
        return pooled(self._backbone(**self._arguments(batch)), batch.get("attention_mask"))

    def frozen_parameters(self, what: str) -> list[str]:
        """See ``network.Network``."""
        backbone = [
            name for name, _ in self.module.named_parameters() if name not in self.head_parameters
        ]
        if what == "embeddings":
            return [name for name in backbone if "embeddings" in name]
        return backbone if what == "backbone" else []

    def save(self, folder: Path) -> None:
        """See ``network.Network``: an ordinary encoder folder, with the head beside it."""
        self.module.backbone.save_pretrained(folder)
        self._processor.save_pretrained(folder)
        save_file(self.module.head.state_dict(), folder / _HEAD)
        described = {"classes": self._classes, "input_size": self._size}
        (folder / _CLASSES).write_text(json.dumps(described))

    @property
    def _backbone(self) -> Any:
        return getattr(self.module, "backbone", None) or self.module.base_model

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        return dict(batch)


class _TextNetwork(TransformersNetwork):
    def preprocess(self, rows: Any) -> list[Any]:
        longest = self._size or min(self._processor.model_max_length, 512)
        tokens = self._processor(list(rows["text"]), truncation=True, max_length=longest)
        return [{name: values[i] for name, values in tokens.items()} for i in range(len(rows))]

    def collate(self, encoded: list[Any]) -> Batch:
        if self._processor.pad_token is None:
            self._processor.pad_token = self._processor.eos_token
        return dict(self._processor.pad(encoded, return_tensors="pt"))

    def embeddings(self, batch: Batch) -> Tensor:
        hidden = self._backbone(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None]
        tokens = torch.stack(hidden[1:]).mean(dim=0)
        return (tokens * mask).sum(dim=1) / mask.sum(dim=1)


class _ImageNetwork(TransformersNetwork):
    def preprocess(self, rows: Any) -> list[Any]:
        return [decode_image(image) for image in rows["image"]]

    def collate(self, encoded: list[Any]) -> Batch:
        size = {"height": self._size, "width": self._size}
        options = {"size": size, "do_center_crop": False} if self._size else {}
        return dict(self._processor(encoded, return_tensors="pt", **options))

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        """Transformers of fixed patches take another image size only when asked."""
        native = getattr(self._backbone.config, "image_size", None)
        resized = {"interpolate_pos_encoding": True} if native and self._size != native else {}
        return {**batch, **resized}
