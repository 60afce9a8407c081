"""How training code that knows nothing of us logs its runs: names of params, metrics and units.

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

#: names of params or tags that hold the model, the surest first
MODEL_KEYS = (
    "model_name_or_path", "pretrained_model_name_or_path", "base_model_name_or_path",
    "_name_or_path", "model_name", "base_model", "pretrained_model", "model_id", "backbone",
    "backbone_name", "encoder", "encoder_name", "arch", "architecture", "model/name",
    "model/model_name", "model/init_args/model_name", "backbone/name", "model",
)  # fmt: skip
#: and the dataset; ``a+b`` joins two
DATASET_KEYS = (
    "dataset_name+dataset_config_name", "dataset_name+dataset_config", "dataset_name",
    "task_name", "finetuning_task", "dataset", "dataset_id", "data_name", "data_set",
    "dataset/name", "data/name", "data/dataset", "data/init_args/dataset_name", "datamodule",
    "task", "benchmark", "corpus", "train_file", "data_dir", "data_path",
)  # fmt: skip
_SPLITS = {
    "validation": ("eval", "val", "valid", "validation", "dev"),
    "test": ("test", "predict"),
}
_KEY = re.compile(
    rf"(?P<split>{'|'.join(prefix for some in _SPLITS.values() for prefix in some)})[_/.\- ]"
    r"(?P<metric>.+?)(_epoch)?(/dataloader_idx_0)?",
    re.IGNORECASE,
)
_NAMES = {
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
_CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
_PERCENT = re.compile(r"top_?[15]|acc_?[15]$")
_LOWER = frozenset(
    {
        "loss", "logloss", "error", "err", "mse", "rmse", "mae", "nll", "perplexity", "ppl", "wer",
        "cer", "brier", "ece", "entropy", "eer",
    }
)  # fmt: skip
_HIGHER = frozenset(
    {
        "accuracy", "acc", "f1", "precision", "recall", "auc", "auroc", "auprc", "roc", "map", "ap",
        "mcc", "matthews", "pearson", "spearman", "spearmanr", "correlation", "r2", "iou", "miou",
        "dice", "bleu", "rouge", "kappa", "top1", "top5", "ndcg", "mrr", "jaccard", "sensitivity",
        "specificity",
    }
)  # fmt: skip
_EPOCHS = (
    "num_train_epochs",
    "epochs",
    "max_epochs",
    "num_epochs",
    "n_epochs",
    "trainer/max_epochs",
)
_IMAGE = ("image_size", "patch_size", "num_channels", "img_size", "crop_pct")
_TEXT = ("vocab_size", "max_seq_length", "max_position_embeddings", "tokenizer_name")
_NOTHING = frozenset({"", "none", "null", "nan"})


@dataclass(frozen=True)
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
    #: last value of each
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: names of the datasets that were logged as inputs
    inputs: tuple[str, ...] = ()
    #: it was made by this package, which reads it without being told
    is_own: bool = False
    #: namespace whose history it is already
    adopted: str = ""

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} ({self.run_id[:8]})"


def parse_metric_key(key: str) -> tuple[str, str] | None:
    """``eval_accuracy`` -> (``validation``, ``accuracy``); None for what is of neither split."""
    found = _KEY.fullmatch(key)
    if found is None or found["metric"].endswith("_step"):
        return None
    prefix = found["split"].lower()
    split = next(split for split, some in _SPLITS.items() if prefix in some)
    return split, canonical_metric(found["metric"])


def canonical_metric(metric: str) -> str:
    """The one name of a metric that goes by many, such as ``accuracy`` for ``top1``."""
    plain = re.sub(r"[/.\- @]", "_", metric.lower())
    return _CANONICAL.get(plain, plain)


def is_minimized(metric: str) -> bool | None:
    """Whether lower is better, as the words of a metric's name say; None: they do not."""
    words = set(re.split(r"[^a-z0-9]+", canonical_metric(metric)))
    if words & _LOWER:
        return True
    return False if words & _HIGHER else None


def is_percent_name(key: str) -> bool:
    """Whether a key is named as timm and torchvision name accuracies in percent."""
    return _PERCENT.search(key.lower()) is not None


def read_value(run: LoggedRun, key: str) -> str:
    """What a run says under ``params.x``, ``tags.x``, ``inputs``, ``experiment`` or ``run_name``.

    A bare name is looked up among the params, then the tags; ``a+b`` joins both by ``/``, where
    the second may be absent. Empty: nothing.
    """
    first, *others = (_single(run, part.strip()) for part in key.split("+"))
    return "/".join([first, *filter(None, others)]) if first else ""


def _single(run: LoggedRun, key: str) -> str:
    kind, _, name = key.partition(".")
    if key == "inputs":
        value = next((each for each in run.inputs if each != "dataset"), "")
    elif key in ("experiment", "run_name"):
        value = run.experiment if key == "experiment" else run.name
    elif kind in ("params", "tags") and name:
        value = (run.params if kind == "params" else run.tags).get(name, "")
    else:
        value = run.params.get(key, "") or run.tags.get(key, "")
    return "" if value.strip().lower() in _NOTHING else value.strip()


def detect_convention(run: LoggedRun) -> str:
    """Which code logged a run: ``HF Trainer``, ``timm``, ``Lightning`` or ``other``."""
    if "per_device_train_batch_size" in run.params or "train_runtime" in run.metrics:
        return "HF Trainer"
    if any(key.startswith("eval_top") for key in run.metrics):
        return "timm"
    if "epoch" in run.metrics and any(re.match(r"val[_/]", key) for key in run.metrics):
        return "Lightning"
    return "other"


def trained_epochs(run: LoggedRun) -> int:
    """How many epochs a run was trained; 0: nobody tells.

    HF Trainer logs the epochs behind it as a fraction, the others the index of the running one.
    """
    if (reached := run.metrics.get("epoch", math.nan)) == reached and reached >= 0:
        return max(1, math.ceil(reached - 0.01)) if _is_hf(run) else int(reached) + 1
    asked = (run.params.get(key, "") for key in _EPOCHS)
    return next((int(number) for text in asked if (number := _number(text)) >= 1), 0)


def is_interrupted(run: LoggedRun) -> bool:
    """Whether HF Trainer never came to the end of a run, which MLflow closes as FINISHED.

    At its end, early or not, it logs ``train_runtime``.
    """
    reached, asked = run.metrics.get("epoch"), _number(run.params.get("num_train_epochs", ""))
    ended = "train_runtime" in run.metrics
    return _is_hf(run) and not ended and reached is not None and reached < asked - 0.01


def infer_modality(run: LoggedRun) -> str:
    """``image`` or ``text`` where params or metrics can only be of one; else empty."""
    if detect_convention(run) == "timm" or any(key in run.params for key in _IMAGE):
        return "image"
    return "text" if any(key in run.params for key in _TEXT) else ""


def _is_hf(run: LoggedRun) -> bool:
    return detect_convention(run) == "HF Trainer"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
