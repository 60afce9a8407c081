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

from mlflow_recall.adapters.data.preparation import decode_image
from mlflow_recall.adapters.zoo.network import Batch
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError

_WEIGHTS = "model.safetensors"


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TimmNetwork:
    """A network from a folder with ``model.safetensors`` and, if there is one, ``config.json``.

    Args:
        member: its architecture and the arguments that shape it.
        weights: the folder, in timm's own layout.
        dataset: gives the classes of the new head.
        recipe: gives the side of the image.
        source_head: keep the head that came with the weights, in place of a new one.

    Raises:
        ZooError: the weights are missing, pickled, or of another architecture.
    """
    folder = Path(weights)
    if not (folder / _WEIGHTS).exists():
        raise ZooError(f"{member.name}: expected {_WEIGHTS} in {weights}, there is none")
    config = folder / "config.json"
    described = json.loads(config.read_text()) if config.exists() else {}
    arch = described.get("architecture") or member.arch.partition("/")[2]
    arguments: dict[str, Any] = {**(described.get("model_args") or {}), **member.config}
    arguments.pop("num_classes", None)
    try:
        source = {**described.get("pretrained_cfg", {}), "file": str(folder / _WEIGHTS)}
        source["num_classes"] = classes = _classes(folder / _WEIGHTS, arch, source)
        if recipe.input_size and _takes_image_size(arch):
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
    if not source_head and described.get("label_names") != list(dataset.classes):
        module.reset_classifier(len(dataset.classes))
    network = TimmNetwork(module, recipe, dataset.classes, arguments)
    _check_found(
        network, folder / _WEIGHTS, f"{member.name}: cannot be loaded from {weights}", arch
    )
    return network


def _check_found(network: TimmNetwork, weights: Path, where: str, arch: str) -> None:
    """Timm leaves at random what it does not find: most of a backbone must be in the file."""
    backbone = network.frozen_parameters("backbone")
    with safe_open(weights, framework="np") as file:
        found = len(set(backbone) & set(file.keys()))
    if 2 * found < len(backbone):
        raise ZooError(
            f"{where}: it has {found} of {len(backbone)} weights of {arch}, by timm's names: "
            "is it another architecture?"
        )


def _takes_image_size(arch: str) -> bool:
    """Architectures of fixed patches must be told the image size, the others refuse to be."""
    try:
        with torch.device("meta"):  # shapes alone, no memory and no time
            timm.create_model(arch, img_size=64)
    except TypeError:
        return False
    except (RuntimeError, NotImplementedError, AssertionError, ValueError):
        return True  # it was told, and 64 does not suit it
    return True


def _classes(weights: Path, arch: str, source: dict[str, Any]) -> int:
    """Rows of the head in the file; 0 if it has none."""
    classifier = source.get("classifier") or timm.get_pretrained_cfg(arch, allow_unregistered=True)
    name = classifier if isinstance(classifier, str) else getattr(classifier, "classifier", "fc")
    with safe_open(weights, framework="np") as file:
        key = f"{name}.weight"
        return int(file.get_slice(key).get_shape()[0]) if key in file.keys() else 0  # noqa: SIM118


class TimmNetwork:
    """See ``network.Network``."""

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
        self._data: dict[str, Any] = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
        self._size = recipe.input_size or self._data["input_size"][-1]
        self._mean, self._std = (torch.tensor(self._data[key]) for key in ("mean", "std"))

    def preprocess(self, rows: Any) -> list[Any]:
        """See ``network.Network``: (3, s, s) tensors."""
        return [self._tensor(decode_image(image)) for image in rows["image"]]

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Network``."""
        # channels last: a step of a convolutional network takes about two thirds on a CPU
        return {"x": torch.stack(encoded).contiguous(memory_format=torch.channels_last)}

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        logits: Tensor = self.module(batch["x"])
        return logits

    def embeddings(self, batch: Batch) -> Tensor:
        """Pooled features before the head."""
        features = self.module.forward_features(batch["x"])
        pooled: Tensor = self.module.forward_head(features, pre_logits=True)
        return pooled.flatten(start_dim=1)

    def frozen_parameters(self, what: str) -> list[str]:
        """See ``network.Network``."""
        backbone = [
            name for name, _ in self.module.named_parameters() if name not in self.head_parameters
        ]
        if what == "embeddings":
            starts = ("patch_embed", "conv_stem", "stem", "conv1", "bn1", "pos_embed", "cls_token")
            return [name for name in backbone if name.startswith(starts)]
        return backbone if what == "backbone" else []

    def save(self, folder: Path) -> None:
        """See ``network.Network``: timm's own layout."""
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
        config = folder / "config.json"
        described = json.loads(config.read_text())
        # what a reader of this folder alone must do to a picture
        described["recall_input"] = {
            "size": self._size,
            "mean": list(self._data["mean"]),
            "std": list(self._data["std"]),
        }
        config.write_text(json.dumps(described, indent=2))

    def _tensor(self, picture: Any) -> Tensor:
        square = picture.resize((self._size, self._size))
        pixels = torch.from_numpy(np.asarray(square, dtype=np.float32) / 255)
        return ((pixels - self._mean) / self._std).permute(2, 0, 1)
