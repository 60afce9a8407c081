"""Networks without weights: built from a configuration, with zeros that take no memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from accelerate import init_empty_weights
from torch import nn

from mlflow_recall import limits
from mlflow_recall.errors import ZooError

M = TypeVar("M", bound=nn.Module)


def build_blank(build: Callable[[], M]) -> M:
    """Return the network that a function builds, with zeros as parameters.

    It has the shapes, the buffers and the code of the real one, so it can be tried, but takes
    neither its memory nor the time to draw random numbers.

    Raises:
        ZooError: It is too large.
    """
    try:
        with init_empty_weights(include_buffers=False):
            module = build()
    except NotImplementedError:  # its constructor reads what is in the weights
        module = build()
    check_size(module)
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            # of NumPy's zeros, unlike torch's, the system hands out memory where it is written
            zeros = torch.from_numpy(np.zeros(parameter.shape, dtype=np.float32))
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
