"""The files of a model folder, checked before a library reads them.

A folder may come from anybody. Libraries run code that its configuration names, follow its paths,
fetch what it mentions and take as much memory as it says; such folders are refused here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from mlflow_recall import limits
from mlflow_recall.adapters.zoo.model_settings import check_settings
from mlflow_recall.errors import ZooError

#: endings of pickled files, which this package never reads
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_INDEX_FILE = "model.safetensors.index.json"
#: files that libraries look for code in
_CODE_FILES = (
    CONFIG_FILE,
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
#: numbers of layers, heads or experts
_COUNTS = re.compile(r"layers?$|depths?$|blocks?$|heads?$|stages?$|experts?$|repeats?$")
#: periods of rotary positions, which are no sizes
_PERIODS = re.compile(r"theta|base|period|freq")
_ATTENTION = ("eager", "sdpa", "flex_attention")


def read_config(folder: Path | None) -> dict[str, Any]:
    """Return the configuration of a model folder; empty without one.

    Raises:
        ZooError: It cannot be read, or asks for something that is refused; the message names the
            file and the reason.
    """
    if folder is None or not (folder / CONFIG_FILE).exists():
        return {}
    config = read_json(folder / CONFIG_FILE)
    _check_values(config, folder / CONFIG_FILE)
    return config


def check_folder(folder: Path) -> None:
    """Check all that libraries read from a model folder.

    Raises:
        ZooError: The folder needs custom code, names files outside of it, or is no model folder.
    """
    check_code(folder)
    read_config(folder)
    if (folder / "adapter_config.json").exists():
        raise ZooError(
            f"{folder / 'adapter_config.json'}: expected a whole model, got an adapter of another "
            "one: merge them, and save the result with save_pretrained(folder)"
        )
    weight_files(folder)


def check_code(folder: Path) -> None:
    """Check that no configuration of a model, tokenizer or processor names code of its own.

    Raises:
        ZooError: One does, or cannot be read.
    """
    for name in _CODE_FILES:
        file = folder / name
        if file.exists():
            _check_code(read_json(file), file)


def weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights of a model folder; those beside them are never read.

    Raises:
        ZooError: There are none, or an index names something else than safetensors of the folder.
    """
    if not folder.is_dir():
        raise ZooError(
            f"{folder}: expected a folder with safetensors, there is none; a hub model is written "
            "hf:/org/name"
        )
    index, names = folder / _INDEX_FILE, [WEIGHTS_FILE]
    if index.exists():
        names = _indexed_files(index)
    files = [folder / name for name in names]
    files = [file for file in files if file.is_file()]
    if not files:
        others = sorted(folder.iterdir())
        if stored := [file.name for file in others if file.suffix == ".safetensors"]:
            raise ZooError(f"{folder}: expected {WEIGHTS_FILE}, got {stored[0]}: rename it")
        pickled = (file.name for file in others if file.suffix in PICKLE_SUFFIXES)
        raise ZooError(
            f"{folder}: expected safetensors, got {next(pickled, 'no weights')}: nothing here "
            "unpickles; save it with save_pretrained(folder, safe_serialization=True)"
        )
    return files


def weights_digest(folder: Path) -> str:
    """Return 16 characters that change with the configuration or the weights of a folder.

    Raises:
        ZooError: There is no such folder, or it has no safetensors.
    """
    weight_files(folder)
    state = hashlib.sha256()
    for file in [*sorted(folder.glob("*.safetensors")), folder / "config.json"]:
        if file.exists():
            state.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    state.update(block)
    return state.hexdigest()[:16]


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ZooError: It is too large, or no JSON object.
    """
    try:
        if (size := file.stat().st_size) > limits.MAX_METADATA_BYTES:
            raise ZooError(
                f"{file}: expected at most {limits.MAX_METADATA_BYTES:,} bytes, got {size:,}"
            )
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ZooError(f"{file}: expected a JSON object, it cannot be read: {reason}") from None
    if not isinstance(value, dict):
        raise ZooError(f"{file}: expected a JSON object, got {type(value).__name__}")
    return value


def _indexed_files(index: Path) -> list[str]:
    """Return the file names in an index of safetensors, each once."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ZooError(f"{index}: expected weight_map, a mapping of weights to files")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if PurePath(name).name != name or not name.endswith(".safetensors"):
            raise ZooError(
                f"{index}: expected names of safetensors in the same folder, got {name[:80]!r}"
            )
        if not (index.parent / name).is_file():
            raise ZooError(f"{index}: expected {name} beside it, there is none")
    return names


def _check_code(content: Mapping[str, Any], file: Path) -> None:
    """Refuse a file that names code of its own, at any depth."""
    for key, value in _entries(content, file):
        if key in ("auto_map", "custom_pipelines", "trust_remote_code") and value:
            raise ZooError(
                f"{file}: needs custom code ({key}), which is not supported: nothing of a model's "
                "own runs here"
            )


def _check_values(config: Mapping[str, Any], file: Path) -> None:
    """Refuse a configuration that runs or fetches something, or whose sizes are no model's."""
    _check_code(config, file)
    for key, value in _entries(config, file):
        if (rule := _RULES.get(key)) and (expected := rule(value)):
            raise ZooError(f"{file}: {key}: expected {expected}, got {str(value)[:80]!r}")
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and not isinstance(number, bool):
                limit = limits.MAX_LAYERS if _COUNTS.search(key) else limits.MAX_MODEL_SIZE
                if abs(number) > limit and not _PERIODS.search(key):
                    raise ZooError(
                        f"{file}: {key}: expected at most {limit:,}, got {str(number)[:20]}"
                    )
    if isinstance(arguments := config.get("model_args"), dict):
        check_settings(arguments, f"{file}: model_args")


def _entries(value: object, file: Path, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every key of nested mappings with its value; that of a list for what is in it."""
    if depth > limits.MAX_NESTING:
        raise ZooError(f"{file}: expected at most {limits.MAX_NESTING} levels, got more")
    if isinstance(value, dict):
        for name, entry in value.items():
            yield name, entry
            yield from _entries(entry, file, name, depth + 1)
    elif isinstance(value, list):
        for entry in value:
            if isinstance(entry, dict | list):
                yield key, entry
                yield from _entries(entry, file, key, depth + 1)


def _rule(expected: str, accepts: Callable[[Any], object]) -> Callable[[Any], str]:
    """Return a function that names what is expected where a value is refused; empty: it is not."""
    return lambda value: "" if not value or accepts(value) else expected


def _is_class_table(value: Any) -> bool:
    return isinstance(value, dict | list) and len(value) <= limits.MAX_HEAD_CLASSES


_ATTENTION_RULE = _rule(
    f"one of {', '.join(_ATTENTION)} (no kernels are fetched)", lambda value: value in _ATTENTION
)
_CLASSES_RULE = _rule(f"at most {limits.MAX_HEAD_CLASSES:,} classes", _is_class_table)
_NOTHING = _rule("nothing", lambda _: False)
#: key of a configuration, at any depth -> what is expected of its value where it is refused
_RULES: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("attn_implementation", "_attn_implementation", "attn_implementation_internal",
             "_attn_implementation_internal"),
            _ATTENTION_RULE,
        ),
        **dict.fromkeys(("use_kernels", "kernel_config"), _NOTHING),
        **dict.fromkeys(("quantization_config", "compression_config"), _rule(
            "weights in full precision", lambda _: False
        )),
        # parts that libraries fetch from a hub, or read from another file
        **dict.fromkeys(
            ("backbone", "use_pretrained_backbone", "checkpoint_path", "pretrained_cfg_overlay",
             "gguf_file"),
            _NOTHING,
        ),
        **dict.fromkeys(("num_labels", "num_classes"), _rule(
            f"at most {limits.MAX_HEAD_CLASSES:,}",
            lambda value: isinstance(value, int) and value <= limits.MAX_HEAD_CLASSES,
        )),
        **dict.fromkeys(("id2label", "label2id", "label_names"), _CLASSES_RULE),
        "model_type": _rule(
            "a model of transformers; those of timm have timm's own files",
            lambda value: isinstance(value, str) and not value.startswith("timm_"),
        ),
        "architecture": _rule(
            "the name of one of timm's architectures",
            lambda value: isinstance(value, str) and re.fullmatch(r"[\w.]{1,100}", value),
        ),
    }
)  # fmt: skip
