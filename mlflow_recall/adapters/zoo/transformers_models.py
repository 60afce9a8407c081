"""Models of the transformers library, for text and images.

A network is the backbone, a pooling and one linear layer. The pooling is the mean over tokens
instead of a model's own classification token, which sentence encoders do not train: on 400 samples
of WordNet supersenses all-MiniLM-L6 has an accuracy of 0.74 with the mean and 0.67 with the token.
In the mode ``lora`` it is the last token of decoder-only language models, which alone has seen all
of the text.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging

from mlflow_recall.adapters.data.decoding import decode_image
from mlflow_recall.adapters.zoo.blank import build_blank, check_size
from mlflow_recall.adapters.zoo.model_folder import check_code, check_folder
from mlflow_recall.adapters.zoo.model_settings import check_settings
from mlflow_recall.adapters.zoo.network import Batch, Features
from mlflow_recall.bounded_json import read_object
from mlflow_recall.core.history.recipes import LORA, Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.history.tasks import Target
from mlflow_recall.errors import ZooError, one_line

_HEAD_FILE = "head.safetensors"
_CLASSES_FILE = "classifier.json"
_DROPOUT = 0.1
#: poolings: the mean over tokens, or the last token that is no padding
MEAN, LAST = "mean", "last"
#: of a text where neither the recipe nor the model has a limit
_MAX_TOKENS = 512
#: pixels of a side where neither the recipe nor the model has a size
_IMAGE_SIDE = 224
#: modality -> class that loads a model with its source head
_CLASSES_WITH_HEAD = {
    "text": AutoModelForSequenceClassification,
    "image": AutoModelForImageClassification,
}
#: share of a token's change below which another one has not changed
_NO_CHANGE = 1e-4
#: what tokenizers and processors return
_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "pixel_values", "pixel_mask")
#: tells a model with fixed patches that an image has another size
_SIZE_ARGUMENT = "interpolate_pos_encoding"
#: nothing of a model's own runs, and nothing is fetched
LOCAL: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}


class Headed(nn.Module):
    """A backbone with one linear layer on the pooled output of the part that reads the input.

    Args:
        backbone: Model without a head.
        modality: ``text`` or ``image``.
        width: Size of the pooled output.
        outputs: Number of classes or labels; 1 for a regression.
        pooling: ``mean`` or ``last``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        modality: str,
        width: int,
        outputs: int,
        *,
        pooling: str = MEAN,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.backbone: Any = backbone
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(width, outputs)
        self._modality = modality

    def forward(self, mask: Tensor | None, **arguments: Any) -> Tensor:
        """Return (b, outputs) logits.

        Args:
            mask: (b, t) mask of the tokens that are no padding; None: there is no padding.
            arguments: Arguments of the backbone.
        """
        output = find_reader(self.backbone, self._modality)(**arguments)
        return self.head_logits(pooled(output, mask, self.pooling))

    def head_logits(self, head_inputs: Tensor) -> Tensor:
        """Return (b, outputs) logits of (b, width) pooled outputs."""
        logits: Tensor = self.head(self.dropout(head_inputs))
        return logits


def find_reader(backbone: Any, modality: str) -> Any:
    """Return the part of a model that reads a text or an image: all of it, or one of its towers."""
    config = backbone.config
    if getattr(config, "is_encoder_decoder", False):
        return backbone.get_encoder()
    if modality == "image" and hasattr(config, "vision_config"):
        return backbone.get_encoder(modality="image")
    if modality == "text" and hasattr(config, "text_config"):
        towers = ("text_model", "language_model")
        return next((getattr(backbone, t) for t in towers if hasattr(backbone, t)), backbone)
    return backbone


def pooled(output: Any, mask: Tensor | None, pooling: str = MEAN) -> Tensor:
    """Return (b, d) means over tokens, or over patches or positions of an image; or last tokens.

    Args:
        output: Output of a backbone.
        mask: (b, t) mask of the tokens that are no padding; None: there is no padding.
        pooling: ``mean`` or ``last``.
    """
    hidden: Tensor = (
        output.last_hidden_state
        if hasattr(output, "last_hidden_state")
        else output.feature_maps[-1]
    )
    if pooling == LAST:
        return last_token(hidden, mask)
    if mask is not None:
        return masked_mean(hidden, mask)
    return hidden.mean(dim=1) if hidden.ndim == 3 else hidden.flatten(2).mean(dim=2)


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return (b, d) means over the tokens that are no padding.

    Args:
        tokens: (b, t, d) features of tokens.
        mask: (b, t) mask of the tokens that are no padding.
    """
    return (tokens * mask[..., None]).sum(dim=1) / mask[..., None].sum(dim=1)


def last_token(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return (b, d) features of the last token of each row; see ``masked_mean``.

    Padding, where there is any, follows it.
    """
    if mask is None:
        return tokens[:, -1]
    ends = mask.sum(dim=1).long().clamp(min=1) - 1
    return tokens[torch.arange(len(tokens), device=tokens.device), ends]


def load(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TransformersNetwork:
    """Load a network from a folder with ``config.json``, safetensors and a tokenizer or processor.

    Args:
        member: Model that the weights belong to.
        weights: Folder, which may have the layout of MLflow's transformers flavor.
        dataset: Dataset that a new head is for.
        recipe: Recipe with the maximum length of a text or the side of the image.
        source_head: Whether the head in the weights is kept; otherwise a new one replaces it.

    Raises:
        ZooError: The weights are missing, pickled, or of another architecture; or the folder needs
            code of its own.
    """
    return _load(member, weights, dataset, recipe, source_head=source_head, is_blank=False)


def load_blank(
    member: Member, weights: str, dataset: Dataset, recipe: Recipe, source_head: bool
) -> TransformersNetwork:
    """Return the network that ``load`` returns, with zeros instead of the weights.

    Names and shapes of the weights are checked, but no weight is read.

    Raises:
        ZooError: See ``load``.
    """
    return _load(member, weights, dataset, recipe, source_head=source_head, is_blank=True)


def is_known_architecture(name: str) -> bool:
    """Return whether the installed version has a model type.

    ``auto``, and a class that MLflow's transformers flavor names, say nothing of the type.
    """
    return name == "auto" or not name.islower() or name in CONFIG_MAPPING


def _load(
    member: Member,
    weights: str,
    dataset: Dataset,
    recipe: Recipe,
    *,
    source_head: bool,
    is_blank: bool,
) -> TransformersNetwork:
    _silence_transformers()
    model_folder, processor_folder = _find_folders(Path(weights))
    where = f"{member.name}: cannot be loaded from {weights}"
    try:
        check_settings(member.config, "config")
        check_folder(model_folder)
        check_code(processor_folder)
        config = AutoConfig.from_pretrained(model_folder, **LOCAL, **member.config)
        has_own_head = source_head and not (model_folder / _HEAD_FILE).exists()
        model_class = _CLASSES_WITH_HEAD[member.modality] if has_own_head else AutoModel
        backbone = _load_weights(model_class, model_folder, config, is_blank=is_blank)
        auto: Any = AutoTokenizer if member.modality == "text" else AutoImageProcessor
        processor = auto.from_pretrained(processor_folder, **LOCAL)
        network_class = _NETWORK_CLASSES[member.modality]
        network = network_class(
            backbone, processor, recipe, dataset.target, has_own_head=has_own_head
        )
        width = network.measure_width()
        if not has_own_head:
            pooling = LAST if recipe.mode == LORA and network.is_decoder() else MEAN
            part = (backbone, member.modality, width)
            stored = _stored_head(*part, model_folder, dataset, source_head=source_head)
            network.module = stored or Headed(*part, dataset.target.outputs, pooling=pooling)
    except Exception as error:  # the library raises many kinds of errors
        raise ZooError(f"{where}: {one_line(error)}") from error
    return network


def _load_weights(model_class: Any, folder: Path, config: Any, *, is_blank: bool) -> Any:
    """Return a model with its weights, or with zeros; names and shapes are compared before.

    Raises:
        ZooError: It is too large, most of the weights are missing, or one has another shape.
    """
    arguments: dict[str, Any] = {
        "config": config,
        "use_safetensors": True,  # nothing here unpickles
        "dtype": torch.float32,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # they are named below
        **LOCAL,
    }
    with torch.device("meta"):  # without memory
        check_size(model_class.from_config(config, trust_remote_code=False))
    if any(folder.glob("*.safetensors")) or not is_blank:
        model, loading_info = model_class.from_pretrained(folder, device_map="meta", **arguments)
        _check_weights(model, loading_info, config.model_type)
    if is_blank:
        return build_blank(
            lambda: model_class.from_config(config, dtype=torch.float32, trust_remote_code=False)
        )
    return model_class.from_pretrained(folder, **arguments)[0]


def _check_weights(model: Any, loading_info: Mapping[str, Any], model_type: str) -> None:
    """Raise an error for weights of another architecture, since missing ones have random values."""
    total, missing = len(list(model.parameters())), len(loading_info["missing_keys"])
    if 2 * missing > total:
        raise ZooError(
            f"it has {total - missing} of {total} weights of {model_type}: is it another "
            "architecture?"
        )
    for name, stored, built in sorted(loading_info["mismatched_keys"]):
        raise ZooError(
            f"{name}: expected the shape {tuple(built)} of config.json, got {tuple(stored)} in the "
            "weights"
        )


def _stored_head(
    backbone: Any, modality: str, width: int, folder: Path, dataset: Dataset, *, source_head: bool
) -> Headed | None:
    """Return the backbone with the head of its folder; None where a new one is needed.

    The head of the folder is used if it is to be kept or was trained for the same target.
    """
    stored = _stored_target(folder)
    if stored is None or not (source_head or stored == dataset.target):
        return None
    pooling = read_object(folder / _CLASSES_FILE, ZooError).get("pooling", MEAN)
    if pooling not in (MEAN, LAST):
        raise ZooError(
            f"{folder / _CLASSES_FILE}: pooling: expected {MEAN} or {LAST}, got {pooling!r:.60}"
        )
    module = Headed(backbone, modality, width, stored.outputs, pooling=pooling)
    try:
        module.head.load_state_dict(load_file(folder / _HEAD_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ZooError(
            f"{folder / _HEAD_FILE}: expected the head of {stored.outputs} outputs, got "
            f"{reason:.200}"
        ) from error
    return module


def _stored_target(folder: Path) -> Target | None:
    """Return what the head of a folder predicts; None without one."""
    file = folder / _CLASSES_FILE
    described = read_object(file, ZooError) if file.exists() else {}
    classes, different = described.get("classes"), described.get("target", {})
    if classes is None:
        return None
    if not isinstance(classes, list) or not isinstance(different, dict):
        raise ZooError(f"{file}: expected a list of classes, got {classes!r:.60}")
    try:
        target = Target.from_dict(different, classes)
    except ValueError as error:
        raise ZooError(f"{file}: target: {error}") from None
    if not target.outputs:
        raise ZooError(f"{file}: expected a list of classes, got {classes!r:.60}")
    return target


def _silence_transformers() -> None:
    """Turn off the progress bar, and the warning that the weights have no head."""
    transformers_logging: Any = logging
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def _find_folders(folder: Path) -> tuple[Path, Path]:
    """Return the folders of the model and of its tokenizer or processor.

    They are one folder, except in the layout of MLflow's transformers flavor.
    """
    if not (folder / "MLmodel").exists():
        return folder, folder
    parts = [folder / "components" / part for part in ("tokenizer", "image_processor")]
    processor = next((part for part in parts if part.exists()), folder / "model")
    return folder / "model", processor


class TransformersNetwork:
    """A transformers model as a network; see ``network.Network``.

    Subclasses preprocess and collate the rows of one modality.

    Args:
        module: Transformers model, without a head or with its own source head.
        processor: Tokenizer or image processor.
        recipe: Recipe with the maximum length of a text or the side of the image.
        target: What the head predicts.
        has_own_head: Whether the module has its own source head.
    """

    modality: ClassVar[str]
    head_parameters = frozenset({"head.weight", "head.bias"})

    def __init__(
        self,
        module: nn.Module,
        processor: Any,
        recipe: Recipe,
        target: Target,
        *,
        has_own_head: bool,
    ) -> None:
        self.module: Any = module
        self._has_own_head = has_own_head
        self._processor = processor
        self._size = recipe.input_size
        self._target = target
        arguments = inspect.signature(self._reader.forward).parameters
        self._inputs = [name for name in (*_INPUTS, _SIZE_ARGUMENT) if name in arguments]

    def measure_width(self) -> int:
        """Return the size of the pooled features, from a pass over one made-up sample."""
        raise NotImplementedError

    def is_decoder(self) -> bool:
        """Return whether the model is a language model whose tokens see earlier ones alone."""
        return False

    def preprocess(self, rows: Any) -> list[Any]:
        """See ``network.Network``."""
        raise NotImplementedError

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Network``."""
        raise NotImplementedError

    def logits(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        arguments = self._arguments(batch)
        if self._has_own_head:
            logits: Tensor = self.module(**arguments).logits
        else:
            logits = self.module(batch.get("attention_mask"), **arguments)
        return logits

    def head_logits(self, head_inputs: Tensor) -> Tensor:
        """See ``network.Network``."""
        logits: Tensor = self.module.head_logits(head_inputs)
        return logits

    def features(self, batch: Batch) -> Features:
        """Return the pooled output of the backbone, as both; see ``network.Network``."""
        output = pooled(self._reader(**self._arguments(batch)), batch.get("attention_mask"))
        return Features(output, output)

    def embeddings(self, batch: Batch) -> Tensor:
        """See ``network.Network``."""
        return self.features(batch).embeddings

    def frozen_parameters(self, what: str) -> list[str]:
        """Return the names of parameters that are not trained; see ``network.Network``.

        Those that read no input of this modality, such as a decoder's, never are.
        """
        reader = self._reader
        used = {id(parameter) for parameter in reader.parameters()}
        named = [
            (name, parameter)
            for name, parameter in self.module.named_parameters()
            if name not in self.head_parameters
        ]
        if what == "backbone":
            return [name for name, _ in named]
        embeddings = {id(p) for p in _input_embeddings(reader)} if what == "embeddings" else set()
        return [
            name
            for name, parameter in named
            if id(parameter) not in used
            or id(parameter) in embeddings
            or (what == "embeddings" and "embeddings" in name)
        ]

    def save(self, folder: Path) -> None:
        """Write an encoder folder with the head beside it; see ``network.Network``."""
        self.module.backbone.save_pretrained(folder)
        self._processor.save_pretrained(folder)
        save_file(self.module.head.state_dict(), folder / _HEAD_FILE)
        described = {"classes": self._target.classes, "inputs": self._inputs, **self._description()}
        if different := self._target.to_dict():
            described["target"] = different
        if self._pooling != MEAN:
            described["pooling"] = self._pooling
        (folder / _CLASSES_FILE).write_text(json.dumps(described))

    @property
    def _backbone(self) -> Any:
        if self._has_own_head:
            return self.module.base_model
        return self.module.backbone if isinstance(self.module, Headed) else self.module

    @property
    def _pooling(self) -> str:
        return self.module.pooling if isinstance(self.module, Headed) else MEAN

    @property
    def _reader(self) -> Any:
        return find_reader(self._backbone, self.modality)

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        """Return what the model takes of a batch."""
        return {name: value for name, value in batch.items() if name in self._inputs}

    def _description(self) -> dict[str, Any]:
        """Return how inputs are preprocessed, for those who serve the model."""
        raise NotImplementedError


class _TextNetwork(TransformersNetwork):
    """A network that reads the column ``text``, and ``text_pair`` where there is one."""

    modality = "text"

    def __init__(
        self,
        module: nn.Module,
        processor: Any,
        recipe: Recipe,
        target: Target,
        *,
        has_own_head: bool,
    ) -> None:
        super().__init__(module, processor, recipe, target, has_own_head=has_own_head)
        if processor.vocab_size <= len(processor.all_special_ids):
            raise ZooError(
                "expected a tokenizer with a vocabulary, got special tokens alone: save the "
                "tokenizer into the folder, with tokenizer.save_pretrained(folder)"
            )
        if processor.pad_token is None:
            processor.pad_token = processor.eos_token or processor.unk_token
        if processor.pad_token is None:
            raise ZooError("expected a tokenizer with a pad, end or unknown token, got none")
        processor.padding_side = "right"  # positions are counted from the left
        if getattr(module.config, "pad_token_id", None) is None:
            cast("Any", module).config.pad_token_id = processor.pad_token_id
        self._size = min(recipe.input_size or _MAX_TOKENS, self._max_tokens())

    def measure_width(self) -> int:
        """See ``TransformersNetwork``."""
        with torch.no_grad():
            return self.embeddings(self.collate(self._encode(["a"]))).shape[1]

    def is_decoder(self) -> bool:
        """See ``TransformersNetwork``.

        Among the types that generate text are some whose tokens see later ones, such as XLNet, so
        the last token of a made-up text is changed.
        """
        model_type = self._reader.config.model_type
        if (
            model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            or model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        ):
            return False
        (row,) = self._encode(["a b"])
        *ids, last = row["input_ids"]
        changed = {**row, "input_ids": [*ids, int(last == 0)]}
        with torch.no_grad():
            output = self._reader(**self._arguments(self.collate([row, changed])))
        one, other = output.last_hidden_state
        changes = (one - other).abs().amax(dim=1)
        end = min(len(ids), len(changes) - 1)  # some models return fewer tokens
        return end > 0 and bool(changes[0] < _NO_CHANGE * changes[end])

    def preprocess(self, rows: Any) -> list[Any]:
        """See ``network.Network``."""
        has_pairs = "text_pair" in rows.column_names
        return self._encode(list(rows["text"]), list(rows["text_pair"]) if has_pairs else None)

    def collate(self, encoded: list[Any]) -> Batch:
        """Return tokens as tensors; a model that knows no mask always gets the same length."""
        has_mask = "attention_mask" in self._inputs
        padding = (
            {"padding": True} if has_mask else {"padding": "max_length", "max_length": self._size}
        )
        return dict(self._processor.pad(encoded, return_tensors="pt", **padding))

    def features(self, batch: Batch) -> Features:
        """Return (b, d) means over the tokens of the last layer, and means over layers too.

        A layer of another shape than the last one, as in models that shorten texts, does not count.
        """
        output = self._reader(**self._arguments(batch), output_hidden_states=True)
        last = output.last_hidden_state
        hidden = getattr(output, "hidden_states", None) or ()
        layers = [layer for layer in hidden[1:] if layer.shape == last.shape]
        tokens = torch.stack(layers).mean(dim=0) if layers else last
        mask = batch["attention_mask"]
        return Features(pooled(output, mask, self._pooling), masked_mean(tokens, mask))

    def _encode(self, texts: list[str], second: list[str] | None = None) -> list[Any]:
        """Return the tokens of texts, or of pairs of them, whose longer text is cut first."""
        tokens = self._processor(
            texts, second, truncation=True, max_length=self._size, return_attention_mask=True
        )
        return [{name: values[i] for name, values in tokens.items()} for i in range(len(texts))]

    def _max_tokens(self) -> int:
        """Return the length of the longest text that tokenizer and model take.

        The positions of RoBERTa and its kind start behind that of the padding.
        """
        reader = self._reader
        limits = [int(self._processor.model_max_length)]
        for name in ("max_position_embeddings", "max_seq_len"):
            count = getattr(reader.config, name, None)
            if isinstance(count, int) and count > 0:
                limits.append(count - _position_offset(reader, count))
        return min(limits)

    def _description(self) -> dict[str, Any]:
        return {"max_length": self._size}


class _ImageNetwork(TransformersNetwork):
    """A network that reads the column ``image``.

    An image is resized to a square here; the processor scales its values.
    """

    modality = "image"

    def __init__(
        self,
        module: nn.Module,
        processor: Any,
        recipe: Recipe,
        target: Target,
        *,
        has_own_head: bool,
    ) -> None:
        super().__init__(module, processor, recipe, target, has_own_head=has_own_head)
        self._native_size = _first_number(getattr(self._reader.config, "image_size", None))
        self._size = recipe.input_size or self._native_size or _processor_size(processor)

    def measure_width(self) -> int:
        """Return the size of the pooled features; a size that the model refuses becomes its own."""
        from PIL import Image

        for size in dict.fromkeys((self._size, self._native_size or self._size)):
            self._size = size
            try:
                image = Image.new("RGB", (size, size), "gray")
                with torch.no_grad():
                    return self.embeddings(self.collate([image])).shape[1]
            except Exception as error:  # models raise many kinds of errors for a size
                refusal = error
        raise refusal

    def preprocess(self, rows: Any) -> list[Any]:
        """See ``network.Network``."""
        resample = getattr(self._processor, "resample", None)
        return [
            decode_image(image["bytes"]).resize((self._size, self._size), resample)
            for image in rows["image"]
        ]

    def collate(self, encoded: list[Any]) -> Batch:
        """See ``network.Network``."""
        return dict(self._processor(encoded, return_tensors="pt", **self._skipped_steps))

    def _arguments(self, batch: Batch) -> dict[str, Any]:
        """Return the arguments of the module.

        Models with fixed patches accept another image size only with an argument for it.
        """
        return {**super()._arguments(batch), **self._size_argument}

    @property
    def _size_argument(self) -> dict[str, bool]:
        has_other_size = self._native_size is not None and self._size != self._native_size
        return {_SIZE_ARGUMENT: True} if has_other_size and _SIZE_ARGUMENT in self._inputs else {}

    @property
    def _skipped_steps(self) -> dict[str, bool]:
        """Return the arguments of the processor, whose images have the right size already."""
        return {step: False for step in _SIZE_STEPS if hasattr(self._processor, step)}

    def _description(self) -> dict[str, Any]:
        resample = getattr(self._processor, "resample", None)
        return {
            "size": self._size,
            "resample": None if resample is None else int(resample),
            "steps": self._skipped_steps,
            "arguments": self._size_argument,
        }


#: modality -> class
_NETWORK_CLASSES: Mapping[str, type[TransformersNetwork]] = MappingProxyType(
    {"text": _TextNetwork, "image": _ImageNetwork}
)
#: steps of processors that change the size of an image
_SIZE_STEPS = (
    "do_resize",
    "do_center_crop",
    "do_pad",
    "do_thumbnail",
    "do_align_long_axis",
    "do_crop_margin",
)


def _input_embeddings(reader: Any) -> list[nn.Parameter]:
    try:
        return list(reader.get_input_embeddings().parameters())
    except (AttributeError, NotImplementedError):  # it has none
        return []


def _position_offset(reader: Any, count: int) -> int:
    """Return how many of a model's positions no token has."""
    for name, part in reader.named_modules():
        weight, padding = getattr(part, "weight", None), getattr(part, "padding_idx", None)
        is_table = "position" in name and weight is not None and len(weight) == count
        if is_table and padding is not None:
            return int(padding) + 1
    return 0


def _first_number(value: object) -> int | None:
    """Return a size that is a number, or the first of a list; None without one."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return value if isinstance(value, int) else None


def _processor_size(processor: Any) -> int:
    """Return the side of the image that a processor makes."""
    for name in ("crop_size", "size"):
        size = getattr(processor, name, None)
        values = dict(size).values() if size else ()
        if numbers := [value for value in values if isinstance(value, int)]:
            return min(numbers)
    return _IMAGE_SIDE
