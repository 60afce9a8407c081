"""Forward passes over all rows of a split, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mlflow_recall.adapters.zoo.network import Trainable
from mlflow_recall.core.arrays import AnyArray

N = TypeVar("N", bound=Trainable)

_BATCH_SIZE = 64


def forward(
    network: N,
    encoded: list[Any],
    device: torch.device,
    function: Callable[[N, dict[str, Tensor]], Tensor],
) -> AnyArray:
    """Return (n, k) or (n,) outputs of a function for n rows, in the order of the rows.

    Args:
        network: Network that the function is computed with.
        encoded: n rows that ``network.preprocess`` returned.
        device: Device of the batches.
        function: Network and batch of b rows -> (b, k) or (b,) tensor.
    """
    (outputs,) = forward_all(network, encoded, device, lambda *batch: (function(*batch),))
    return outputs


def forward_all(
    network: N,
    encoded: list[Any],
    device: torch.device,
    function: Callable[[N, dict[str, Tensor]], Sequence[Tensor]],
) -> tuple[AnyArray, ...]:
    """Return several outputs of one pass; see ``forward``.

    Rows of similar length share a batch, so that it has little padding.
    """
    network.module.eval()
    order = sorted(range(len(encoded)), key=lambda i: row_length(encoded[i]))
    outputs = []
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH_SIZE):
            rows = [encoded[i] for i in order[start : start + _BATCH_SIZE]]
            batch = {key: value.to(device) for key, value in network.collate(rows).items()}
            outputs.append([part.float().cpu().numpy() for part in function(network, batch)])
    in_order = np.argsort(order)
    return tuple(np.concatenate(parts)[in_order] for parts in zip(*outputs, strict=True))


def row_length(row: Any) -> int:
    """Return the number of tokens of a text; 0 for an image."""
    return len(row["input_ids"]) if isinstance(row, dict) else 0
