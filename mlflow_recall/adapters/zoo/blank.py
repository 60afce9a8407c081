"""Networks without weights: built from a configuration, with zeros that take no memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import init_empty_weights
from torch import nn

from mlflow_recall import limits
from mlflow_recall.errors import ZooError

M = TypeVar("M", bound=nn.Module)


def build_blank(build: Callable[[], M]) -> M:
    """Return the network that a function builds, all of whose parameters are one shared zero.

    It has the shapes, the buffers and the code of the real one, so it can be tried, but takes
    neither its memory nor the time to draw random numbers.

    Raises:
        ZooError: It is too large.
    """
    with init_empty_weights(include_buffers=False):
        module = build()
    check_size(module)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            zeros = torch.zeros((), dtype=torch.float32).expand(parameter.shape)
            part.register_parameter(name, nn.Parameter(zeros))
    return module.eval()


def check_size(module: nn.Module) -> None:
    """Raise an error for a network that no machine here can hold.

    Raises:
        ZooError: It has too many parameters, or constants of that size.
    """
    size = sum(p.numel() for p in module.parameters()) + sum(b.numel() for b in module.buffers())
    if size > limits.MAX_PARAMETERS:
        raise ZooError(f"expected at most {limits.MAX_PARAMETERS:,} parameters, got {size:,}")
