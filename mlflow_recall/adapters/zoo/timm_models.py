"""Models of the timm library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors import SafetensorError, safe_open
from timm.data.config import resolve_data_config
from timm.models import save_for_hf
from torch import Tensor

from mlflow_recall.adapters.data.decoding import decode_image
from mlflow_recall.adapters.zoo.network import Batch
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError

_WEIGHTS_FILE = "model.safetensors"


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TimmNetwork:
    """Load a network from a folder with ``model.safetensors`` and an optional ``config.json``.

    Args:
        member: Model, with its architecture and the arguments that shape it.
        weights: Folder in timm's own layout.
        dataset: Dataset whose classes a new head has.
        recipe: Recipe with the side of the image.
        source_head: Whether the head in the weights is kept; otherwise a new one replaces it.

    Raises:
        ZooError: The weights are missing, pickled, or of another architecture.
    """
    folder = Path(weights)
    weights_file = folder / _WEIGHTS_FILE
    if not weights_file.exists():
        raise ZooError(f"{member.name}: expected {_WEIGHTS_FILE} in {weights}, there is none")
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text()) if config_file.exists() else {}
    arch = config.get("architecture") or member.arch.partition("/")[2]
    arguments: dict[str, Any] = {**(config.get("model_args") or {}), **member.config}
    arguments.pop("num_classes", None)
    try:
        source = {**config.get("pretrained_cfg", {}), "file": str(weights_file)}
        source["num_classes"] = classes = _count_classes(weights_file, arch, source)
        if recipe.input_size and _accepts_image_size(arch):
            arguments["img_size"] = recipe.input_size
        module: Any = timm.create_model(
            arch,
            pretrained=True,
            pretrained_cfg_overlay={**source, "custom_load": False},
            num_classes=classes if source_head else len(dataset.classes),
            **arguments,
        )
    except (RuntimeError, TypeError, ValueError, KeyError, SafetensorError) as error:
        raise ZooError(f"{member.name}: cannot be loaded from {weights}: {error}") from error
    if not source_head and config.get("label_names") != list(dataset.classes):
        module.reset_classifier(len(dataset.classes))
    network = TimmNetwork(module, recipe, dataset.classes, arguments)
    _check_weights(network, weights_file, f"{member.name}: cannot be loaded from {weights}", arch)
    return network


def _check_weights(network: TimmNetwork, weights_file: Path, where: str, arch: str) -> None:
    """Raise an error if most of the backbone is not in the file.

    timm leaves missing weights at their random values without an error.
    """
    backbone = network.frozen_parameters("backbone")
    with safe_open(weights_file, framework="np") as file:
        loaded = len(set(backbone) & set(file.keys()))
    if 2 * loaded < len(backbone):
        raise ZooError(
            f"{where}: it has {loaded} of {len(backbone)} weights of {arch}, by timm's names: "
            "is it another architecture?"
        )


def _accepts_image_size(arch: str) -> bool:
    """Return whether an architecture has the argument ``img_size``.

    Those with fixed patches need it, and the others raise an error for it.
    """
    try:
        with torch.device("meta"):  # without memory
            timm.create_model(arch, img_size=64)
    except TypeError:
        return False
    except (RuntimeError, NotImplementedError, AssertionError, ValueError):
        return True  # it has the argument, and 64 is no valid value
    return True


def _count_classes(weights_file: Path, arch: str, source: dict[str, Any]) -> int:
    """Return the number of classes of the head in the file; 0 if it has none."""
    classifier = source.get("classifier") or timm.get_pretrained_cfg(arch, allow_unregistered=True)
    name = classifier if isinstance(classifier, str) else getattr(classifier, "classifier", "fc")
    with safe_open(weights_file, framework="np") as file:
        key = f"{name}.weight"
        return int(file.get_slice(key).get_shape()[0]) if key in file.keys() else 0  # noqa: SIM118


class TimmNetwork:
    """A timm model as a network; see ``network.Network``.

    Args:
        module: Model with a head for the target's classes, or with its source head.
        recipe: Recipe with the side of the image.
        classes: Names of the target's classes.
        arguments: Arguments that shape the architecture.
    """

    def __init__(
        self,
        module: Any,
        recipe: Recipe,
        classes: tuple[str, ...],
        arguments: dict[str, Any],
    ) -> None:
        self.module = module
        head = {id(parameter) for parameter in module.get_classifier().parameters()}
        self.head_parameters = frozenset(n for n, p in module.named_parameters() if id(p) in head)
        self._classes = classes
        self._arguments = arguments
        self._data_config: dict[str, Any] = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
        self._size = recipe.input_size or self._data_config["input_size"][-1]
        self._mean, self._std = (torch.tensor(self._data_config[key]) for key in ("mean", "std"))

    def preprocess(self, rows: Any) -> list[Any]:
        """Return a normalized (3, s, s) tensor for each image; see ``network.Network``."""
        return [self._normalize(decode_image(image["bytes"])) for image in rows["image"]]

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Network``."""
        # with channels last, a step of a convolutional network takes about two thirds on a CPU
        return {"x": torch.stack(encoded).contiguous(memory_format=torch.channels_last)}

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        logits: Tensor = self.module(batch["x"])
        return logits

    def embeddings(self, batch: Batch) -> Tensor:
        """Return the pooled features before the head; see ``network.Network``."""
        features = self.module.forward_features(batch["x"])
        pooled: Tensor = self.module.forward_head(features, pre_logits=True)
        return pooled.flatten(start_dim=1)

    def frozen_parameters(self, what: str) -> list[str]:
        """See ``network.Network``."""
        backbone = [
            name for name, _ in self.module.named_parameters() if name not in self.head_parameters
        ]
        if what == "embeddings":
            stem = ("patch_embed", "conv_stem", "stem", "conv1", "bn1", "pos_embed", "cls_token")
            return [name for name in backbone if name.startswith(stem)]
        return backbone if what == "backbone" else []

    def save(self, folder: Path) -> None:
        """Write timm's own layout; see ``network.Network``."""
        save_for_hf(
            self.module,
            str(folder),
            model_config={
                "num_classes": len(self._classes),
                "label_names": list(self._classes),
            },
            model_args=self._arguments,
            safe_serialization=True,
        )
        config_file = folder / "config.json"
        config = json.loads(config_file.read_text())
        # how to preprocess an image without this package
        config["recall_input"] = {
            "size": self._size,
            "mean": list(self._data_config["mean"]),
            "std": list(self._data_config["std"]),
        }
        config_file.write_text(json.dumps(config, indent=2))

    def _normalize(self, image: Any) -> Tensor:
        square = image.resize((self._size, self._size))
        pixels = torch.from_numpy(np.asarray(square, dtype=np.float32) / 255)
        return ((pixels - self._mean) / self._std).permute(2, 0, 1)
