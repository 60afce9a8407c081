"""A dataset as somebody keeps it -> its labeled rows, split by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

_FILES = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
_LABELS = ("label", "labels", "target", "class", "category", "y")
_TEXTS = ("text", "sentence", "content", "review", "document", "question", "title")
_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Inputs (strings, or encoded images) with the names of their classes."""

    inputs: list[Any]
    labels: list[str]
    kind: str


def read_labeled_rows(spec: DatasetSpec) -> tuple[dict[str, LabeledRows], tuple[str, ...]]:
    """The rows of every split that is given, train among them, and the classes in their order.

    Raises:
        DatasetError: it cannot be read, lacks a column, or is no classification problem.
    """
    splits = _declared_splits(_load(spec), spec)
    columns = next(iter(splits.values())).column_names
    kind, inputs = _input_column(splits, spec, columns)
    label = _label_column(spec, columns, inputs)
    content = {name: _rows(split, kind, inputs, label, spec) for name, split in splits.items()}
    content = {name: rows for name, rows in content.items() if len(rows.labels)}
    if "train" not in content:
        raise DatasetError(f"{spec.title}: expected labeled rows to train on, got none")
    return content, _classes(content, spec)


def _load(spec: DatasetSpec) -> dict[str, Any]:
    """All splits of a source, as ``datasets`` reads them."""
    import datasets
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    path = Path(spec.path).expanduser()
    try:
        if path.is_file():
            if path.suffix.lower() not in _FILES:
                raise DatasetError(
                    f"{path}: expected a file of type {', '.join(_FILES)}, got "
                    f"{path.suffix or 'no ending'!r}"
                )
            if not path.stat().st_size:
                raise DatasetError(f"{path}: expected rows, got an empty file")
            options = {"delimiter": "\t"} if path.suffix.lower() == ".tsv" else {}
            loaded = datasets.load_dataset(
                _FILES[path.suffix.lower()], data_files=str(path), **options
            )
        elif path.is_dir():
            loaded = _load_folder(path)
        elif _looks_local(spec.path):
            raise DatasetError(
                f"{spec.path}: expected a file, a folder or a hub id: there is no such file in "
                f"{Path.cwd()}"
            )
        else:
            loaded = datasets.load_dataset(spec.path, spec.config or None)
    except DatasetError:
        raise
    except Exception as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise DatasetError(f"{spec.path}: cannot be read as a dataset: {reason[0]}") from error
    return dict(loaded) if isinstance(loaded, dict) else {"train": loaded}


def _load_folder(path: Path) -> Any:
    import datasets

    if any((path / name).exists() for name in ("dataset_dict.json", "state.json")):
        return datasets.load_from_disk(str(path))
    if not any(child.is_dir() for child in path.iterdir()):
        raise DatasetError(
            f"{path}: expected a folder of images with one folder a class, or one that "
            "Dataset.save_to_disk wrote"
        )
    return datasets.load_dataset("imagefolder", data_dir=str(path))


def _looks_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or Path(path).suffix.lower() in _FILES


def _declared_splits(splits: dict[str, Any], spec: DatasetSpec) -> dict[str, Any]:
    """Splits by their usual names, or by the rows' own split column."""
    named = {_SPLITS[name]: split for name, split in splits.items() if name in _SPLITS}
    if not named:
        named = {"train": next(iter(splits.values()))}
    only = next(iter(named.values()))
    if len(named) > 1 or spec.split not in only.column_names:
        return named
    values = only[spec.split]
    if unknown := sorted({str(v) for v in values} - set(_SPLITS)):
        raise DatasetError(
            f"{spec.title}: column {spec.split!r}: expected train, validation or test, "
            f"got {unknown[0]!r}"
        )
    where: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        where.setdefault(_SPLITS[str(value)], []).append(i)
    return {name: only.select(rows) for name, rows in where.items()}


def _input_column(
    splits: Mapping[str, Any], spec: DatasetSpec, columns: Sequence[str]
) -> tuple[str, str]:
    """Modality and name of the column that a model reads."""
    import datasets

    features = next(iter(splits.values())).features
    images = [c for c in columns if isinstance(features[c], datasets.Image)]
    strings = [
        c for c in columns if getattr(features[c], "dtype", "") in ("string", "large_string")
    ]
    for kind, asked, found in (("image", spec.image, images), ("text", spec.text, strings)):
        if asked and asked not in found:
            raise DatasetError(_no_column(spec, kind, asked, found, columns))
        if asked:
            return kind, asked
    if images:
        return "image", images[0]
    reserved = {spec.label or _first(_LABELS, columns), spec.split}
    strings = [c for c in strings if c not in reserved]
    guess = _first(_TEXTS, strings) or (strings[0] if len(strings) == 1 else "")
    if not guess:
        raise DatasetError(
            f"{spec.title}: which column is the text? got {', '.join(columns)}: "
            "name it with --text COLUMN"
        )
    return "text", guess


def _label_column(spec: DatasetSpec, columns: Sequence[str], inputs: str) -> str:
    if spec.label:
        if spec.label not in columns:
            raise DatasetError(_no_column(spec, "label", spec.label, columns, columns))
        return spec.label
    others = [c for c in columns if c not in (inputs, spec.split)]
    guess = _first(_LABELS, others) or (others[0] if len(others) == 1 else "")
    if not guess:
        raise DatasetError(
            f"{spec.title}: which column is the label? got {', '.join(columns)}: "
            "name it with --label COLUMN"
        )
    return guess


def _no_column(
    spec: DatasetSpec, kind: str, asked: str, found: Sequence[str], columns: Sequence[str]
) -> str:
    usable = ", ".join(found) or f"none among {', '.join(columns)}"
    return f"{spec.title}: no {kind} column {asked!r}: expected one of {usable}"


def _first(wanted: Sequence[str], columns: Sequence[str]) -> str:
    lower = {column.lower(): column for column in columns}
    return next((lower[name] for name in wanted if name in lower), "")


def _rows(split: Any, kind: str, inputs: str, label: str, spec: DatasetSpec) -> LabeledRows:
    """Rows that have both an input and a label; hub test splits mark hidden labels with -1."""
    import datasets

    feature = split.features[label]
    if str(getattr(feature, "dtype", "")).startswith(("float", "double")):
        numbers = np.array([v for v in split[label] if v is not None], dtype=float)
        if not np.array_equal(numbers, numbers.round()):
            raise DatasetError(
                f"{spec.title}: column {label!r}: expected classes, got fractions: "
                "this is a regression problem"
            )
    if kind == "image":
        split = split.cast_column(inputs, datasets.Image(decode=False))
    names = getattr(feature, "names", None)
    hidden = {None, ""} | ({-1} if names else set())
    pairs = [
        (value, names[key] if names else _label_text(key))
        for value, key in zip(split[inputs], split[label], strict=True)
        if key not in hidden and value not in (None, "")
    ]
    return LabeledRows([_content(v) for v, _ in pairs], [name for _, name in pairs], kind)


def _label_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _content(value: Any) -> Any:
    """A text, or the bytes of an image."""
    if isinstance(value, dict):
        return value["bytes"] if value.get("bytes") else Path(value["path"]).read_bytes()
    return value


def _classes(content: Mapping[str, LabeledRows], spec: DatasetSpec) -> tuple[str, ...]:
    known = set(content["train"].labels)
    for split, rows in content.items():
        if strange := sorted(set(rows.labels) - known):
            raise DatasetError(
                f"{spec.title}: label {strange[0]!r} of the {split} split never occurs in train: "
                f"expected one of {', '.join(sorted(known)[:10])}"
            )
    total = sum(len(rows.labels) for rows in content.values())
    if len(known) < 2:
        raise DatasetError(f"{spec.title}: expected two classes or more, got {sorted(known)}")
    if total < 3 * len(known):
        raise DatasetError(
            f"{spec.title}: expected at least 3 rows a class, got {total} rows of {len(known)} "
            "classes: is that column really the label?"
        )
    if all(name.lstrip("-").isdigit() for name in known):
        return tuple(sorted(known, key=int))
    return tuple(sorted(known))
