"""Models of the transformers library, for text and images.

A classifier is the backbone, a pooling and one linear layer. The pooling is the mean over tokens
instead of a model's own classification token, which sentence encoders do not train: on 400 samples
of WordNet supersenses all-MiniLM-L6 has an accuracy of 0.74 with the mean and 0.67 with the token.
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

from mlflow_recall.adapters.data.decoding import decode_image
from mlflow_recall.adapters.zoo.network import Batch
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError

_HEAD_FILE = "head.safetensors"
_CLASSES_FILE = "classifier.json"
_DROPOUT = 0.1
#: modality -> class that loads a model with its source head
_CLASSES_WITH_HEAD = {
    "text": AutoModelForSequenceClassification,
    "image": AutoModelForImageClassification,
}


class Classifier(nn.Module):
    """A backbone with one linear layer on its pooled output.

    Args:
        backbone: Model without a head.
        classes: Number of classes.
    """

    def __init__(self, backbone: nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.dropout = nn.Dropout(_DROPOUT)
        config: Any = backbone.config
        width = getattr(config, "hidden_size", None) or config.hidden_sizes[-1]
        self.head = nn.Linear(width, classes)

    def forward(self, **batch: Tensor) -> Tensor:
        """Return (b, classes) logits."""
        output = self.backbone(**batch)
        logits: Tensor = self.head(self.dropout(pooled(output, batch.get("attention_mask"))))
        return logits


def pooled(output: Any, mask: Tensor | None) -> Tensor:
    """Return (b, d) means over tokens, or over patches or positions of an image.

    Args:
        output: Output of a backbone.
        mask: (b, t) mask of the tokens that are no padding; None: there is no padding.
    """
    hidden: Tensor = output.last_hidden_state
    if mask is not None:
        return (hidden * mask[..., None]).sum(dim=1) / mask[..., None].sum(dim=1)
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TransformersNetwork:
    """Load a network from a folder with ``config.json``, safetensors and a tokenizer or processor.

    Args:
        member: Model that the weights belong to.
        weights: Folder, which may have the layout of MLflow's transformers flavor.
        dataset: Dataset whose classes a new head has.
        recipe: Recipe with the maximum length of a text or the side of the image.
        source_head: Whether the head in the weights is kept; otherwise a new one replaces it.

    Raises:
        ZooError: The weights are missing, pickled, or of another architecture.
    """
    _silence_transformers()
    model_folder, processor_folder = _find_folders(Path(weights))
    is_text = member.modality == "text"
    try:
        config = AutoConfig.from_pretrained(model_folder, **member.config)
        has_own_head = source_head and not (model_folder / _HEAD_FILE).exists()
        model_class = _CLASSES_WITH_HEAD[member.modality] if has_own_head else AutoModel
        backbone, loading_info = model_class.from_pretrained(
            model_folder,
            config=config,
            use_safetensors=True,  # nothing here unpickles
            dtype=torch.float32,
            output_loading_info=True,
        )
        processor = (AutoTokenizer if is_text else AutoImageProcessor).from_pretrained(
            processor_folder
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ZooError(f"{member.name}: cannot be loaded from {weights}: {error}") from error
    total, missing = len(list(backbone.parameters())), len(loading_info["missing_keys"])
    if 2 * missing > total:  # missing weights have random values
        raise ZooError(
            f"{member.name}: cannot be loaded from {weights}: it has {total - missing} of {total} "
            f"weights of {config.model_type}: is it another architecture?"
        )
    network_class = _TextNetwork if is_text else _ImageNetwork
    if has_own_head:
        return network_class(backbone, processor, recipe, ())
    module = _add_head(backbone, model_folder, dataset, source_head=source_head)
    return network_class(module, processor, recipe, dataset.classes)


def _add_head(backbone: Any, folder: Path, dataset: Dataset, *, source_head: bool) -> Classifier:
    """Return the backbone with the head of its folder, or with a new one.

    The head of the folder is used if it is to be kept or has the classes of the dataset.
    """
    file = folder / _CLASSES_FILE
    classes = json.loads(file.read_text())["classes"] if file.exists() else None
    if classes is None or not (source_head or tuple(classes) == dataset.classes):
        return Classifier(backbone, len(dataset.classes))
    module = Classifier(backbone, len(classes))
    module.head.load_state_dict(load_file(folder / _HEAD_FILE))
    return module


def _silence_transformers() -> None:
    """Turn off the progress bar, and the warning that the weights have no head."""
    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _find_folders(folder: Path) -> tuple[Path, Path]:
    """Return the folders of the model and of its tokenizer or processor.

    They are one folder, except in the layout of MLflow's transformers flavor.
    """
    if not (folder / "MLmodel").exists():
        return folder, folder
    parts = [folder / "components" / part for part in ("tokenizer", "image_processor")]
    processor = next((part for part in parts if part.exists()), folder / "model")
    return folder / "model", processor


class TransformersNetwork:
    """A transformers model as a network; see ``network.Network``.

    Subclasses preprocess and collate the rows of one modality.

    Args:
        module: ``Classifier``, or transformers model with its own source head.
        processor: Tokenizer or image processor.
        recipe: Recipe with the maximum length of a text or the side of the image.
        classes: Names of the target's classes.
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
        """Return the pooled output of the backbone; see ``network.Network``."""
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
        """Write an encoder folder with the head beside it; see ``network.Network``."""
        self.module.backbone.save_pretrained(folder)
        self._processor.save_pretrained(folder)
        save_file(self.module.head.state_dict(), folder / _HEAD_FILE)
        described = {"classes": self._classes, "input_size": self._size}
        (folder / _CLASSES_FILE).write_text(json.dumps(described))

    @property
    def _backbone(self) -> Any:
        return getattr(self.module, "backbone", None) or self.module.base_model

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        return dict(batch)


class _TextNetwork(TransformersNetwork):
    """A network that reads the column ``text``."""

    def preprocess(self, rows: Any) -> list[Any]:
        max_length = self._size or min(self._processor.model_max_length, 512)
        tokens = self._processor(list(rows["text"]), truncation=True, max_length=max_length)
        return [{name: values[i] for name, values in tokens.items()} for i in range(len(rows))]

    def collate(self, encoded: list[Any]) -> Batch:
        if self._processor.pad_token is None:
            self._processor.pad_token = self._processor.eos_token
        return dict(self._processor.pad(encoded, return_tensors="pt"))

    def embeddings(self, batch: Batch) -> Tensor:
        """Return (b, d) means over layers and tokens."""
        hidden = self._backbone(**batch, output_hidden_states=True).hidden_states
        mask = batch["attention_mask"][..., None]
        tokens = torch.stack(hidden[1:]).mean(dim=0)
        return (tokens * mask).sum(dim=1) / mask.sum(dim=1)


class _ImageNetwork(TransformersNetwork):
    """A network that reads the column ``image``."""

    def preprocess(self, rows: Any) -> list[Any]:
        return [decode_image(image["bytes"]) for image in rows["image"]]

    def collate(self, encoded: list[Any]) -> Batch:
        size = {"height": self._size, "width": self._size}
        options = {"size": size, "do_center_crop": False} if self._size else {}
        return dict(self._processor(encoded, return_tensors="pt", **options))

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the module.

        Models with fixed patches accept another image size only with an argument for it.
        """
        native_size = getattr(self._backbone.config, "image_size", None)
        has_other_size = native_size and self._size != native_size
        return {**batch, **({"interpolate_pos_encoding": True} if has_other_size else {})}
