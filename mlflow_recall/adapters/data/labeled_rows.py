"""Labeled rows of a dataset, split by split, from any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

#: ending of a file -> format of ``datasets.load_dataset``
_FILE_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
}
#: usual names of columns, the most specific first
_LABEL_COLUMNS = ("label", "labels", "target", "class", "category", "y")
_TEXT_COLUMNS = ("text", "sentence", "content", "review", "document", "question", "title")
#: name of a split in a source -> its name here
_SPLIT_NAMES = {
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
    """Inputs (texts, or encoded images) with the names of their classes."""

    inputs: list[Any]
    labels: list[str]
    #: modality: ``text`` or ``image``
    kind: str


def read_labeled_rows(spec: DatasetSpec) -> tuple[dict[str, LabeledRows], tuple[str, ...]]:
    """Return split -> rows for every declared split and train, and the classes in their order.

    Raises:
        DatasetError: It cannot be read, lacks a column, or is no classification problem.
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
    """Return all splits of a source, as ``datasets`` reads them."""
    import datasets
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    path = Path(spec.path).expanduser()
    try:
        if path.is_file():
            if path.suffix.lower() not in _FILE_FORMATS:
                raise DatasetError(
                    f"{path}: expected a file of type {', '.join(_FILE_FORMATS)}, got "
                    f"{path.suffix or 'no ending'!r}"
                )
            if not path.stat().st_size:
                raise DatasetError(f"{path}: expected rows, got an empty file")
            options = {"delimiter": "\t"} if path.suffix.lower() == ".tsv" else {}
            loaded = datasets.load_dataset(
                _FILE_FORMATS[path.suffix.lower()], data_files=str(path), **options
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
    return path.startswith((".", "/", "~")) or Path(path).suffix.lower() in _FILE_FORMATS


def _declared_splits(splits: dict[str, Any], spec: DatasetSpec) -> dict[str, Any]:
    """Return the splits by their usual names, or those of the split column."""
    declared = {_SPLIT_NAMES[name]: split for name, split in splits.items() if name in _SPLIT_NAMES}
    if not declared:
        declared = {"train": next(iter(splits.values()))}
    rows = next(iter(declared.values()))
    if len(declared) > 1 or spec.split not in rows.column_names:
        return declared
    values = rows[spec.split]
    if unknown := sorted({str(v) for v in values} - set(_SPLIT_NAMES)):
        raise DatasetError(
            f"{spec.title}: column {spec.split!r}: expected train, validation or test, "
            f"got {unknown[0]!r}"
        )
    positions: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        positions.setdefault(_SPLIT_NAMES[str(value)], []).append(i)
    return {name: rows.select(indices) for name, indices in positions.items()}


def _input_column(
    splits: Mapping[str, Any], spec: DatasetSpec, columns: Sequence[str]
) -> tuple[str, str]:
    """Return modality and name of the column that a model reads."""
    import datasets

    features = next(iter(splits.values())).features
    images = [c for c in columns if isinstance(features[c], datasets.Image)]
    strings = [
        c for c in columns if getattr(features[c], "dtype", "") in ("string", "large_string")
    ]
    for kind, column, usable in (("image", spec.image, images), ("text", spec.text, strings)):
        if column and column not in usable:
            raise DatasetError(_no_column(spec, kind, column, usable, columns))
        if column:
            return kind, column
    if images:
        return "image", images[0]
    reserved = {spec.label or _first_column(_LABEL_COLUMNS, columns), spec.split}
    strings = [c for c in strings if c not in reserved]
    inferred = _infer_column(_TEXT_COLUMNS, strings)
    if not inferred:
        raise DatasetError(
            f"{spec.title}: which column is the text? got {', '.join(columns)}: "
            "name it with --text COLUMN"
        )
    return "text", inferred


def _label_column(spec: DatasetSpec, columns: Sequence[str], inputs: str) -> str:
    """Return the name of the column with the labels."""
    if spec.label:
        if spec.label not in columns:
            raise DatasetError(_no_column(spec, "label", spec.label, columns, columns))
        return spec.label
    inferred = _infer_column(_LABEL_COLUMNS, [c for c in columns if c not in (inputs, spec.split)])
    if not inferred:
        raise DatasetError(
            f"{spec.title}: which column is the label? got {', '.join(columns)}: "
            "name it with --label COLUMN"
        )
    return inferred


def _no_column(
    spec: DatasetSpec, kind: str, column: str, usable: Sequence[str], columns: Sequence[str]
) -> str:
    expected = ", ".join(usable) or f"none among {', '.join(columns)}"
    return f"{spec.title}: no {kind} column {column!r}: expected one of {expected}"


def _infer_column(usual_names: Sequence[str], columns: Sequence[str]) -> str:
    """Return the column with a usual name, or the only column; empty without either."""
    return _first_column(usual_names, columns) or (columns[0] if len(columns) == 1 else "")


def _first_column(usual_names: Sequence[str], columns: Sequence[str]) -> str:
    """Return the column with the first of these names that there is, ignoring case."""
    by_lower = {column.lower(): column for column in columns}
    return next((by_lower[name] for name in usual_names if name in by_lower), "")


def _rows(split: Any, kind: str, inputs: str, label: str, spec: DatasetSpec) -> LabeledRows:
    """Return the rows that have both an input and a label.

    Test splits on the hub mark hidden labels with -1.
    """
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
    return LabeledRows([_read_input(value) for value, _ in pairs], [n for _, n in pairs], kind)


def _label_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _read_input(value: Any) -> Any:
    """Return a text as it is, or the bytes of an image."""
    if isinstance(value, dict):
        return value["bytes"] if value.get("bytes") else Path(value["path"]).read_bytes()
    return value


def _classes(content: Mapping[str, LabeledRows], spec: DatasetSpec) -> tuple[str, ...]:
    """Return the classes of train, sorted as numbers if all of them are integers."""
    classes = set(content["train"].labels)
    for split, rows in content.items():
        if unknown := sorted(set(rows.labels) - classes):
            raise DatasetError(
                f"{spec.title}: label {unknown[0]!r} of the {split} split never occurs in train: "
                f"expected one of {', '.join(sorted(classes)[:10])}"
            )
    total = sum(len(rows.labels) for rows in content.values())
    if len(classes) < 2:
        raise DatasetError(f"{spec.title}: expected two classes or more, got {sorted(classes)}")
    if total < 3 * len(classes):
        raise DatasetError(
            f"{spec.title}: expected at least 3 rows a class, got {total} rows of {len(classes)} "
            "classes: is that column really the label?"
        )
    if all(name.lstrip("-").isdigit() for name in classes):
        return tuple(sorted(classes, key=int))
    return tuple(sorted(classes))
