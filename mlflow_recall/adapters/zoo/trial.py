"""A model tried on two made-up samples before it is registered."""

from __future__ import annotations

import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.zoo import LIBRARIES
from mlflow_recall.core.history.recipes import FROZEN, LORA, Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ZooError, one_line

#: a short text, and one that is longer than models read
_TEXTS = ("a short text", " ".join(["long"] * 600))
_CLASSES = ("first", "second")
#: networks with more parameters are tried without a step backward, which would take long
_MAX_TO_TRAIN = 50_000_000
#: parameters with more numbers get no gradient, which would take memory
_MAX_GRADIENT = 1_000_000


def try_model(member: Member, folder: Path | None, recipe: Recipe) -> None:
    """Check that a model can be trained, probed and served, by the code that will do it.

    The network is built from its configuration, with zeros instead of weights; names and shapes of
    the weights are checked, but no weight is read. Models of installed libraries are not tried.

    Args:
        member: The model.
        folder: Folder with its files; None: they are not on this machine.
        recipe: Recipe that it will be trained with.

    Raises:
        ZooError: The model fails; the message says where and why.
    """
    module = LIBRARIES.get(member.library)
    if module is None or (folder is None and member.library != "timm"):
        return
    load = import_module(module).load_blank
    _train(load(member, folder and str(folder), _dataset(member), recipe, False), member, recipe)
    if member.has_source_head:
        network = load(member, folder and str(folder), _dataset(member), recipe, True)
        _run(f"{member.name}: its own head", lambda: _check(network, network.logits, member))


def _train(network: Any, member: Member, recipe: Recipe) -> None:
    """Run the steps of a probe and of a training, from the samples to the gradients."""
    import torch
    from torch import nn

    trained = network

    def probe() -> None:
        with torch.no_grad():
            _check(network, network.embeddings, member)

    def step() -> None:
        frozen = set(trained.frozen_parameters("nothing"))
        for name, parameter in trained.module.named_parameters():
            parameter.requires_grad_(name not in frozen and parameter.numel() <= _MAX_GRADIENT)
        logits = _check(trained, trained.logits, member)
        if logits.shape[1] != len(_CLASSES):
            raise ZooError(f"expected {len(_CLASSES)} logits, got {logits.shape[1]}")
        if sum(p.numel() for p in trained.module.parameters()) <= _MAX_TO_TRAIN:
            loss: Any = nn.functional.cross_entropy(logits, torch.tensor([0, 1]))
            loss.backward()

    def head() -> None:
        with torch.no_grad():
            _check(network, lambda x: network.head_logits(network.features(x).head_inputs), member)

    _run(f"{member.name}: cannot be probed", probe)
    if recipe.mode == FROZEN:
        _run(f"{member.name}: cannot be trained in the mode {FROZEN}", head)
    if recipe.mode == LORA:
        from mlflow_recall.adapters.zoo.lora import LoraNetwork

        trained = LoraNetwork(network, recipe, member.name)
    network.module.train()
    for part in network.module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()
    _run(f"{member.name}: cannot be trained", step)


def _check(network: Any, function: Callable[[Any], Any], member: Member) -> Any:
    """Return what a function makes of both samples, a row for each.

    Raises:
        ZooError: It is something else.
    """
    from datasets import Dataset as Rows

    samples = {"text": list(_TEXTS), "image": _made_up_images()}
    encoded = network.preprocess(Rows.from_dict({member.modality: samples[member.modality]}))
    output = function(network.collate(encoded))
    if output.ndim != 2 or len(output) != len(encoded):
        raise ZooError(f"expected a row for each sample, got the shape {tuple(output.shape)}")
    return output


def _made_up_images() -> list[dict[str, bytes]]:
    """Return a wide and a high image, as rows of a dataset hold them."""
    from PIL import Image

    files = [io.BytesIO(), io.BytesIO()]
    for file, size in zip(files, ((48, 32), (80, 120)), strict=True):
        Image.new("RGB", size, "gray").save(file, "PNG")
    return [{"bytes": file.getvalue()} for file in files]


def _run(where: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:  # models raise many kinds of errors
        raise ZooError(f"{where}: {one_line(error)}") from error


def _dataset(member: Member) -> Dataset:
    return Dataset(
        name="two made-up samples",
        digest="",
        modality=member.modality,
        classes=_CLASSES,
        sizes={},
        source="",
        folder="",
    )
