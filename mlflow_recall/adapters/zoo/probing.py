"""One forward pass of a pre-trained model over a sample of the target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mlflow_recall.adapters.datasets import split_of
from mlflow_recall.adapters.zoo.network import Network
from mlflow_recall.adapters.zoo.training import forward
from mlflow_recall.ports import Probe, ProbeTask


def look_at(task: ProbeTask, load: Callable[..., Network]) -> Iterator[Probe]:
    """The only event of a probe; see ``zoo.probe``."""
    real = task.member.source_head
    network = load(task.member, task.weights, task.dataset, task.recipe, real)
    rows = split_of(task.dataset, "train", task.samples, task.recipe.seed)
    encoded = network.encode(rows)
    device = Accelerator().device
    network.module.to(device)
    started = time.perf_counter()
    features = forward(network, encoded, device, _embeddings)
    probabilities = forward(network, encoded, device, _probabilities) if real else None
    yield Probe(
        labels=np.array(rows["label"]),
        embeddings=features.astype(np.float64),
        probabilities=None if probabilities is None else probabilities.astype(np.float64),
        seconds=time.perf_counter() - started,
    )


def _embeddings(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return network.embeddings(batch)


def _probabilities(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return torch.softmax(network.logits(batch).double(), dim=1)
