"""Fine-tuning in stages of one epoch: the same run through or taken up from a checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mlflow_recall.adapters.data.preparation import load_split
from mlflow_recall.adapters.zoo.network import Network
from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.metrics import METRICS, compute_metrics
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import StageResult, TrainTask

_OPTIMIZER = "optimizer.safetensors"
_EVAL_BATCH = 64
#: batches that are sorted by length together
_WINDOW = 8


def fine_tune(task: TrainTask, load: Callable[..., Network]) -> Iterator[StageResult]:
    """Stages ``task.first`` to ``task.last``; see ``zoo.train``."""
    recipe, dataset = task.recipe, task.dataset
    set_seed(recipe.seed)
    network = load(task.member, task.checkpoint or task.weights, dataset, recipe, False)
    accelerator = Accelerator()
    if task.first > task.last:  # nothing is left to train
        started = time.perf_counter()
        network.module.to(accelerator.device)
        tested = _test_set(network, task).scores(accelerator)
        yield StageResult(task.last, {}, time.perf_counter() - started, task.checkpoint, tested)
        return
    train = load_split(dataset, "train", recipe.train_samples, recipe.seed)
    rows, labels = network.preprocess(train), torch.tensor(train["label"])
    lengths = np.array([_length(row) for row in rows])
    steps = math.ceil(len(rows) / recipe.batch_size)
    optimizer = _optimizer(network, task)
    module, optimizer = accelerator.prepare(network.module, optimizer)
    network.module = module
    if task.checkpoint:
        _restore(optimizer.optimizer, Path(task.checkpoint))
    validation = _Evaluation(network, load_split(dataset, "validation", recipe.eval_samples, 0))
    test = _test_set(network, task) if task.test == "each" else None

    for stage in range(task.first, task.last + 1):
        started = time.perf_counter()
        set_seed(recipe.seed * 1000 + stage)  # a stage is the same wherever it starts
        _train_mode(module, recipe.freeze_batchnorm)
        rng = np.random.default_rng([recipe.seed, stage])
        for step, chosen in enumerate(_batches(lengths, recipe.batch_size, rng)):
            share = _share((stage - 1) * steps + step, steps * recipe.epochs, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share
            batch = {
                key: value.to(accelerator.device)
                for key, value in network.collate([rows[i] for i in chosen]).items()
            }
            target = labels[torch.from_numpy(chosen)].to(accelerator.device)
            loss = nn.functional.cross_entropy(network.logits(batch), target)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        if not torch.isfinite(loss):
            raise ZooError(
                f"{task.member.name}: the loss is {loss.item()} after stage {stage}: "
                f"try a learning rate below {recipe.learning_rate:g}"
            )
        scores = validation.scores(accelerator)
        seconds = time.perf_counter() - started
        if task.test == "last" and stage == task.last:
            test = _test_set(network, task)
        tested = test.scores(accelerator) if test else {}
        network.module = accelerator.unwrap_model(module)
        checkpoint = _keep(network, optimizer.optimizer, task, stage) if task.workspace else None
        network.module = module
        yield StageResult(stage, scores, seconds, checkpoint, tested)


class _Evaluation:
    """A split, encoded once, evaluated after every stage."""

    def __init__(self, network: Network, rows: Any) -> None:
        self._network = network
        self._labels = np.array(rows["label"])
        self._encoded = network.preprocess(rows)

    def scores(self, accelerator: Accelerator) -> dict[str, float]:
        """Every metric; NaN where the network answers with something that is no number."""
        probabilities = self._probabilities(accelerator)
        if not np.isfinite(probabilities).all():
            return dict.fromkeys(METRICS, math.nan)
        return compute_metrics(self._labels, probabilities)

    def _probabilities(self, accelerator: Accelerator) -> FloatArray:
        return forward(self._network, self._encoded, accelerator.device, _softmax)


def _softmax(network: Network, batch: dict[str, Tensor]) -> Tensor:
    return network.logits(batch).double().softmax(dim=1)


def forward(
    network: Network,
    encoded: list[Any],
    device: torch.device,
    function: Callable[[Network, dict[str, Tensor]], Tensor],
) -> AnyArray:
    """``function`` of every row, in the order of the rows: (n, k).

    Rows of like length share a batch, so that little of it is padding.
    """
    network.module.eval()
    order = sorted(range(len(encoded)), key=lambda i: _length(encoded[i]))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(order), _EVAL_BATCH):
            rows = [encoded[i] for i in order[start : start + _EVAL_BATCH]]
            batch = {key: value.to(device) for key, value in network.collate(rows).items()}
            parts.append(function(network, batch).float().cpu().numpy())
    return np.concatenate(parts)[np.argsort(order)]


def _length(row: Any) -> int:
    return len(row["input_ids"]) if isinstance(row, dict) else 0


def _test_set(network: Network, task: TrainTask) -> _Evaluation:
    return _Evaluation(network, load_split(task.dataset, "test", task.recipe.eval_samples, 0))


def _batches(lengths: IntArray, size: int, rng: np.random.Generator) -> list[IntArray]:
    """Indices of every row once, in batches of at most ``size``, in random order.

    Rows of like length meet in a batch, so that little of it is padding: every window of shuffled
    rows is sorted before it is cut. Only the last batch of all rows may be smaller.
    """
    order = rng.permutation(len(lengths))
    window = size * _WINDOW
    for start in range(0, len(order), window):
        part = order[start : start + window]
        order[start : start + window] = part[np.argsort(-lengths[part], kind="stable")]
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _share(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: up along a line, down along a cosine."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _train_mode(module: nn.Module, freeze_batchnorm: bool) -> None:
    module.train()
    if freeze_batchnorm:
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.eval()


def _optimizer(network: Network, task: TrainTask) -> torch.optim.AdamW:
    """New parameters at the head's rate; biases and norms without decay."""
    recipe = task.recipe
    still = set(network.frozen_parameters(recipe.freeze))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.module.named_parameters():
        parameter.requires_grad_(name not in still)
        if name not in still:
            rate = (
                recipe.head_learning_rate
                if name in network.head_parameters
                else recipe.learning_rate
            )
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "initial_lr": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,  # one pass over the parameters: a tenth of a step on a CPU
    )


def _keep(network: Network, optimizer: Any, task: TrainTask, stage: int) -> str:
    """Write a checkpoint: a folder that loads as a model, and what the optimizer remembers."""
    folder = Path(task.workspace or "") / f"stage-{stage}"
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder)
    if stage < task.recipe.epochs:
        state = optimizer.state_dict()["state"]
        save_file(
            {f"{i}.{key}": value for i, entry in state.items() for key, value in entry.items()},
            folder / _OPTIMIZER,
        )
    return str(folder)


def _restore(optimizer: Any, folder: Path) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / _OPTIMIZER).items():
        place, _, key = name.partition(".")
        state.setdefault(int(place), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
