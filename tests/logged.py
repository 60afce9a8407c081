"""Fine-tunings of other people's code in an MLflow store, key by key as that code logs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from mlflow_recall.adapters.tracking.client import ensure_experiment

#: steps of one epoch
STEPS = 50


def log_run(
    client: MlflowClient,
    experiment: str,
    params: Mapping[str, object],
    points: Sequence[tuple[str, int, float]],
    *,
    run_tags: Mapping[str, str] | None = None,
    status: str = "FINISHED",
    name: str = "run",
) -> str:
    """A run with params, (key, step, value) and tags; ended unless it is RUNNING.

    Returns:
        Its id.
    """
    experiment_id = ensure_experiment(client, experiment)
    run_id = str(client.create_run(experiment_id, run_name=name).info.run_id)
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, i, step) for i, (key, step, value) in enumerate(points)],
        params=[Param(key, str(value)) for key, value in params.items()],
        tags=[RunTag(key, value) for key, value in (run_tags or {}).items()],
    )
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    return run_id


def log_hf(
    client: MlflowClient,
    experiment: str,
    model: str,
    dataset: str,
    curve: Sequence[float],
    *,
    test: float | None = None,
    **params: object,
) -> str:
    """As transformers' MLflowCallback.

    The model's configuration and the training arguments are params; each evaluation logs
    ``eval_*`` and the epochs behind it at the global step.
    """
    own = {
        "_name_or_path": model, "model_type": "bert", "vocab_size": 30522,
        "finetuning_task": dataset, "output_dir": "./out", "per_device_train_batch_size": 8,
        "num_train_epochs": len(curve), "learning_rate": 5e-05, "seed": 42, **params,
    }  # fmt: skip
    points = []
    for epoch, value in enumerate(curve, start=1):
        step = epoch * STEPS
        points += [("loss", step, 1.0), ("learning_rate", step, 1e-5), ("epoch", step, epoch)]
        points += [("eval_accuracy", step, value), ("eval_loss", step, 1 - value)]
        points += [("eval_runtime", step, 0.1), ("eval_samples_per_second", step, 9.0)]
    last = len(curve) * STEPS
    points += [("train_runtime", last, 6.0), ("train_loss", last, 0.5), ("total_flos", last, 1e9)]
    if test is not None:
        points += [("test_accuracy", last, test), ("test_loss", last, 1 - test)]
    return log_run(client, experiment, own, points, name=f"{model} {dataset}")


def log_lightning(
    client: MlflowClient,
    experiment: str,
    model: str,
    dataset: str,
    curve: Sequence[float],
    *,
    test: float | None = None,
    key: str = "val_acc",
    **params: object,
) -> str:
    """As Lightning's MLFlowLogger.

    Hyper-parameters are params; what ``self.log`` was given, and the index of the running epoch,
    are metrics at the last step of each epoch, counted from 0.
    """
    own = {"model_name": model, "dataset": dataset, "lr": 1e-4, "max_epochs": len(curve), **params}
    points = []
    for epoch, value in enumerate(curve):
        step = (epoch + 1) * STEPS - 1
        points += [("train_loss_step", step - 1, 1.0), ("train_loss_epoch", step, 1.0)]
        points += [(key, step, value), (key.replace("acc", "loss"), step, 1 - value)]
        points += [("epoch", step, epoch)]
    if test is not None:
        points += [(key.replace("val", "test"), len(curve) * STEPS, test)]
    return log_run(client, experiment, own, points, name=f"{model} {dataset}")


def log_timm(
    client: MlflowClient, experiment: str, model: str, folder: str, curve: Sequence[float]
) -> str:
    """As timm's train.py summarizes: its arguments as params; by epoch from 0, top-1 in percent."""
    own = {
        "model": model, "data_dir": folder, "dataset": "", "epochs": len(curve), "opt": "adamw",
        "lr": 1e-3, "seed": 42, "batch_size": 128,
    }  # fmt: skip
    points = []
    for epoch, value in enumerate(curve):
        points += [("epoch", epoch, epoch), ("train_loss", epoch, 1.0), ("eval_loss", epoch, 0.5)]
        points += [("eval_top1", epoch, value), ("eval_top5", epoch, 99.0), ("lr", epoch, 1e-3)]
    return log_run(client, experiment, own, points, name=f"{model} {folder}")
