"""How other training code logs its runs: names of params, metrics and units.

Sources of the names: ``transformers.integrations.MLflowCallback`` (training arguments and model
configuration as params, ``eval_*`` and ``test_*`` metrics at the global step), Lightning's
``MLFlowLogger`` (``val_*`` or ``val/*`` with ``epoch``, hyper-parameters flattened with ``/``) and
timm's ``train.py`` (``eval_top1`` in percent by ``update_summary``, its arguments as params).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

#: names of params or tags that hold the model, the most certain first
MODEL_KEYS = (
    "model_name_or_path", "pretrained_model_name_or_path", "base_model_name_or_path",
    "_name_or_path", "model_name", "base_model", "pretrained_model", "model_id", "backbone",
    "backbone_name", "encoder", "encoder_name", "arch", "architecture", "model/name",
    "model/model_name", "model/init_args/model_name", "backbone/name", "model",
)  # fmt: skip
#: names of params or tags that hold the dataset; ``a+b`` joins two
DATASET_KEYS = (
    "dataset_name+dataset_config_name", "dataset_name+dataset_config", "dataset_name",
    "task_name", "finetuning_task", "dataset", "dataset_id", "data_name", "data_set",
    "dataset/name", "data/name", "data/dataset", "data/init_args/dataset_name", "datamodule",
    "task", "benchmark", "corpus", "train_file", "data_dir", "data_path",
)  # fmt: skip
#: split -> prefixes of its metric keys
_SPLITS = {
    "validation": ("eval", "val", "valid", "validation", "dev"),
    "test": ("test", "predict"),
}
_METRIC_KEY = re.compile(
    rf"(?P<split>{'|'.join(prefix for prefixes in _SPLITS.values() for prefix in prefixes)})"
    r"[_/.\- ](?P<metric>.+?)(_epoch)?(/dataloader_idx_0)?",
    re.IGNORECASE,
)
#: metric -> other names that it goes by
_ALIASES = {
    "accuracy": (
        "acc", "accuracy", "accuracy_score", "top1", "top_1", "top1_acc", "top1_accuracy", "acc1",
        "acc_1", "multiclassaccuracy", "binaryaccuracy", "categorical_accuracy",
        "sparse_categorical_accuracy", "binary_accuracy",
    ),
    "balanced_accuracy": (
        "balanced_acc", "balanced_accuracy", "bal_acc", "balanced_accuracy_score",
    ),
    "f1_macro": ("f1_macro", "macro_f1", "f1macro", "macro_f1_score", "f1_score_macro"),
    "matthews": (
        "matthews", "matthews_correlation", "matthews_corrcoef", "mcc",
        "multiclassmatthewscorrcoef",
    ),
    "log_loss": ("log_loss", "logloss", "nll", "nll_loss", "cross_entropy"),
}  # fmt: skip
_CANONICAL = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
#: names that timm and torchvision give accuracies in percent, and names that say it
_PERCENT = re.compile(r"(top|acc)_?[15]$")
_SAYS_PERCENT = re.compile(r"[_/.\- ](pct|perc|percent|percentage)$")
#: what may stand around the name of a metric in its key
_AROUND_METRIC = re.compile(
    r"^(train|training|eval|val|valid|validation|dev|test|predict)[_/.\- ]"
    r"|(_epoch|_step)?(/dataloader_idx_\d+)?$"
)
#: words in the names of metrics of which lower values are better, and higher ones
_LOSS_WORDS = frozenset(
    {
        "loss", "logloss", "error", "err", "mse", "rmse", "mae", "nll", "perplexity", "ppl", "wer",
        "cer", "brier", "ece", "entropy", "eer",
    }
)  # fmt: skip
_SCORE_WORDS = frozenset(
    {
        "accuracy", "acc", "f1", "precision", "recall", "auc", "auroc", "auprc", "roc", "map", "ap",
        "mcc", "matthews", "pearson", "spearman", "spearmanr", "correlation", "r2", "iou", "miou",
        "dice", "bleu", "rouge", "kappa", "top1", "top5", "ndcg", "mrr", "jaccard", "sensitivity",
        "specificity",
    }
)  # fmt: skip
#: params that say for how many epochs a run was to be trained
_EPOCH_PARAMS = (
    "num_train_epochs",
    "epochs",
    "max_epochs",
    "num_epochs",
    "n_epochs",
    "trainer/max_epochs",
)
#: params that only models of images, or of text, have
_IMAGE_PARAMS = ("image_size", "patch_size", "num_channels", "img_size", "crop_pct")
_TEXT_PARAMS = ("vocab_size", "max_seq_length", "max_position_embeddings", "tokenizer_name")
#: values of params that stand for no value
_EMPTY_VALUES = frozenset({"", "none", "null", "nan"})


@dataclass(frozen=True, kw_only=True)
class LoggedRun:
    """One run of any training code, as plain data."""

    run_id: str
    name: str
    experiment: str
    status: str = "FINISHED"
    #: milliseconds since 1970; 0: unknown
    start_time: int = 0
    end_time: int = 0
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    #: metric key -> its last value
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: metric key -> step of that value, the last step; empty: unknown
    steps: Mapping[str, int] = field(default_factory=dict)
    #: names of the datasets that were logged as inputs
    inputs: tuple[str, ...] = ()
    #: whether this package made it, so that no rules are needed to read it
    is_own: bool = False
    #: namespace whose history it is part of already; empty: of none
    adopted: str = ""

    @property
    def label(self) -> str:
        """Name and the start of the id, for people."""
        return f"{self.name} ({self.run_id[:8]})"


def parse_metric_key(key: str) -> tuple[str, str] | None:
    """Return split and metric of a metric's key; None where it is of neither split.

    Example:
        >>> parse_metric_key("eval_acc"), parse_metric_key("train_loss")
        (('validation', 'accuracy'), None)
    """
    match = _METRIC_KEY.fullmatch(key)
    if match is None or match["metric"].endswith("_step"):
        return None
    prefix = match["split"].lower()
    split = next(split for split, prefixes in _SPLITS.items() if prefix in prefixes)
    return split, canonical_metric(match["metric"])


def canonical_metric(metric: str) -> str:
    """Return the one name of a metric that goes by many.

    Example:
        >>> canonical_metric("top1"), canonical_metric("Drift")
        ('accuracy', 'drift')
    """
    normalized = re.sub(r"[/.\- @]", "_", _SAYS_PERCENT.sub("", metric.lower()))
    return _CANONICAL.get(normalized, normalized)


def is_minimized(metric: str) -> bool | None:
    """Return whether lower is better, by the words of a metric's name; None: unknown."""
    words = set(re.split(r"[^a-z0-9]+", canonical_metric(metric)))
    if words & _LOSS_WORDS:
        return True
    return False if words & _SCORE_WORDS else None


def metric_family(key: str) -> str:
    """Return what keys have in common that one piece of code logs in one unit.

    Example:
        >>> metric_family("val/acc_epoch"), metric_family("test_acc"), metric_family("eval_top5")
        ('acc', 'acc', 'top')
    """
    name = _AROUND_METRIC.sub("", key.lower())
    return name.rstrip("15").rstrip("_") if is_percent_name(name) else name


def is_percent_name(key: str) -> bool:
    """Return whether a key is named as timm and torchvision name accuracies in percent."""
    return _PERCENT.search(_AROUND_METRIC.sub("", key.lower())) is not None


def says_percent(key: str) -> bool:
    """Return whether a key says that it is in percent, as ``val_acc_pct`` does."""
    return _SAYS_PERCENT.search(_AROUND_METRIC.sub("", key.lower())) is not None


def read_value(run: LoggedRun, key: str) -> str:
    """Return a run's value of ``params.x``, ``tags.x``, ``inputs``, ``experiment`` or ``run_name``.

    A bare name is looked up among the params, then the tags; ``a+b`` joins both by ``/``, where
    the second may be absent. Empty where there is no value.
    """
    first, *others = (_read_single(run, part.strip()) for part in key.split("+"))
    return "/".join([first, *filter(None, others)]) if first else ""


def _read_single(run: LoggedRun, key: str) -> str:
    kind, _, name = key.partition(".")
    if key == "inputs":
        value = next((name for name in run.inputs if name != "dataset"), "")
    elif key in ("experiment", "run_name"):
        value = run.experiment if key == "experiment" else run.name
    elif kind in ("params", "tags") and name:
        value = (run.params if kind == "params" else run.tags).get(name, "")
    else:
        value = run.params.get(key, "") or run.tags.get(key, "")
    return "" if value.strip().lower() in _EMPTY_VALUES else value.strip()


def detect_convention(run: LoggedRun) -> str:
    """Return which code logged a run: ``HF Trainer``, ``timm``, ``Lightning`` or ``other``."""
    if "per_device_train_batch_size" in run.params or "train_runtime" in run.metrics:
        return "HF Trainer"
    if any(key.startswith("eval_top") for key in run.metrics):
        return "timm"
    if "epoch" in run.metrics and any(re.match(r"val[_/]", key) for key in run.metrics):
        return "Lightning"
    return "other"


def trained_epochs(run: LoggedRun) -> int:
    """Return for how many epochs a run was trained; 0 where neither metrics nor params say it.

    HF Trainer logs the number of finished epochs as a fraction, other code logs the index of the
    current epoch.
    """
    if (epoch := run.metrics.get("epoch", math.nan)) == epoch and epoch >= 0:
        return max(1, math.ceil(epoch - 0.01)) if _is_hf(run) else int(epoch) + 1
    requested = (run.params.get(key, "") for key in _EPOCH_PARAMS)
    return next((int(number) for text in requested if (number := _to_number(text)) >= 1), 0)


def has_curve(run: LoggedRun, key: str) -> bool:
    """Return whether a metric may be a curve over stages.

    Code that logs without a step puts all values at step 0, so that only the last one can be told.
    Runs of one epoch may have their only stage there.
    """
    return run.steps.get(key, -1) != 0 or trained_epochs(run) == 1


def is_interrupted(run: LoggedRun) -> bool:
    """Return whether HF Trainer was interrupted in a run, which MLflow closes as FINISHED.

    At the end of its training, early or not, HF Trainer logs ``train_runtime``.
    """
    epoch, requested = run.metrics.get("epoch"), _to_number(run.params.get("num_train_epochs", ""))
    is_ended = "train_runtime" in run.metrics
    return _is_hf(run) and not is_ended and epoch is not None and epoch < requested - 0.01


def infer_modality(run: LoggedRun) -> str:
    """Return ``image`` or ``text`` where params or metrics can only be of one; else empty."""
    if detect_convention(run) == "timm" or any(key in run.params for key in _IMAGE_PARAMS):
        return "image"
    return "text" if any(key in run.params for key in _TEXT_PARAMS) else ""


def _is_hf(run: LoggedRun) -> bool:
    return detect_convention(run) == "HF Trainer"


def _to_number(text: str) -> float:
    """Return the number that a text is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
