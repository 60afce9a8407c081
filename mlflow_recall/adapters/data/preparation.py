"""A dataset specification -> train, validation and test split, fixed by a seed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlflow_recall.adapters.data.labeled_rows import Columns, Content, LabeledRows, read_content
from mlflow_recall.adapters.data.splits import SPLITS, cut_counts, cut_splits
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.bounded_json import read_object
from mlflow_recall.cache import build_once, cache_folder, is_digest
from mlflow_recall.core.arrays import IntArray
from mlflow_recall.core.dataset_account import (
    MIN_ROWS_TO_SPLIT,
    DatasetAccount,
    count_duplicates,
    find_warnings,
)
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import DatasetError

_META_FILE = "recall.json"
#: part of the digest of datasets whose splits are cut in another way than at first
_CUT_TOGETHER = b"cut with equal inputs together"
#: part of the digest of datasets with pictures that earlier versions decoded in another way
_NEW_LOOK = b"decoded as a person sees it"
#: what stands between the texts of a pair in the digest
_SECOND = "\0second\0"


def prepare(spec: DatasetSpec) -> Dataset:
    """Read, check, split and save a dataset where workers can load it.

    A second call reads the source again, and returns the saved copy if the content is the same.

    Raises:
        DatasetError: It cannot be read, lacks a column, is no classification problem, or has too
            few different inputs for the splits that it lacks.
    """
    content, splits, account = _read(spec)
    check_splits(spec, account)
    digest = _digest(content, spec.seed)

    def save(folder: Path) -> None:
        _save(folder, content, splits)

    folder = build_once(cache_folder("datasets", digest), save)
    meta = _read_meta(folder)
    return Dataset(
        name=spec.title,
        digest=digest,
        modality=content.columns.kind,
        classes=meta.classes,
        sizes=meta.sizes,
        source=spec.origin or str(spec.path),
        folder=str(folder),
        spec=spec.to_json(),
        has_pairs=meta.has_pairs,
        account=account,
    )


def check_splits(spec: DatasetSpec, account: DatasetAccount) -> None:
    """Refuse a dataset that has too few different inputs to cut a split from.

    Raises:
        DatasetError: A split has no row.
    """
    if empty := [name for name, count in account.splits.items() if not count]:
        raise DatasetError(
            f"{spec.title}: expected different inputs to cut a {empty[0]} split from, got "
            f"{count_of(account.used, account.unit)} of nearly equal ones: is "
            f"{' and '.join(account.inputs)!r} the right column?"
        )


def read_account(spec: DatasetSpec) -> DatasetAccount:
    """Return an account of every row of a dataset's source; nothing is saved.

    Raises:
        DatasetError: It cannot be read, lacks a column, or is no classification problem.
    """
    return _read(spec)[2]


def find_prepared(name: str, digest: str, modality: str) -> Dataset | None:
    """Return a dataset that was prepared on this machine before; None without a copy.

    Args:
        name: Name of the returned dataset.
        digest: Digest of the prepared dataset.
        modality: ``text`` or ``image``.
    """
    if not is_digest(digest):  # anyone can write tags
        return None
    folder = cache_folder("datasets", digest)
    if not (folder / _META_FILE).exists():
        return None
    meta = _read_meta(folder)
    return Dataset(
        name=name,
        digest=digest,
        modality=modality,
        classes=meta.classes,
        sizes=meta.sizes,
        source="",
        folder=str(folder),
        has_pairs=meta.has_pairs,
    )


class _Meta(NamedTuple):
    """What a prepared folder says of itself."""

    classes: tuple[str, ...]
    #: split -> number of rows
    sizes: dict[str, int]
    has_pairs: bool


def _read_meta(folder: Path) -> _Meta:
    """Return what a prepared folder says of itself.

    Raises:
        DatasetError: The file that says it is damaged.
    """
    meta = read_object(folder / _META_FILE, DatasetError)
    classes, sizes = meta.get("classes"), meta.get("sizes")
    if (
        not isinstance(classes, list)
        or not isinstance(sizes, dict)
        or not all(isinstance(name, str) for name in classes)
        or not all(type(size) is int for size in sizes.values())
    ):
        raise DatasetError(
            f"{folder / _META_FILE}: expected classes and sizes, got none: delete its folder, and "
            "the dataset is prepared again"
        )
    return _Meta(tuple(classes), sizes, has_pairs=meta.get("has_pairs") is True)


def load_split(dataset: Dataset, split: str, samples: int = 0, seed: int = 0) -> Any:
    """Load one split of a prepared dataset, or a stratified sample of it.

    Args:
        dataset: Dataset that ``prepare`` returned.
        split: ``train``, ``validation`` or ``test``.
        samples: Maximum number of rows; 0: all.
        seed: Seed of the sample.

    Returns:
        A ``datasets.Dataset`` with the columns ``text`` or ``image``, and ``label``. An image is a
        mapping with its encoded ``bytes``, which ``decode_image`` decodes.
    """
    import datasets

    rows = datasets.load_from_disk(str(Path(dataset.folder) / split))
    if dataset.modality == "image":
        rows = rows.cast_column("image", datasets.Image(decode=False))
    if not samples or samples >= len(rows):
        return rows
    return rows.select(stratified_sample(np.array(rows["label"]), samples, seed))


def stratified_sample(labels: IntArray, samples: int, seed: int) -> IntArray:
    """Return the sorted positions of a sample in which every class keeps its share.

    Every class has at least one row in it.

    Args:
        labels: (n,) class indices.
        samples: Size of the sample, below n.
        seed: Decides which rows of a class are selected.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        # row i of the n rows of a class has rank (i + 1/2) / n: the lowest ranks keep all shares
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        rank[rows[0]] = -1.0
    return np.sort(np.lexsort((shuffled.argsort(), rank))[:samples])


def _read(spec: DatasetSpec) -> tuple[Content, dict[str, LabeledRows], DatasetAccount]:
    """Return the content of a source, its splits, and the account."""
    content = read_content(spec)
    keys = _input_keys(content)
    splits = _complete_splits(content, keys["train"], spec.seed)
    return content, splits, _account(content, keys, splits, spec.seed)


def _complete_splits(
    content: Content, keys: Sequence[Hashable], seed: int
) -> dict[str, LabeledRows]:
    """Return all splits; each missing one is cut from train.

    Args:
        content: All rows.
        keys: Keys of the inputs of train; rows with equal ones stay together.
        seed: Decides which rows are cut.
    """
    splits = dict(content.splits)
    train = splits["train"]
    missing = [name for name in ("test", "validation") if name not in splits]
    part_of = cut_splits(_indices(train, content.classes), keys, len(missing), seed)
    for part, name in enumerate(["train", *missing]):
        rows = np.flatnonzero(part_of == part)
        splits[name] = LabeledRows([train.inputs[i] for i in rows], [train.labels[i] for i in rows])
    return {name: splits[name] for name in SPLITS}


def _indices(rows: LabeledRows, classes: Sequence[str]) -> IntArray:
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in rows.labels], dtype=np.intp)


def _input_keys(content: Content) -> dict[str, list[Hashable]]:
    """Return declared split -> keys of the inputs, which are equal for equal inputs."""
    return {split: [_key(value) for value in rows.inputs] for split, rows in content.splits.items()}


def _key(value: str | tuple[str, str] | bytes) -> Hashable:
    return hashlib.sha256(value).digest() if isinstance(value, bytes) else value


def _account(
    content: Content,
    keys: Mapping[str, Sequence[Hashable]],
    splits: Mapping[str, LabeledRows],
    seed: int,
) -> DatasetAccount:
    """Return the account of a dataset whose splits are complete."""
    splits_by_row = _complete_splits(content, range(len(keys["train"])), seed)
    given = set(content.splits) if len(content.splits) > 1 else set()
    repeated = count_duplicates(keys)
    labels = [label for rows in content.splits.values() for label in rows.labels]
    warnings = find_warnings(
        [key for split_keys in keys.values() for key in split_keys],
        labels,
        texts=_texts(content) if content.columns.kind == "text" else None,
    )
    if repeated:
        warnings.append(
            f"duplicates across the given splits ({', '.join(sorted(given))}): {repeated} rows "
            "have an input that also stands in another split: scores on them are too good"
        )
    counts = Counter(labels)
    source = content.source
    return DatasetAccount(
        unit=source.unit,
        modality=content.columns.kind,
        inputs=content.columns.inputs,
        label=content.columns.label,
        read=content.read,
        left_out=source.left_out.counts,
        places=source.left_out.places,
        classes={name: counts[name] for name in content.classes},
        classes_left_out=content.classes_left_out,
        splits={name: len(rows.labels) for name, rows in splits.items()},
        duplicates=count_duplicates(
            {name: [_key(value) for value in rows.inputs] for name, rows in splits_by_row.items()}
        ),
        reading=content.reading,
        warnings=tuple(warnings),
    )


def _digest(content: Content, seed: int) -> str:
    """Return 16 characters that change with any row, label, declared split and with the seed.

    A dataset that is prepared as it was by earlier versions keeps its digest, so that its runs
    remain valid.
    """
    state = hashlib.sha256(json.dumps([content.classes, seed]).encode())
    if len(content.splits) < len(SPLITS) and not _is_cut_as_before(content):
        state.update(_CUT_TOGETHER)
    if content.has_new_look:
        state.update(_NEW_LOOK)
    for split in sorted(content.splits):
        state.update(f"\0{split}\0".encode())
        rows = content.splits[split]
        for value, label in zip(rows.inputs, rows.labels, strict=True):
            state.update(_to_bytes(value))
            state.update(f"\0{label}\0".encode())
    return state.hexdigest()[:16]


def _is_cut_as_before(content: Content) -> bool:
    """Return whether earlier versions cut the same rows: class by class, and one split after all.

    They did where one split is missing, no input is repeated, and rounding by class changes
    nothing.
    """
    train = content.splits["train"]
    sizes = np.bincount(_indices(train, content.classes))
    by_class = np.where(sizes >= MIN_ROWS_TO_SPLIT, np.maximum(1, np.round(sizes / 5)), 0)
    return (
        len(content.splits) == len(SPLITS) - 1
        and len(set(train.inputs)) == len(train.inputs)
        and np.array_equal(by_class, cut_counts(np.where(sizes >= MIN_ROWS_TO_SPLIT, sizes, 0)))
    )


def _to_bytes(value: str | tuple[str, str] | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else _SECOND.join(value)).encode()


def _save(folder: Path, content: Content, splits: Mapping[str, LabeledRows]) -> None:
    """Write each split as an Arrow folder, and the meta file last."""
    import datasets

    kind = content.columns.kind
    feature = datasets.Image() if kind == "image" else datasets.Value("string")
    labels = datasets.ClassLabel(names=list(content.classes))
    inputs = dict.fromkeys(_columns(LabeledRows([], []), content.columns), feature)
    schema = datasets.Features({**inputs, "label": labels})
    sizes = {}
    for name, rows in splits.items():
        columns = {**_columns(rows, content.columns), "label": _indices(rows, content.classes)}
        datasets.Dataset.from_dict(columns, features=schema).save_to_disk(str(folder / name))
        sizes[name] = len(rows.labels)
    meta: dict[str, object] = {"classes": content.classes, "sizes": sizes}
    if content.columns.is_pair:
        meta["has_pairs"] = True
    (folder / _META_FILE).write_text(json.dumps(meta))


def _columns(rows: LabeledRows, columns: Columns) -> dict[str, list[Any]]:
    """Return the inputs as columns of a prepared split."""
    if columns.kind == "image":
        return {"image": [{"bytes": data, "path": None} for data in rows.inputs]}
    if columns.is_pair:
        first, second = ([pair[i] for pair in rows.inputs] for i in range(2))
        return {"text": first, "text_pair": second}
    return {"text": rows.inputs}


def _texts(content: Content) -> list[str]:
    """Return the texts of all rows; those of a pair as one."""
    inputs = [value for rows in content.splits.values() for value in rows.inputs]
    return [" ".join(value) for value in inputs] if content.columns.is_pair else inputs
