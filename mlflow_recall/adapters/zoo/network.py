"""What training and probing need of a loaded model, whatever its library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from torch import Tensor, nn

#: keyword arguments of the module, one batch
Batch: TypeAlias = Mapping[str, Tensor]


class Network(Protocol):
    """A pre-trained model with a classification head."""

    module: nn.Module
    #: names of parameters that are new and learn at the head's rate
    head_parameters: frozenset[str]

    def preprocess(self, rows: Any) -> list[Any]:
        """All rows of a split, made ready once (tokens, or pictures as they are)."""
        ...

    def collate(self, encoded: list[Any]) -> Batch:
        """Some encoded rows as tensors."""
        ...

    def logits(self, batch: Batch) -> Tensor:
        """(b, c) class scores."""
        ...

    def embeddings(self, batch: Batch) -> Tensor:
        """(b, d) pooled features of the backbone."""
        ...

    def frozen_parameters(self, what: str) -> list[str]:
        """Names of the parameters that a recipe's ``freeze`` keeps as they are."""
        ...

    def save(self, folder: Path) -> None:
        """Weights as safetensors, with all that ``load`` and other software need beside them."""
        ...
