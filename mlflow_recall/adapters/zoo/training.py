"""Fine-tuning in stages of one epoch, with the same results when a checkpoint is resumed."""

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

from mlflow_recall.adapters.data.preparation import load_split, targets_of
from mlflow_recall.adapters.zoo.answers import to_outputs
from mlflow_recall.adapters.zoo.forward_pass import forward, row_length
from mlflow_recall.adapters.zoo.frozen import FeatureStore, FrozenNetwork
from mlflow_recall.adapters.zoo.lora import LoraNetwork, is_adapter
from mlflow_recall.adapters.zoo.network import Network, Trainable
from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.metrics import compute_metrics, metrics_of
from mlflow_recall.core.history.recipes import FROZEN, LORA
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION
from mlflow_recall.errors import ZooError
from mlflow_recall.ports import StageResult, TrainTask

_OPTIMIZER_FILE = "optimizer.safetensors"
#: number of batches whose rows are sorted by length together
_WINDOW_BATCHES = 8


def fine_tune(task: TrainTask, load: Callable[..., Network]) -> Iterator[StageResult]:
    """Yield the results of stages ``task.first`` to ``task.last``; see ``zoo.train``."""
    recipe, dataset = task.recipe, task.dataset
    set_seed(recipe.seed)
    accelerator = Accelerator()
    network = _load(task, load, accelerator.device)
    if task.first > task.last:  # nothing is left to train
        started = time.perf_counter()
        network.module.to(accelerator.device)
        checkpoint = task.checkpoint
        if isinstance(network, LoraNetwork):  # it won before its last stage
            network.merge()
            checkpoint = _save_whole(network, task)
        test_scores = _test_set(network, task).scores(accelerator)
        seconds = time.perf_counter() - started
        yield StageResult(
            stage=task.last,
            validation={},
            seconds=seconds,
            checkpoint=checkpoint,
            test=test_scores,
        )
        return
    started = time.perf_counter()
    train = load_split(dataset, "train", recipe.train_samples, recipe.seed)
    rows, loss_of = network.preprocess(train), Loss(targets_of(train, dataset), task)
    lengths = np.array([row_length(row) for row in rows])
    steps = math.ceil(len(rows) / recipe.batch_size)
    optimizer = _optimizer(network, task)
    module, optimizer = accelerator.prepare(network.module, optimizer)
    network.module = module
    if task.checkpoint:
        _restore_optimizer(optimizer.optimizer, Path(task.checkpoint))
    validation_rows = load_split(dataset, "validation", recipe.eval_samples, 0)
    validation = _Evaluation(network, validation_rows, dataset)
    # embeddings are the work of the first stage, while tokens and pixels are that of no stage
    preparation = time.perf_counter() - started if recipe.mode == FROZEN else 0.0
    test = _test_set(network, task) if task.test == "each" else None

    for stage in range(task.first, task.last + 1):
        started = time.perf_counter()
        set_seed(recipe.seed * 1000 + stage)  # a resumed stage has the same random numbers
        _set_train_mode(module, freeze_batchnorm=recipe.freeze_batchnorm)
        rng = np.random.default_rng([recipe.seed, stage])
        for step, indices in enumerate(_batches(lengths, recipe.batch_size, rng)):
            share = _rate_share((stage - 1) * steps + step, steps * recipe.epochs, recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share
            batch = {
                key: value.to(accelerator.device)
                for key, value in network.collate([rows[i] for i in indices]).items()
            }
            loss = loss_of(network.logits(batch), indices)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        if not torch.isfinite(loss):
            raise ZooError(
                f"{task.member.name}: the loss is {loss.item()} after stage {stage}: "
                f"try a learning rate below {recipe.learning_rate:g}"
            )
        if stage == recipe.epochs and isinstance(network, LoraNetwork):
            network.merge()  # it is evaluated as it will be served
        scores = validation.scores(accelerator)
        seconds = time.perf_counter() - started + preparation
        preparation = 0.0
        if task.test == "last" and stage == task.last:
            test = _test_set(network, task)
        test_scores = test.scores(accelerator) if test else {}
        network.module = accelerator.unwrap_model(module)
        checkpoint = None
        if task.workspace:
            checkpoint = _save_checkpoint(
                network, optimizer.optimizer, Path(task.workspace), stage, recipe.epochs
            )
        network.module = module
        yield StageResult(
            stage=stage, validation=scores, seconds=seconds, checkpoint=checkpoint, test=test_scores
        )


def _load(task: TrainTask, load: Callable[..., Network], device: torch.device) -> Trainable:
    """Return the network of a task as its mode trains it."""
    recipe, checkpoint = task.recipe, task.checkpoint
    adapter = Path(checkpoint) if checkpoint and is_adapter(Path(checkpoint)) else None
    weights = task.weights if adapter or not checkpoint else checkpoint
    network = load(task.member, weights, task.dataset, recipe, False)
    if recipe.mode == FROZEN:
        network.module.to(device)
        return FrozenNetwork(network, FeatureStore(task, network, device))
    if recipe.mode == LORA and weights != checkpoint:  # a last checkpoint is merged already
        changed = LoraNetwork(network, recipe, task.member.name)
        if adapter:
            changed.restore(adapter)
        return changed
    return network


class _Evaluation:
    """A split that is preprocessed once and evaluated after every stage."""

    def __init__(self, network: Trainable, rows: Any, dataset: Dataset) -> None:
        self._network = network
        self._target = dataset.target
        self._targets = targets_of(rows, dataset)
        self._groups = np.array(rows["group"]) if dataset.has_groups else None
        self._encoded = network.preprocess(rows)

    def scores(self, accelerator: Accelerator) -> dict[str, float]:
        """Return every metric; all are NaN where an output of the network is not finite."""
        outputs = forward(self._network, self._encoded, accelerator.device, self._outputs)
        if self._target.task == REGRESSION:  # large numbers differ in more digits than floats have
            outputs = to_outputs(torch.from_numpy(outputs), vars(self._target)).numpy()
        if not np.isfinite(outputs).all():
            return dict.fromkeys(metrics_of(self._target), math.nan)
        return compute_metrics(self._target.task, self._targets, outputs, self._groups)

    def _outputs(self, network: Trainable, batch: dict[str, Tensor]) -> Tensor:
        logits = network.logits(batch)
        return logits if self._target.task == REGRESSION else to_outputs(logits, vars(self._target))


class Loss:
    """The loss of a task: cross-entropy, that of each label, or the squared error.

    Args:
        targets: Targets of the n training samples; see ``compute_metrics``.
        task: Training, with the dataset and how its classes are weighed.
    """

    def __init__(self, targets: AnyArray, task: TrainTask) -> None:
        self._target = target = task.dataset.target
        self._weights: Tensor | None = None
        if target.task == CLASSIFICATION:
            self._targets = torch.from_numpy(targets)
        elif target.task == MULTILABEL:
            self._targets = torch.from_numpy(targets.astype(np.float32))
        else:
            self._targets = torch.from_numpy((targets - target.mean) / target.std).float()
        if task.recipe.class_weight == "balanced" and target.task != REGRESSION:
            self._weights = torch.from_numpy(balanced_weights(targets, target.outputs)).float()

    def __call__(self, logits: Tensor, indices: IntArray) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (b, c) outputs of the head; (b, 1) of a regression.
            indices: (b,) its samples.
        """
        targets = self._targets[torch.from_numpy(indices)].to(logits.device)
        weights = None if self._weights is None else self._weights.to(logits.device)
        if self._target.task == CLASSIFICATION:
            return nn.functional.cross_entropy(logits, targets, weight=weights)
        if self._target.task == MULTILABEL:
            return nn.functional.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=weights
            )
        return nn.functional.mse_loss(logits[:, 0], targets)


def balanced_weights(targets: AnyArray, outputs: int) -> FloatArray:
    """Return the weight of each class, or of the samples that have a label.

    A class weighs n / (c n_k), as in scikit-learn, and a label as much as makes the samples with it
    weigh as much as those without it. What no sample has weighs 1.

    Args:
        targets: (n,) class indices, or (n, c) zeros and ones of labels.
        outputs: Number of classes or labels.

    Example:
        >>> balanced_weights(np.array([0, 0, 0, 1]), 3).round(2).tolist()
        [0.67, 2.0, 1.0]
    """
    if targets.ndim == 2:
        counts = targets.sum(axis=0).astype(np.float64)
        total = len(targets) - counts
    else:
        counts = np.bincount(targets, minlength=outputs).astype(np.float64)
        total = np.full(outputs, len(targets) / (counts > 0).sum())
    weights: FloatArray = np.ones(outputs)
    np.divide(total, counts, out=weights, where=(counts > 0) & (total > 0))
    return weights


def _test_set(network: Trainable, task: TrainTask) -> _Evaluation:
    rows = load_split(task.dataset, "test", task.recipe.eval_samples, 0)
    return _Evaluation(network, rows, task.dataset)


def _batches(lengths: IntArray, size: int, rng: np.random.Generator) -> list[IntArray]:
    """Return the indices of all rows, in batches of at most ``size``, in random order.

    Rows of similar length share a batch, so that it has little padding: every window of shuffled
    rows is sorted by length before it is divided into batches. Only one batch may be smaller.
    """
    order = rng.permutation(len(lengths))
    window = size * _WINDOW_BATCHES
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        order[start : start + window] = rows[np.argsort(-lengths[rows], kind="stable")]
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _rate_share(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, then cosine decay.

    Args:
        step: Step from 0.
        steps: Number of steps.
        warmup: Share of the steps in which the rate increases.
    """
    warmup_steps = max(1, round(warmup * steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))


def _set_train_mode(module: nn.Module, *, freeze_batchnorm: bool) -> None:
    module.train()
    if freeze_batchnorm:
        for submodule in module.modules():
            if isinstance(submodule, nn.modules.batchnorm._BatchNorm):
                submodule.eval()


def _optimizer(network: Trainable, task: TrainTask) -> torch.optim.AdamW:
    """Return the optimizer of the parameters that are trained.

    The head has its own learning rate, and parameters of one dimension (biases, norms) have no
    weight decay.
    """
    recipe = task.recipe
    frozen = set(network.frozen_parameters(recipe.freeze))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.module.named_parameters():
        parameter.requires_grad_(name not in frozen)
        if name not in frozen:
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
        fused=True,  # one pass over the parameters saves a tenth of a step on a CPU
    )


def _save_checkpoint(
    network: Trainable, optimizer: Any, workspace: Path, stage: int, stages: int
) -> str:
    """Write a folder that loads as a model, and before the last stage the optimizer's state.

    Returns:
        The folder.
    """
    folder = workspace / f"stage-{stage}"
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder)
    if stage < stages:
        state = optimizer.state_dict()["state"]
        save_file(
            {f"{i}.{key}": value for i, entry in state.items() for key, value in entry.items()},
            folder / _OPTIMIZER_FILE,
        )
    return str(folder)


def _save_whole(network: LoraNetwork, task: TrainTask) -> str:
    """Write the merged network beside the task's checkpoints, and return the folder."""
    folder = Path(task.workspace or str(task.checkpoint)) / "merged"
    folder.mkdir(parents=True, exist_ok=True)
    network.save(folder)
    return str(folder)


def _restore_optimizer(optimizer: Any, folder: Path) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / _OPTIMIZER_FILE).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
