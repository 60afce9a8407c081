"""The mode ``lora``: the head and low-rank changes of all linear layers are trained.

LoRA (Hu et al. 2021, arXiv:2106.09685) leaves the weight W of a layer as it is and trains two thin
matrices: the layer computes W x + (alpha / rank) B A x. Merged, the product is added to W, and the
network is one of its library again.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlflow_recall.adapters.zoo import check_mode
from mlflow_recall.adapters.zoo.network import Network, NetworkWrapper
from mlflow_recall.core.history.recipes import LORA, Recipe
from mlflow_recall.errors import ZooError, one_line

#: part of transformers models on the classification token, which no head here reads
_POOLER = "pooler"
#: a linear layer that is never called: attention reads its weight
_READ_BY_ATTENTION = nn.modules.linear.NonDynamicallyQuantizableLinear
_ADAPTER_FILE = "adapter.safetensors"


def is_adapter(folder: Path) -> bool:
    """Return whether a checkpoint holds what was trained alone, not a whole network."""
    return (folder / _ADAPTER_FILE).exists()


class LoraNetwork(NetworkWrapper):
    """A network with low-rank changes of its linear layers; see ``network.Trainable``.

    Args:
        network: Network with pre-trained weights, which is changed in place.
        recipe: Recipe with rank, scale and dropout.
        name: Name of the model, for messages.

    Raises:
        ZooError: peft is not installed, or the network has no linear layer.
    """

    def __init__(self, network: Network, recipe: Recipe, name: str) -> None:
        check_mode(LORA)
        super().__init__(network)
        self._name = name
        self._tuner: Any = _inject(network, recipe, name)
        self._is_merged = False

    def frozen_parameters(self, what: str) -> list[str]:  # noqa: ARG002 - the mode says what
        """Return the names of all parameters but those of the head and of the changes."""
        trained = {*self.head_parameters, *self._changes()}
        return [name for name, _ in self.module.named_parameters() if name not in trained]

    def save(self, folder: Path) -> None:
        """Write the changes and the head; once it is merged, the whole network."""
        if self._is_merged:
            self._network.save(folder)
            return
        state = {name: value.clone().contiguous() for name, value in self._trained().items()}
        save_file(state, folder / _ADAPTER_FILE)

    def restore(self, folder: Path) -> None:
        """Read what ``save`` wrote before the network was merged.

        Raises:
            ZooError: The file is damaged, or was written with another recipe.
        """
        file, trained = folder / _ADAPTER_FILE, self._trained()
        try:
            stored = load_file(file)
            if stored.keys() != trained.keys():
                raise ZooError(f"expected {len(trained)} tensors of this recipe, got others")
            for name, value in trained.items():
                value.copy_(stored[name])
        except (OSError, RuntimeError, SafetensorError, ZooError) as error:
            raise ZooError(f"{self._name}: {file}: {one_line(error)}") from error

    def merge(self) -> None:
        """Add the changes to the weights, so that the network is one of its library again."""
        if not self._is_merged:
            self._tuner.merge_and_unload()
            self._is_merged = True

    def _changes(self) -> list[str]:
        return [name for name, _ in self.module.named_parameters() if ".lora_" in name]

    def _trained(self) -> dict[str, Tensor]:
        """Return all that a training changes: parameters, and statistics of normalizations."""
        parameters = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        trained = {*self.head_parameters, *self._changes()}
        state: dict[str, Tensor] = self.module.state_dict()
        return {
            name: value
            for name, value in state.items()
            if name in trained or name not in parameters
        }


def _inject(network: Network, recipe: Recipe, name: str) -> Any:
    """Add changes to all linear layers that read the input, and return peft's tuner."""
    from transformers.pytorch_utils import Conv1D  # it takes seconds, which other modes save

    unused = {*network.frozen_parameters("nothing"), *network.head_parameters}
    targets = [
        layer
        for layer, part in network.module.named_modules()
        if isinstance(part, nn.Linear | Conv1D)
        and not isinstance(part, _READ_BY_ATTENTION)
        and f"{layer}.weight" not in unused
        and _POOLER not in layer.split(".")
    ]
    if not targets:
        raise ZooError(
            f"{name}: mode {LORA}: expected a network with linear layers, got none: use another "
            "mode"
        )
    peft: Any = import_module("peft")
    config = peft.LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=targets,
    )
    with warnings.catch_warnings():
        # it finds out by itself that GPT-2 and its kind have transposed weights, and says so
        warnings.filterwarnings("ignore", "fan_in_fan_out", UserWarning)
        return peft.LoraModel(network.module, config, "default")
