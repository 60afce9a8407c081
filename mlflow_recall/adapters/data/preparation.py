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
from mlflow_recall.adapters.data.splits import SPLITS, cut_counts, cut_splits, strata
from mlflow_recall.adapters.data.targets import names_in
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.known_datasets import with_known_columns
from mlflow_recall.bounded_json import read_object
from mlflow_recall.cache import build_once, cache_folder, is_digest
from mlflow_recall.core.arrays import AnyArray, IntArray
from mlflow_recall.core.dataset_account import (
    MIN_ROWS_TO_SPLIT,
    DatasetAccount,
    count_duplicates,
    find_warnings,
)
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.metrics import check_target_metric
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS
from mlflow_recall.errors import ConfigError, DatasetError

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
        DatasetError: It cannot be read, lacks a column, its labels are none of a task, or it has
            too few different inputs for the splits that it lacks.
    """
    content, splits, account = _read(spec)
    check_splits(spec, account)
    digest = _digest(content, spec.seed)

    def save(folder: Path) -> None:
        _save(folder, content, splits)

    folder = build_once(cache_folder("datasets", digest), save)
    dataset = Dataset(
        name=spec.title,
        digest=digest,
        modality=content.columns.kind,
        source=spec.origin or str(spec.path),
        folder=str(folder),
        spec=spec.to_json(),
        own_metric=with_known_columns(spec).metric,
        account=account,
        **_read_meta(folder)._asdict(),
    )
    try:
        check_target_metric(dataset.metric, dataset.target)
    except ConfigError as error:
        raise DatasetError(f"{spec.title}: {error}") from None
    return dataset


def check_splits(spec: DatasetSpec, account: DatasetAccount) -> None:
    """Refuse a dataset that has too few different inputs to cut a split from.

    Raises:
        DatasetError: A split has no row.
    """
    if empty := [name for name, count in account.splits.items() if not count]:
        raise DatasetError(
            f"{spec.title}: expected {MIN_ROWS_TO_SPLIT} different inputs of a class or more, to "
            f"cut a {empty[0]} split from, got fewer among {count_of(account.used, account.unit)}: "
            f"are {' and '.join(account.inputs)!r} and {account.label!r} the right columns?"
        )


def read_account(spec: DatasetSpec) -> DatasetAccount:
    """Return an account of every row of a dataset's source; nothing is saved.

    Raises:
        DatasetError: It cannot be read, lacks a column, or its labels are none of a task.
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
    return Dataset(
        name=name,
        digest=digest,
        modality=modality,
        source="",
        folder=str(folder),
        **_read_meta(folder)._asdict(),
    )


class _Meta(NamedTuple):
    """What a prepared folder says of itself: fields of ``Dataset``."""

    classes: tuple[str, ...]
    sizes: dict[str, int]
    has_pairs: bool
    has_groups: bool
    task: str
    mean: float
    std: float


def _read_meta(folder: Path) -> _Meta:
    """Return what a prepared folder says of itself.

    Raises:
        DatasetError: The file that says it is damaged.
    """
    meta = read_object(folder / _META_FILE, DatasetError)
    classes, sizes = meta.get("classes"), meta.get("sizes")
    task, mean, std = (
        meta.get(name, default)
        for name, default in (("task", CLASSIFICATION), ("mean", 0.0), ("std", 1.0))
    )
    if (
        not isinstance(classes, list)
        or not isinstance(sizes, dict)
        or not all(isinstance(name, str) for name in classes)
        or not all(type(size) is int for size in sizes.values())
        or task not in TASKS
        or not (isinstance(mean, float) and isinstance(std, float) and std > 0)
    ):
        raise DatasetError(
            f"{folder / _META_FILE}: expected classes and sizes, got none: delete its folder, and "
            "the dataset is prepared again"
        )
    return _Meta(
        classes=tuple(classes),
        sizes=sizes,
        has_pairs=meta.get("has_pairs") is True,
        has_groups=meta.get("has_groups") is True,
        task=task,
        mean=mean,
        std=std,
    )


def load_split(dataset: Dataset, split: str, samples: int = 0, seed: int = 0) -> Any:
    """Load one split of a prepared dataset, or a stratified sample of it.

    Args:
        dataset: Dataset that ``prepare`` returned.
        split: ``train``, ``validation`` or ``test``.
        samples: Maximum number of rows; 0: all.
        seed: Seed of the sample.

    Returns:
        A ``datasets.Dataset`` with the columns ``text`` or ``image``, and ``label``: a class index,
        a list of label indices, or a number. An image is a mapping with its encoded ``bytes``,
        which ``decode_image`` decodes.
    """
    import datasets

    rows = datasets.load_from_disk(str(Path(dataset.folder) / split))
    if dataset.modality == "image":
        rows = rows.cast_column("image", datasets.Image(decode=False))
    if not samples or samples >= len(rows):
        return rows
    if dataset.has_groups:
        return rows.select(sample_groups(np.array(rows["group"]), samples, seed))
    return rows.select(stratified_sample(strata(targets_of(rows, dataset)), samples, seed))


def targets_of(rows: Any, dataset: Dataset) -> AnyArray:
    """Return the targets of rows that ``load_split`` returned, as ``compute_metrics`` reads them.

    Returns:
        (n,) class indices, (n, c) zeros and ones of labels, or (n,) numbers.
    """
    return _to_array(rows["label"], dataset.task, len(dataset.classes))


def _to_array(targets: Sequence[Any], task: str, outputs: int) -> AnyArray:
    """Return targets as an array.

    Args:
        targets: n class indices, lists of label indices, or numbers.
        task: Name of the task.
        outputs: Number of classes or labels.
    """
    if task == REGRESSION:
        return np.array(targets, dtype=np.float64)
    if task == CLASSIFICATION:
        return np.array(targets, dtype=np.intp)
    flags = np.zeros((len(targets), outputs), dtype=np.uint8)
    for row, labels in zip(flags, targets, strict=True):
        row[labels] = 1
    return flags


def stratified_sample(labels: IntArray, samples: int, seed: int) -> IntArray:
    """Return the sorted positions of a sample in which every class keeps its share.

    Every class has at least one row in it.

    Args:
        labels: (n,) strata, such as class indices.
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


def sample_groups(groups: IntArray, samples: int, seed: int) -> IntArray:
    """Return the sorted positions of whole groups, drawn until one more would be too many.

    Args:
        groups: (n,) groups of the rows.
        samples: Maximum number of rows, below n; the first group is drawn in any case.
        seed: Decides which groups are drawn.
    """
    _, first, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    count = max(1, int(np.searchsorted(sizes[order].cumsum(), samples, side="right")))
    return np.flatnonzero(np.isin(first, order[:count]))


def _read(spec: DatasetSpec) -> tuple[Content, dict[str, LabeledRows], DatasetAccount]:
    """Return the content of a source, its splits, and the account."""
    content = read_content(spec)
    keys = _input_keys(content)
    together = content.splits["train"].groups or keys["train"]
    splits = _complete_splits(content, together, spec.seed)
    _check_targets(content, splits, spec)
    return content, splits, _account(content, keys, splits, spec.seed)


def _check_targets(content: Content, splits: Mapping[str, LabeledRows], spec: DatasetSpec) -> None:
    """Refuse splits on which no model can be better than another.

    Raises:
        DatasetError: A split has one number alone, or no label, or all rows have the same labels.
    """
    if content.task == CLASSIFICATION:
        return
    what = "numbers" if content.task == REGRESSION else "labels"
    for split, rows in splits.items():
        is_constant = len(set(rows.targets)) == 1
        if content.task == REGRESSION and rows.targets:  # differences may be too small for floats
            is_constant = not _describe_numbers(rows.targets)["std"] > 0
        if is_constant:
            raise DatasetError(
                f"{spec.title}: column {content.columns.label!r}: expected different {what} in the "
                f"{split} split, got {rows.targets[0]!r:.60} in all {len(rows.targets)} rows"
            )


def _complete_splits(
    content: Content, keys: Sequence[Hashable], seed: int
) -> dict[str, LabeledRows]:
    """Return all splits; each missing one is cut from train.

    Args:
        content: All rows.
        keys: Keys of the rows of train; those with equal ones stay together.
        seed: Decides which rows are cut.
    """
    splits = dict(content.splits)
    train = splits["train"]
    missing = [name for name in ("test", "validation") if name not in splits]
    part_of = cut_splits(_strata(content), keys, len(missing), seed)
    for part, name in enumerate(["train", *missing]):
        rows = np.flatnonzero(part_of == part)
        splits[name] = LabeledRows(
            [train.inputs[i] for i in rows],
            [train.targets[i] for i in rows],
            [train.groups[i] for i in rows] if train.groups else [],
        )
    return {name: splits[name] for name in SPLITS}


def _strata(content: Content) -> IntArray:
    """Return the strata of the rows of train."""
    encoded = _encode(content.splits["train"], content)
    return strata(_to_array(encoded, content.task, len(content.classes)))


def _encode(rows: LabeledRows, content: Content) -> list[Any]:
    """Return targets as they are stored: class indices, lists of label indices, or numbers."""
    index = {name: i for i, name in enumerate(content.classes)}
    if content.task == REGRESSION:
        return list(rows.targets)
    if content.task == CLASSIFICATION:
        return [index[str(name)] for name in rows.targets]
    return [sorted(index[name] for name in names_in(target)) for target in rows.targets]


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
    targets = [target for rows in content.splits.values() for target in rows.targets]
    warnings = find_warnings(
        [key for split_keys in keys.values() for key in split_keys],
        targets,
        texts=_texts(content) if content.columns.kind == "text" else None,
    )
    if repeated:
        warnings.append(
            f"duplicates across the given splits ({', '.join(sorted(given))}): {repeated} rows "
            "have an input that also stands in another split: scores on them are too good"
        )
    counts = Counter(name for target in targets for name in names_in(target))
    source = content.source
    return DatasetAccount(
        unit=source.unit,
        task=content.task,
        modality=content.columns.kind,
        inputs=content.columns.inputs,
        label=content.columns.label,
        read=content.read,
        left_out=source.left_out.counts,
        places=source.left_out.places,
        classes={name: counts[name] for name in content.classes},
        numbers=_describe_numbers(targets) if content.task == REGRESSION else {},
        labeled=sum(map(bool, map(names_in, targets))),
        classes_left_out=content.classes_left_out,
        splits={name: len(rows.targets) for name, rows in splits.items()},
        duplicates=count_duplicates(
            {name: [_key(value) for value in rows.inputs] for name, rows in splits_by_row.items()}
        ),
        reading=content.reading,
        warnings=tuple(warnings),
    )


def _describe_numbers(targets: Sequence[Any]) -> dict[str, float]:
    """Return the range, mean and standard deviation of numbers."""
    numbers = np.array(targets, dtype=np.float64)
    return {name: float(getattr(numbers, name)()) for name in ("min", "max", "mean", "std")}


def _digest(content: Content, seed: int) -> str:
    """Return 16 characters that change with any row, label, declared split and with the seed.

    A dataset that is prepared as it was by earlier versions keeps its digest, so that its runs
    remain valid.
    """
    state = hashlib.sha256(json.dumps([content.classes, seed]).encode())
    if content.task != CLASSIFICATION:
        state.update(content.task.encode())
    if len(content.splits) < len(SPLITS) and not _is_cut_as_before(content):
        state.update(_CUT_TOGETHER)
    if content.has_new_look:
        state.update(_NEW_LOOK)
    for split in sorted(content.splits):
        state.update(f"\0{split}\0".encode())
        rows = content.splits[split]
        for value, target in zip(rows.inputs, rows.targets, strict=True):
            state.update(_to_bytes(value))
            state.update(f"\0{target}\0".encode())
        if rows.groups:
            state.update(json.dumps(rows.groups).encode())
    return state.hexdigest()[:16]


def _is_cut_as_before(content: Content) -> bool:
    """Return whether earlier versions cut the same rows: class by class, and one split after all.

    They did where one split is missing, no input is repeated, and rounding by class changes
    nothing.
    """
    train = content.splits["train"]
    sizes = np.bincount(_strata(content))
    by_class = np.where(sizes >= MIN_ROWS_TO_SPLIT, np.maximum(1, np.round(sizes / 5)), 0)
    return (
        content.task == CLASSIFICATION
        and len(content.splits) == len(SPLITS) - 1
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
    label: Any = datasets.Value("float64")
    if content.task != REGRESSION:
        label = datasets.ClassLabel(names=list(content.classes))
    if content.task == MULTILABEL:
        label = datasets.Sequence(label)
    inputs = dict.fromkeys(_columns(LabeledRows([], []), content.columns), feature)
    groups = {"group": datasets.Value("int64")} if content.columns.group else {}
    schema = datasets.Features({**inputs, "label": label, **groups})
    sizes = {}
    for name, rows in splits.items():
        columns = {**_columns(rows, content.columns), "label": _encode(rows, content)}
        if groups:
            columns["group"] = rows.groups
        datasets.Dataset.from_dict(columns, features=schema).save_to_disk(str(folder / name))
        sizes[name] = len(rows.targets)
    meta: dict[str, object] = {"classes": content.classes, "sizes": sizes}
    if content.columns.is_pair:
        meta["has_pairs"] = True
    if groups:
        meta["has_groups"] = True
    if content.task != CLASSIFICATION:
        meta["task"] = content.task
    if content.task == REGRESSION:
        numbers = _describe_numbers(splits["train"].targets)
        meta |= {"mean": numbers["mean"], "std": numbers["std"]}
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
