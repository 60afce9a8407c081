"""Parquet files, folders that ``Dataset.save_to_disk`` wrote, and datasets of the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.data.tables import Source, Table
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.bounded_json import read_object
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_COLUMNS, MAX_ROWS

#: fields of a struct that holds an encoded image
_IMAGE_FIELDS = {"bytes", "path"}
_BINARY_TYPES = ("binary", "large_binary")
_TEXT_TYPES = ("string", "large_string", "string_view")


def read_parquet(*paths: Path) -> Source:
    """Read a Parquet file, with the features that ``datasets`` may have written into it.

    Args:
        paths: The file, or the files that are parts of one table.

    Raises:
        DatasetError: A file is none, or they have different columns.
    """
    import datasets
    from datasets.table import InMemoryTable
    from pyarrow import concat_tables, parquet

    parts = []
    for path in paths:
        with parquet.ParquetFile(path) as file:
            _check_size(path, file.metadata.num_columns, file.metadata.num_rows)
            parts.append(file.read())
    content = concat_tables(parts)
    for i, kind in enumerate(content.schema.types):
        if hasattr(kind, "value_type") and hasattr(kind, "index_type"):  # categories of pandas
            plain = content.column(i).cast(kind.value_type)
            content = content.set_column(i, content.schema.names[i], plain)
    return Source(
        tables={"train": _table(datasets.Dataset(InMemoryTable(content)), path, path.parent)}
    )


def is_saved(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote a folder."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def read_saved(folder: Path) -> Source:
    """Read a folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.

    Raises:
        DatasetError: It names files outside of it.
    """
    import datasets

    _check_files(folder)
    return _source(datasets.load_from_disk(str(folder)), folder, folder)


def read_hub(spec: DatasetSpec) -> Source:
    """Read a dataset of the hub, or of its cache on this machine."""
    import datasets

    loaded = datasets.load_dataset(spec.path, spec.config or None)
    return _source(loaded, Path(spec.path), Path(datasets.config.HF_CACHE_HOME))


def _check_files(folder: Path) -> None:
    """Refuse a saved folder with links or names that lead out of it."""
    root = folder.resolve()
    for file in folder.rglob("*"):
        if not file.resolve().is_relative_to(root):
            raise _outside(folder, str(file.relative_to(folder)))
    splits = [folder]
    index = folder / "dataset_dict.json"
    if index.exists():
        names = read_object(index, DatasetError).get("splits")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{index}: expected a list of splits, got {names!r}")
        splits = [folder / name for name in names]
    for split in splits:
        if not split.resolve().is_relative_to(root):
            raise _outside(folder, str(split))
        files = read_object(split / "state.json", DatasetError).get("_data_files")
        for file in files if isinstance(files, list) else []:
            name = file.get("filename") if isinstance(file, dict) else None
            if not isinstance(name, str) or not (split / name).resolve().is_relative_to(root):
                raise _outside(folder, repr(name))


def _outside(folder: Path, name: str) -> DatasetError:
    return DatasetError(f"{folder}: expected files inside of it, got {name}: save it again")


def _source(loaded: Any, path: Path, folder: Path) -> Source:
    splits = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
    return Source(tables={str(name): _table(rows, path, folder) for name, rows in splits.items()})


def _check_size(path: Path, columns: int, rows: int) -> None:
    if columns > MAX_COLUMNS or rows > MAX_ROWS:
        raise DatasetError(
            f"{path}: expected at most {MAX_COLUMNS} columns and {MAX_ROWS} rows, got {columns} "
            f"and {rows}"
        )


def _table(rows: Any, path: Path, folder: Path) -> Table:
    """Return the rows of a ``datasets.Dataset``; images stay encoded, columns are read lazily.

    Args:
        rows: The ``datasets.Dataset``.
        path: Where it was read, for messages.
        folder: Folder whose files image cells may name.
    """
    import datasets

    _check_size(path, len(rows.column_names), len(rows))
    rows.data.validate(full=True)  # texts are Unicode, and all offsets lie inside
    images = []
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
        is_bytes = getattr(feature, "dtype", "") in _BINARY_TYPES
        if isinstance(feature, datasets.Image) or is_bytes or _fields(feature) == _IMAGE_FIELDS:
            images.append(name)
    columns: dict[str, Sequence[Any]] = {name: rows[name] for name in rows.column_names}
    kinds = {name: getattr(feature, "dtype", "") for name, feature in rows.features.items()}
    return Table(
        columns=columns,
        texts=tuple(
            name
            for name, kind in kinds.items()
            if kind in ("string", "large_string", "string_view")
        ),
        images=tuple(images),
        folder=folder,
        class_names={
            name: names for name, feature in rows.features.items() if (names := _names(feature))
        },
    )


def _names(feature: Any) -> Sequence[str]:
    """Return the names of a feature's classes, or of the labels that its lists hold."""
    return getattr(getattr(feature, "feature", feature), "names", None) or ()


def _fields(feature: Any) -> set[str]:
    return set(feature) if isinstance(feature, dict) else set()
