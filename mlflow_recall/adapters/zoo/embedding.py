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

from mlflow_recall.adapters.data.preparation import load_split, targets_of
from mlflow_recall.adapters.zoo.forward_pass import forward
from mlflow_recall.adapters.zoo.frozen import FeatureStore
from mlflow_recall.adapters.zoo.network import Network
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.history.recipes import FROZEN, default_recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.ports import Probe, ProbeTask

#: a network needs a head with classes, whose logits are not used here
_UNUSED_CLASSES = Dataset(
    name="", digest="", modality="text", classes=("none",), sizes={}, source="", folder=""
)


def run_probe(task: ProbeTask, load: Callable[..., Network]) -> Iterator[Probe]:
    """Yield the only result of a probe; see ``zoo.probe``."""
    has_head = task.member.has_source_head
    network = load(task.member, task.weights, task.dataset, task.recipe, has_head)
    rows = load_split(task.dataset, "train", task.samples, task.recipe.seed)
    is_shared = task.recipe.mode == FROZEN  # with trainings: one computes what the other reads
    encoded = network.preprocess(rows) if has_head or not is_shared else []
    device = Accelerator().device
    network.module.to(device)
    started = time.perf_counter()
    if is_shared:
        embeddings = FeatureStore(task, network, device).features(rows).embeddings
    else:
        embeddings = forward(network, encoded, device, _embeddings)
    probabilities = forward(network, encoded, device, _probabilities) if has_head else None
    yield Probe(
        labels=targets_of(rows, task.dataset),
        embeddings=embeddings.astype(np.float64),
        probabilities=None if probabilities is None else probabilities.astype(np.float64),
        seconds=time.perf_counter() - started,
        layers=_count_layers(network),
    )


def _count_layers(network: Network) -> int:
    """Return the number of convolutions and matrix products of the backbone."""
    head_modules = {name.rpartition(".")[0] for name in network.head_parameters}
    return sum(
        isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and name not in head_modules
        for name, module in network.module.named_modules()
    )


def embed_texts(
    member: Member, weights: str, texts: Sequence[str], load: Callable[..., Network]
) -> FloatArray:
    """Return (n, d) embeddings of texts, as a probe would compute them; see ``zoo.embed``."""
    recipe = replace(default_recipe(member.modality, member.family, member.arch), input_size=0)
    network = load(member, weights, _UNUSED_CLASSES, recipe, False)
    device = Accelerator().device
    network.module.to(device)
    encoded = network.preprocess(datasets.Dataset.from_dict({"text": list(texts)}))
    return forward(network, encoded, device, _embeddings).astype(np.float64)


def _embeddings(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return network.embeddings(batch)


def _probabilities(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return torch.softmax(network.logits(batch).double(), dim=1)
