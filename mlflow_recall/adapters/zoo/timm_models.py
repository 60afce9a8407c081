"""Models of the timm library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from timm.data.config import resolve_data_config
from timm.models import PretrainedCfg
from timm.models._hub import save_config_for_hf
from torch import Tensor

from mlflow_recall.adapters.data.decoding import decode_image
from mlflow_recall.adapters.zoo.blank import build_blank
from mlflow_recall.adapters.zoo.model_folder import WEIGHTS_FILE, read_config
from mlflow_recall.adapters.zoo.model_settings import check_settings
from mlflow_recall.adapters.zoo.network import Batch, Features
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.history.tasks import Target
from mlflow_recall.errors import ZooError, one_line

#: what timm reads from ``pretrained_cfg``: nothing that names a file or a place
_TRANSFORMS = (
    "input_size",
    "fixed_input_size",
    "interpolation",
    "crop_pct",
    "crop_mode",
    "mean",
    "std",
    "pool_size",
    "num_classes",
    "classifier",
    "first_conv",
    "label_offset",
)
#: tensors that timm resizes to the image
_RESIZED = ("pos", "attention_bias")
#: pixels of a side where neither the recipe nor the architecture has a size
_IMAGE_SIDE = 224
#: channels of an image -> its mode in Pillow
_MODES = {1: "L", 3: "RGB"}


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TimmNetwork:
    """Load a network from a folder with ``model.safetensors`` and an optional ``config.json``.

    Args:
        member: Model, with its architecture and the arguments that shape it.
        weights: Folder in timm's own layout.
        dataset: Dataset that a new head is for.
        recipe: Recipe with the side of the image.
        source_head: Whether the head in the weights is kept; otherwise a new one replaces it.

    Raises:
        ZooError: The weights are missing, pickled, or of another architecture.
    """
    try:
        source = _Source.read(member, Path(weights))
        if source.weights is None:
            raise ZooError(f"expected {WEIGHTS_FILE} in it, there is none")

        def create(arguments: Mapping[str, Any]) -> Any:
            overlay = {**source.transforms, "file": str(source.weights), "custom_load": False}
            outputs = source.classes if source_head else dataset.target.outputs
            module: Any = timm.create_model(
                source.arch,
                pretrained=True,
                pretrained_cfg_overlay=overlay,
                num_classes=outputs,
                **arguments,
            )
            if not source_head and source.target != dataset.target:
                module.reset_classifier(dataset.target.outputs)
            return module

        network = _fit(create, source, recipe, dataset.target)
        _check_weights(network, source)
    except Exception as error:  # the library raises many kinds of errors
        raise ZooError(
            f"{member.name}: cannot be loaded from {weights}: {one_line(error)}"
        ) from error
    return network


def load_blank(
    member: Member, weights: str | None, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TimmNetwork:
    """Return the network that ``load`` returns, with zeros instead of the weights.

    Names and shapes of the weights are checked, but no weight is read.

    Args:
        member: See ``load``.
        weights: See ``load``; None: the architecture is all that is known.
        dataset: See ``load``.
        recipe: See ``load``.
        source_head: See ``load``.

    Raises:
        ZooError: See ``load``.
    """
    try:
        source = _Source.read(member, Path(weights) if weights else None)

        def create(arguments: Mapping[str, Any]) -> Any:
            outputs = source.classes if source_head else dataset.target.outputs
            return build_blank(
                lambda: timm.create_model(
                    source.arch,
                    pretrained_cfg_overlay=dict(source.transforms),
                    num_classes=outputs,
                    **arguments,
                )
            )

        network = _fit(create, source, recipe, dataset.target)
        _check_weights(network, source)
    except Exception as error:  # the library raises many kinds of errors
        raise ZooError(
            f"{member.name}: cannot be loaded from {weights or member.arch}: {one_line(error)}"
        ) from error
    return network


def is_known_architecture(name: str) -> bool:
    """Return whether the installed version can build an architecture."""
    return timm.is_model(name)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What a folder and the registry say of a model."""

    arch: str
    #: arguments that shape the architecture
    arguments: Mapping[str, Any]
    #: how images are preprocessed, and which parts of the network depend on the classes
    transforms: Mapping[str, Any]
    #: what the head in the folder predicts; without classes where they are unknown
    target: Target
    #: classes of the head in the folder; 0 if it has none
    classes: int
    #: None: there is no such file
    weights: Path | None

    @classmethod
    def read(cls, member: Member, folder: Path | None) -> _Source:
        """Read the configuration in a folder.

        Args:
            member: Model, with its architecture and the arguments that shape it.
            folder: Folder in timm's own layout; None: there is none.

        Raises:
            ZooError: The architecture is unknown, or an argument is refused.
        """
        check_settings(member.config, "config")
        config = read_config(folder)
        arch = config.get("architecture") or member.arch.partition("/")[2]
        if not is_known_architecture(arch):
            raise ZooError(f"expected an architecture of timm {timm.__version__}, got {arch!r}")
        arguments = {**(config.get("model_args") or {}), **member.config}
        arguments.pop("num_classes", None)
        described = config.get("pretrained_cfg") or {}
        transforms = {name: described[name] for name in _TRANSFORMS if name in described}
        weights = folder / WEIGHTS_FILE if folder else None
        known = _pretrained_cfg(arch)
        if weights is not None and weights.is_file():
            classes = _count_classes(weights, transforms.get("classifier") or known.classifier)
        else:
            weights, classes = None, known.num_classes
        return cls(
            arch=arch,
            arguments=arguments,
            transforms={**transforms, "num_classes": classes},
            target=_stored_target(config),
            classes=classes,
            weights=weights,
        )

    @property
    def size(self) -> int:
        """Side of the image that the model was made for."""
        known: Any = self.transforms.get("input_size", _pretrained_cfg(self.arch).input_size)
        size = self.arguments.get("img_size") or known or _IMAGE_SIDE
        return int(size[-1] if isinstance(size, list | tuple) else size)


def _fit(
    create: Callable[[Mapping[str, Any]], Any],
    source: _Source,
    recipe: Recipe,
    target: Target,
) -> TimmNetwork:
    """Return a network for images of the recipe's size, or of its own where it takes no other."""
    sizes = dict.fromkeys((recipe.input_size or source.size, source.size))
    for size in sizes:
        arguments = dict(source.arguments)
        if size != source.size or recipe.input_size:
            arguments |= {"img_size": size} if _accepts_image_size(source.arch) else {}
        try:
            network = TimmNetwork(create(arguments).eval(), size, target, arguments)
            with torch.no_grad():
                network.embeddings(network.collate(network.made_up()))
        except Exception as error:  # architectures raise many kinds of errors for a size
            refusal = error
        else:
            return network
    raise refusal


def _check_weights(network: TimmNetwork, source: _Source) -> None:
    """Raise an error if most of the backbone is not in the file, or if it has other shapes.

    timm leaves missing weights at their random values without an error.
    """
    if source.weights is None:
        return
    backbone = network.frozen_parameters("backbone")
    parameters = dict(network.module.named_parameters())
    with safe_open(source.weights, framework="np") as file:
        loaded = set(backbone) & set(file.keys())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in loaded}
    if 2 * len(loaded) < len(backbone):
        raise ZooError(
            f"it has {len(loaded)} of {len(backbone)} weights of {source.arch}, by timm's names: "
            "is it another architecture?"
        )
    for name, shape in shapes.items():
        built = tuple(parameters[name].shape)
        is_resized = len(shape) == 4 or any(part in name for part in _RESIZED)
        if shape != built and not is_resized:
            raise ZooError(
                f"{name}: expected the shape {built} of {source.arch}, got {shape} in "
                f"{WEIGHTS_FILE}"
            )


def _pretrained_cfg(arch: str) -> PretrainedCfg:
    """Return what timm knows of the weights of an architecture."""
    return timm.get_pretrained_cfg(arch, allow_unregistered=True) or PretrainedCfg()


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


def _stored_target(config: Mapping[str, Any]) -> Target:
    """Return what the head that a configuration describes predicts.

    Raises:
        ZooError: It is damaged.
    """
    try:
        return Target.from_dict(config.get("recall_target") or {}, config.get("label_names") or ())
    except (ValueError, TypeError, AttributeError) as error:
        raise ZooError(f"recall_target: {error}") from None


def _count_classes(weights_file: Path, classifier: Any) -> int:
    """Return the number of classes of the head in the file; 0 if it has none."""
    name = classifier if isinstance(classifier, str) else next(iter(classifier or ["fc"]))
    with safe_open(weights_file, framework="np") as file:
        key = f"{name}.weight"
        return int(file.get_slice(key).get_shape()[0]) if key in file.keys() else 0  # noqa: SIM118


class TimmNetwork:
    """A timm model as a network; see ``network.Network``.

    Args:
        module: Model with a head for the target, or with its source head.
        size: Side of the image.
        target: What the head predicts.
        arguments: Arguments that shape the architecture.
    """

    def __init__(
        self,
        module: Any,
        size: int,
        target: Target,
        arguments: dict[str, Any],
    ) -> None:
        self.module = module
        self._classifiers = _parts(module.get_classifier())
        head = {id(p) for part in self._classifiers for p in part.parameters()}
        self.head_parameters = frozenset(n for n, p in module.named_parameters() if id(p) in head)
        self._target = target
        self._arguments = arguments
        described: dict[str, Any] = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
        self._size = size
        channels = arguments.get("in_chans", described["input_size"][0])
        if channels not in _MODES:
            raise ZooError(f"expected a model of 1 or 3 channels, got {channels}")
        self._mode = _MODES[channels]
        self._memory_format = _memory_format(module, channels)
        self._mean, self._std = (
            list(described[key]) if len(described[key]) == channels else [0.5] * channels
            for key in ("mean", "std")
        )

    def preprocess(self, rows: Any) -> list[Any]:
        """Return a normalized (3, s, s) tensor for each image; see ``network.Network``."""
        return [self._normalize(decode_image(image["bytes"])) for image in rows["image"]]

    def made_up(self) -> list[Any]:
        """Return one preprocessed image of one color."""
        return [self._normalize(Image.new("RGB", (self._size, self._size), "gray"))]

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Network``."""
        return {"x": torch.stack(encoded).contiguous(memory_format=self._memory_format)}

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        logits: Tensor = self.module(batch["x"])
        return logits

    def embeddings(self, batch: Batch) -> Tensor:
        """Return the pooled features before the head; see ``network.Network``."""
        return self._embeddings(self.module.forward_features(batch["x"]))

    def features(self, batch: Batch) -> Features:
        """See ``network.Network``; the inputs of several classifiers are (b, classifiers, ...)."""
        maps = self.module.forward_features(batch["x"])
        inputs: dict[Any, Tensor] = {}
        hooks = [
            part.register_forward_pre_hook(lambda part, given: inputs.update({part: given[0]}))
            for part in self._classifiers
        ]
        try:
            self.module.forward_head(maps)
        finally:
            for hook in hooks:
                hook.remove()
        if len(inputs) < len(self._classifiers) or not inputs:
            raise ZooError("mode frozen: expected a classifier that reads features, got none")
        head_inputs = torch.stack([inputs[part] for part in self._classifiers], dim=1)
        return Features(head_inputs, self._embeddings(maps))

    def head_logits(self, head_inputs: Tensor) -> Tensor:
        """Return the mean logits of the classifiers, as of distilled models."""
        rate = float(getattr(self.module, "drop_rate", 0.0))
        inputs = torch.nn.functional.dropout(head_inputs, rate, training=self.module.training)
        logits = [
            part(given).flatten(start_dim=1)
            for part, given in zip(self._classifiers, inputs.unbind(dim=1), strict=True)
        ]
        return torch.stack(logits).mean(dim=0)

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
        config_file = folder / "config.json"
        save_config_for_hf(
            self.module,
            str(config_file),
            model_config={
                "num_classes": self._target.outputs,
                "label_names": list(self._target.classes) or None,
            },
            model_args=self._arguments,
        )
        # parts of a network may share a tensor, which safetensors refuses; each gets its own here
        state = self.module.state_dict()
        save_file({name: tensor.clone() for name, tensor in state.items()}, folder / WEIGHTS_FILE)
        config = json.loads(config_file.read_text())
        # how to preprocess an image without this package
        config["recall_input"] = {
            "size": self._size,
            "mode": self._mode,
            "mean": self._mean,
            "std": self._std,
        }
        if different := self._target.to_dict():
            config["recall_target"] = different
        config_file.write_text(json.dumps(config, indent=2))

    def _embeddings(self, maps: Any) -> Tensor:
        pooled = self.module.forward_head(maps, pre_logits=True)
        parts = pooled if isinstance(pooled, list | tuple) else [pooled]
        return torch.cat([part.flatten(start_dim=1) for part in parts], dim=1)

    def _normalize(self, image: Any) -> Tensor:
        square = image.convert(self._mode).resize((self._size, self._size))
        pixels = np.asarray(square, dtype=np.float32).reshape(self._size, self._size, -1)
        scaled = torch.from_numpy(pixels / 255)
        normalized = (scaled - torch.tensor(self._mean)) / torch.tensor(self._std)
        return normalized.permute(2, 0, 1)


def _memory_format(module: Any, channels: int) -> torch.memory_format:
    """Return how the values of images lie in memory.

    With channels last, a step of a convolutional network takes about two thirds on a CPU. But the
    gradients of a strided convolution of single pixels, right on the image, damage memory there
    (torch 2.14 with 3 channels; RepVGG, MobileOne and FastViT have one).
    """
    is_damaging = any(
        isinstance(part, torch.nn.Conv2d)
        and part.in_channels == channels
        and part.kernel_size == (1, 1)
        and part.stride != (1, 1)
        for part in module.modules()
    )
    return torch.contiguous_format if is_damaging else torch.channels_last


def _parts(classifier: Any) -> list[Any]:
    """Return the modules of a classifier, of which some architectures have several."""
    parts = classifier if isinstance(classifier, list | tuple) else [classifier]
    return [part for part in parts if isinstance(part, torch.nn.Module)]
