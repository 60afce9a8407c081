"""The interface of a loaded model of any library, for training and probing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from torch import Tensor, nn

#: keyword arguments of the module for one batch
Batch: TypeAlias = Mapping[str, Tensor]


class Features(NamedTuple):
    """What one pass of the backbone tells of b samples."""

    #: (b, ...) what the head reads, before its dropout
    head_inputs: Tensor
    #: (b, d) what a probe reads
    embeddings: Tensor


class Trainable(Protocol):
    """A network with a head, as far as a training needs it."""

    module: nn.Module
    #: names of the parameters of the head, which are trained at its own learning rate
    head_parameters: frozenset[str]

    def preprocess(self, rows: Any) -> list[Any]:
        """Return the preprocessed rows of a split: tokens, or decoded images."""
        ...

    def collate(self, encoded: list[Any]) -> Batch:
        """Return preprocessed rows as the tensors of one batch."""
        ...

    def logits(self, batch: Batch) -> Tensor:
        """Return (b, c) outputs of the head: one for each class or label, or one for a number."""
        ...

    def frozen_parameters(self, what: str) -> list[str]:
        """Return the names of the parameters that are not trained.

        Args:
            what: Value of a recipe's ``freeze``.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors, with all that ``load`` and other software need."""
        ...


class Network(Trainable, Protocol):
    """A pre-trained model with a head."""

    def embeddings(self, batch: Batch) -> Tensor:
        """Return (b, d) pooled features of the backbone."""
        ...

    def features(self, batch: Batch) -> Features:
        """Return what the head reads and the embeddings, of one pass."""
        ...

    def head_logits(self, head_inputs: Tensor) -> Tensor:
        """Return the logits that the head alone computes from its (b, ...) inputs."""
        ...


class NetworkWrapper:
    """A network that is trained in another way; all is the network's own but what a mode changes.

    Args:
        network: The whole network.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.head_parameters = network.head_parameters

    @property
    def module(self) -> nn.Module:
        """The whole network, so that it moves and is saved as a whole."""
        return self._network.module

    @module.setter
    def module(self, module: nn.Module) -> None:
        self._network.module = module

    def preprocess(self, rows: Any) -> list[Any]:
        """See ``Trainable``."""
        return self._network.preprocess(rows)

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``Trainable``."""
        return self._network.collate(encoded)

    def logits(self, batch: Batch) -> Tensor:
        """See ``Trainable``."""
        return self._network.logits(batch)

    def save(self, folder: Path) -> None:
        """See ``Trainable``."""
        self._network.save(folder)
