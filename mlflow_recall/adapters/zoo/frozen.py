"""The mode ``frozen``: samples pass the backbone once, and the head is trained on the results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mlflow_recall.adapters.array_cache import ArrayCache
from mlflow_recall.adapters.zoo.forward_pass import forward_all
from mlflow_recall.adapters.zoo.model_folder import weights_digest
from mlflow_recall.adapters.zoo.network import Batch, Features, Network, NetworkWrapper
from mlflow_recall.core.arrays import AnyArray
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import ProbeTask, TrainTask

#: part of the key, which changes when the features of the same model change
_FORMAT_VERSION = 1
#: what a model reads of a row
_INPUT_COLUMNS = ("text", "text_pair")


class SampleFeatures(NamedTuple):
    """What the backbone tells of n samples; see ``network.Features``."""

    head_inputs: AnyArray  # (n, ...)
    embeddings: AnyArray  # (n, d)


class FeatureStore:
    """The features of a dataset's samples by one model, each computed once.

    They are kept in the cache folder of probes by the content of a sample, so that splits, seeds,
    stages and probes share them.

    Args:
        task: Training or probe, with model, weights and dataset.
        network: Network that computes what is not kept.
        device: Device of the network.
    """

    def __init__(self, task: TrainTask | ProbeTask, network: Network, device: torch.device) -> None:
        member = task.member
        identity = (
            weights_digest(Path(task.weights or "")) if member.is_external else member.identity
        )
        self._key = [
            *("features", _FORMAT_VERSION, identity, member.name, member.version, member.arch),
            *(dict(member.config), task.dataset.digest, task.recipe.input_size),
        ]
        self._name = member.name
        self._network = network
        self._device = device
        self._cache = ArrayCache()

    def features(self, rows: Any) -> SampleFeatures:
        """Return the features of rows of any split, in their order.

        Raises:
            ZooError: The head of the network cannot be computed from them.
        """
        keys = list(_row_keys(rows))
        arrays = self._cache.get(self._key)
        known = [key.tobytes() for key in arrays["keys"]] if arrays else []
        position = {key: i for i, key in enumerate(known)}
        row_of = {key: row for row, key in enumerate(keys) if key not in position}
        if row_of:
            computed = {
                "keys": np.array([list(key) for key in row_of], dtype=np.uint8),
                **self._compute(rows.select([*row_of.values()]))._asdict(),
            }
            arrays = {
                name: np.concatenate([arrays[name], values]) if arrays else values
                for name, values in computed.items()
            }
            position = {key: i for i, key in enumerate([*known, *row_of])}
            self._cache.put(self._key, arrays)
        order = [position[key] for key in keys]
        return SampleFeatures(arrays["head_inputs"][order], arrays["embeddings"][order])

    def _compute(self, rows: Any) -> SampleFeatures:
        encoded = self._network.preprocess(rows)
        self._check_head(encoded[:1])
        return SampleFeatures(*forward_all(self._network, encoded, self._device, _features))

    def _check_head(self, encoded: list[Any]) -> None:
        """Raise an error if the head reads something else than what is kept."""
        whole, alone = forward_all(self._network, encoded, self._device, _logits_both_ways)
        if not np.allclose(whole, alone, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise ZooError(
                f"{self._name}: mode frozen: expected a head that reads pooled features alone, got "
                "other logits from them than from the whole network: use --freeze backbone"
            )


class FrozenNetwork(NetworkWrapper):
    """A network whose rows are the inputs of its head; see ``network.Trainable``.

    Args:
        network: The whole network.
        store: Its features.
    """

    def __init__(self, network: Network, store: FeatureStore) -> None:
        super().__init__(network)
        self._store = store

    def preprocess(self, rows: Any) -> list[Any]:
        """Return what the head reads of each row."""
        return [*torch.from_numpy(self._store.features(rows).head_inputs)]

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Trainable``."""
        return {"head_inputs": torch.stack(encoded)}

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Trainable``."""
        return self._network.head_logits(batch["head_inputs"])

    def frozen_parameters(self, what: str) -> list[str]:  # noqa: ARG002 - the mode says what
        """Return the names of all parameters but those of the head."""
        return self._network.frozen_parameters("backbone")


def _features(network: Network, batch: dict[str, Tensor]) -> Features:
    return network.features(batch)


def _logits_both_ways(network: Network, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return network.logits(batch), network.head_logits(network.features(batch).head_inputs)


def _row_keys(rows: Any) -> Iterator[bytes]:
    """Yield 16 bytes for each row, which are those of its content."""
    if "image" in rows.column_names:
        contents = (image["bytes"] for image in rows["image"])
    else:
        columns = [rows[name] for name in _INPUT_COLUMNS if name in rows.column_names]
        contents = (json.dumps(texts).encode() for texts in zip(*columns, strict=True))
    for content in contents:
        yield hashlib.blake2b(content, digest_size=16).digest()
