"""How a model is fine-tuned; the recipe is part of the key of every benchmark run."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.history.tasks import REGRESSION
from mlflow_recall.errors import ConfigError

FULL, FROZEN, LORA = MODES = ("full", "frozen", "lora")
#: field -> its values
_CHOICES = {
    "mode": MODES,
    "freeze": ("nothing", "embeddings", "backbone"),
    "class_weight": ("none", "balanced"),
}
#: fields that the mode ``lora`` alone reads
_LORA_FIELDS = ("lora_rank", "lora_alpha", "lora_dropout")
#: fields that later versions added: while unset they are no part of what is recorded, so that the
#: keys of earlier cells hold
_ADDED = ("class_weight", "mode", *_LORA_FIELDS)
#: fields that may be fractions, of which 1 and 1.0 have one digest
_FRACTIONS = (
    *("learning_rate", "head_learning_rate", "weight_decay", "warmup"),
    *("lora_alpha", "lora_dropout"),
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
#: smallest values of whole numbers and shares
_MINIMA = {
    **dict.fromkeys(("batch_size", "epochs", "lora_rank"), 1),
    **dict.fromkeys(("weight_decay", "warmup", "train_samples", "eval_samples", "input_size"), 0),
    "lora_dropout": 0,
    "seed": 0,
}
#: the stages are seeded with a thousand times it, which must fit into 32 bits
_LARGEST_SEED = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of one fine-tuning.

    Convergence trends hold only for the recipe that they were recorded with.

    Example:
        >>> Recipe(epochs=3).with_changes({"batch_size": "8"}, "example").batch_size
        8
    """

    learning_rate: float = 5e-5
    #: learning rate of the new classification head
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    #: share of all steps over which the learning rate rises, before it falls along a cosine
    warmup: float = 0.1
    batch_size: int = 16
    epochs: int = 5
    #: size of the stratified sample of the training split; 0: all of it
    train_samples: int = 1000
    #: size of the stratified samples of the validation and test splits; 0: all of each
    eval_samples: int = 1000
    #: ``full``; ``frozen``: embeddings are computed once, and the head is trained on them; or
    #: ``lora``: the head and low-rank changes of all linear layers are trained (Hu et al. 2021)
    mode: str = FULL
    #: ``nothing``, ``embeddings`` or ``backbone`` (a linear probe, trained as a network); always
    #: ``nothing`` in another mode than ``full``, which says itself what is trained
    freeze: str = "nothing"
    #: whether the running statistics of batch normalization stay as they were pre-trained
    freeze_batchnorm: bool = True
    #: maximum length of a text in tokens, or side of a square image in pixels; 0: the model's own
    input_size: int = 0
    #: ``none``, or ``balanced``: classes and labels weigh as if they were equally frequent
    class_weight: str = "none"
    #: rank of the change of each linear layer
    lora_rank: int = 8
    #: the change is multiplied by this number over the rank
    lora_alpha: float = 16.0
    #: share of a linear layer's inputs that its change does not see in a step
    lora_dropout: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _FRACTIONS:
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("learning_rate", "head_learning_rate", "lora_alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}: expected above 0, got {getattr(self, name)}")
        for name, minimum in _MINIMA.items():
            if not getattr(self, name) >= minimum:
                raise ConfigError(f"{name}: expected at least {minimum}, got {getattr(self, name)}")
        if self.seed > _LARGEST_SEED:
            raise ConfigError(f"seed: expected at most {_LARGEST_SEED}, got {self.seed}")
        if self.lora_dropout >= 1:
            raise ConfigError(f"lora_dropout: expected below 1, got {self.lora_dropout}")
        if self.warmup > 1:
            raise ConfigError(f"warmup: expected at most 1, got {self.warmup}")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        # what a mode does not read shall not make another cell
        if self.mode != FULL:
            object.__setattr__(self, "freeze", "nothing")
        if self.mode != LORA:
            for field in fields(self):
                if field.name in _LORA_FIELDS:
                    object.__setattr__(self, field.name, field.default)

    def for_task(self, task: str) -> Recipe:
        """Return the recipe without what the task does not have: a number has no class to weigh."""
        return replace(self, class_weight="none") if task == REGRESSION else self

    @property
    def digest(self) -> str:
        """Eight characters that identify the values of all fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]

    @property
    def without_seed(self) -> Recipe:
        """The recipe with seed 0: runs that differ in the seed alone are repeats."""
        return replace(self, seed=0)

    def to_json(self) -> str:
        """Return the fields as JSON, keys sorted; added ones only where they are set or read."""
        values = asdict(self)
        read = _LORA_FIELDS if self.mode == LORA else ()
        for field in fields(self):
            is_optional = field.name in _ADDED and field.name not in read
            if is_optional and values[field.name] == field.default:
                del values[field.name]
        return json.dumps(values, sort_keys=True)

    def with_changes(self, changes: Mapping[str, Any], where: str) -> Recipe:
        """Return a copy with some fields changed.

        Args:
            changes: Field -> value; numbers may be given as text.
            where: Where the changes were read from, for the message: a file, a tag or an option.

        Raises:
            ConfigError: A field is unknown, or a value has the wrong type.
        """
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        converted = {}
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(
                    f"{where}: unknown field {name!r} of a recipe: "
                    f"expected one of {', '.join(sorted(known))}"
                )
            try:
                converted[name] = _convert(value, known[name])
            except (TypeError, ValueError, OverflowError):
                raise ConfigError(
                    f"{where}: {name}: expected {known[name].__name__}, got {value!r:.60}"
                ) from None
        try:
            return replace(self, **converted)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    @classmethod
    @lru_cache(maxsize=4096)  # thousands of runs share a few recipes
    def from_json(cls, text: str) -> Recipe:
        """Read what ``to_json`` wrote; missing fields keep their default.

        Raises:
            ConfigError: The text is something else.
        """
        try:
            changes = parse_json(text)
        except ValueError:
            changes = None
        if not isinstance(changes, dict):
            raise ConfigError(f"recorded recipe: expected a JSON object, got {text!r:.60}")
        return cls().with_changes(changes, "recorded recipe")


def most_common_epochs(recipes: Mapping[str, Recipe]) -> int:
    """Return the most frequent number of epochs of models' recipes; 0 without any."""
    counts = Counter(recipe.epochs for recipe in recipes.values())
    return counts.most_common(1)[0][0] if counts else 0


def _convert(value: Any, kind: type) -> Any:
    """Convert ``value`` to ``kind``, without truncating numbers or taking any text for true."""
    if kind is bool:
        if str(value).lower() not in _BOOLEANS:
            raise ValueError(value)
        return _BOOLEANS[str(value).lower()]
    converted = kind(value)
    if kind is int and not isinstance(value, str) and converted != value:
        raise ValueError(value)
    return converted


_TEXT = Recipe(learning_rate=5e-5, batch_size=16, input_size=128)
_IMAGE = Recipe(learning_rate=3e-4, head_learning_rate=2e-3, batch_size=32, input_size=224)

# small sentence encoders change too little at the learning rates of base models
_MINILM = {"learning_rate": 1e-4, "head_learning_rate": 2e-3, "freeze": "embeddings"}

#: start of a family's or model type's name -> what differs from the default of its modality
FAMILY_RECIPES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "minilm": _MINILM,
        "paraphrase-minilm": _MINILM,
        "sre-minilm": _MINILM,
        "e5": {"learning_rate": 3e-4, "head_learning_rate": 3e-3, "freeze": "embeddings"},
        "distilbert": {"learning_rate": 5e-5},
        "bert": {"learning_rate": 3e-5},
        "roberta": {"learning_rate": 2e-5},
        "xlm": {"learning_rate": 2e-5},
        "electra": {"learning_rate": 5e-5},
        "deberta": {"learning_rate": 2e-5},
        "albert": {"learning_rate": 2e-5},
        # vision transformers need smaller learning rates than convolutional networks
        "vit": {"learning_rate": 1e-4},
        "deit": {"learning_rate": 1e-4},
        "beit": {"learning_rate": 1e-4},
        "swin": {"learning_rate": 1e-4},
        "convnext": {"learning_rate": 2e-4},
        "scratch": {"learning_rate": 3e-3, "freeze_batchnorm": False},
    }
)

#: modality -> what differs in the mode ``lora``, whose few parameters take larger steps
_LORA_RECIPES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"text": {"learning_rate": 5e-4}, "image": {"learning_rate": 1e-3}}
)

# decoders are wider, and have a scale for new tasks that is twice the rank or more
_DECODER = {"learning_rate": 2e-4, "lora_rank": 16, "lora_alpha": 32.0}

#: start of a family's or model type's name -> what differs in the mode ``lora``
LORA_FAMILY_RECIPES: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        # as in the tables of Hu et al. 2021 (arXiv:2106.09685)
        "roberta": {"lora_alpha": 8.0},
        "gpt2": {"learning_rate": 2e-4, "lora_rank": 4, "lora_alpha": 32.0},
        **dict.fromkeys(
            ("falcon", "gemma", "llama", "mistral", "olmo", "opt", "phi", "qwen"), _DECODER
        ),
    }
)


def default_recipe(modality: str, *names: str, mode: str = FULL) -> Recipe:
    """Return the recipe of a modality, changed for the first name that a family starts.

    Args:
        modality: ``text`` or ``image``.
        names: Family, then architecture; the longest matching beginning of each decides.
        mode: Mode of the recipe, which has defaults of its own.
    """
    base = _TEXT if modality == "text" else _IMAGE
    changes = {**_changes_of(FAMILY_RECIPES, names), "mode": mode}
    if mode == LORA:
        changes |= _LORA_RECIPES["text" if modality == "text" else "image"]
        changes |= _changes_of(LORA_FAMILY_RECIPES, names)
    return base.with_changes(changes, "family")


def _changes_of(
    table: Mapping[str, Mapping[str, object]], names: Sequence[str]
) -> Mapping[str, object]:
    """Return the row of the first name that a row starts, by the longest such start."""
    for name in names:
        name = name.lower().rpartition("/")[2]  # an architecture starts with its library
        if matching := [start for start in table if name.startswith(start)]:
            return table[max(matching, key=len)]
    return {}
