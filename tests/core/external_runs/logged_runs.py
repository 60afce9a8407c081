"""Runs as other training code logs them, and the history that is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_recall.core.external_runs.import_runs import RunSelection, import_runs
from mlflow_recall.core.external_runs.logging_conventions import LoggedRun
from mlflow_recall.core.external_runs.rules import ImportRules, KnownModel

#: a run as Lightning logs it
LIGHTNING = LoggedRun(
    run_id="l", name="l", experiment="e",
    params={"model_name": "org/a", "dataset": "sst2", "max_epochs": "9"},
    metrics={"val_acc": 0.7, "epoch": 4.0},
)  # fmt: skip
#: a run as timm logs it
TIMM = LoggedRun(
    run_id="t", name="t", experiment="e",
    params={"model": "resnet18", "dataset": "", "data_dir": "/data/pets", "epochs": "3"},
    metrics={"eval_top1": 81.5, "eval_top5": 97.0, "eval_loss": 0.7, "epoch": 2.0},
)  # fmt: skip


def hf(
    model: str = "org/a",
    dataset: str = "sst2",
    score: float = 0.8,
    *,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, Any] | None = None,
    **fields: Any,
) -> LoggedRun:
    """A run as HF Trainer's MLflowCallback logs it: configuration and arguments as params."""
    own = {
        "_name_or_path": model,
        "finetuning_task": dataset,
        "vocab_size": "30522",
        "per_device_train_batch_size": "8",
        "num_train_epochs": "3",
        "learning_rate": "5e-05",
        "seed": "42",
        **(params or {}),
    }
    logged = {"eval_accuracy": score, "eval_loss": 1 - score, "epoch": 3.0, "train_runtime": 9.0}
    run_id = f"{model}-{dataset}-{score}-{sorted((params or {}).items())}"
    identity = {"run_id": run_id, "name": "run", "experiment": "e", **fields}
    return LoggedRun(params=own, metrics={**logged, **(metrics or {})}, **identity)


def read(
    *runs: LoggedRun, known: tuple[KnownModel, ...] = (), prefix: str = "", **rules: Any
) -> RunSelection:
    """Select the runs by requested and inferred rules."""
    return import_runs(runs, ImportRules(**rules), "ns", known, prefix)


def rules_of(*runs: LoggedRun, **rules: Any) -> ImportRules:
    """The rules that runs of one experiment are read by."""
    (read_by,) = read(*runs, **rules).rules.values()
    return read_by
