"""One forward pass of a pre-trained model over a sample of the target."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import datasets
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mlflow_recall.adapters.data.preparation import load_split
from mlflow_recall.adapters.zoo.network import Network
from mlflow_recall.adapters.zoo.training import forward
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.recipes import default_recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import Probe, ProbeTask

#: a network needs the classes of a head, which nothing reads here
_NO_CLASSES = Dataset(
    name="", digest="", modality="text", classes=("none",), sizes={}, source="", folder=""
)


def run_probe(task: ProbeTask, load: Callable[..., Network]) -> Iterator[Probe]:
    """The only event of a probe; see ``zoo.probe``."""
    real = task.member.has_source_head
    network = load(task.member, task.weights, task.dataset, task.recipe, real)
    rows = load_split(task.dataset, "train", task.samples, task.recipe.seed)
    encoded = network.preprocess(rows)
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
        layers=_layers(network),
    )


def _layers(network: Network) -> int:
    """Weight layers of the backbone: its convolutions and matrix products."""
    new = {name.rpartition(".")[0] for name in network.head_parameters}
    return sum(
        isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and name not in new
        for name, module in network.module.named_modules()
    )


def embed_texts(
    member: Member, weights: str, texts: Sequence[str], load: Callable[..., Network]
) -> FloatArray:
    """(n, d) what a probe of these texts would see; see ``zoo.embed``."""
    longest = replace(default_recipe(member.modality, member.family, member.arch), input_size=0)
    network = load(member, weights, _NO_CLASSES, longest, False)
    device = Accelerator().device
    network.module.to(device)
    encoded = network.preprocess(datasets.Dataset.from_dict({"text": list(texts)}))
    return forward(network, encoded, device, _embeddings).astype(np.float64)


def _embeddings(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return network.embeddings(batch)


def _probabilities(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return torch.softmax(network.logits(batch).double(), dim=1)
