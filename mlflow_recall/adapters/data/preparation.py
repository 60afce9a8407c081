"""A dataset specification -> train, validation and test split, fixed by a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_recall.adapters.data.labeled_rows import LabeledRows, read_labeled_rows
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.cache import build_once, cache_folder, is_digest
from mlflow_recall.core.arrays import IntArray
from mlflow_recall.core.history.records import Dataset

#: share of each class in a split that the source does not have
_SPLIT_SHARE = 0.2
#: classes with fewer rows are not split
_MIN_ROWS_TO_SPLIT = 3
_META_FILE = "recall.json"


def prepare(spec: DatasetSpec) -> Dataset:
    """Read, check, split and save a dataset where workers can load it.

    A second call returns the saved copy.

    Raises:
        DatasetError: It cannot be read, lacks a column, or is no classification problem.
    """
    content, classes = read_labeled_rows(spec)
    digest = _digest(content, classes, spec.seed)

    def save(folder: Path) -> None:
        _save(folder, content, classes, spec.seed)

    folder = build_once(cache_folder("datasets", digest), save)
    meta = json.loads((folder / _META_FILE).read_text())
    return Dataset(
        name=spec.title,
        digest=digest,
        modality=content["train"].kind,
        classes=tuple(meta["classes"]),
        sizes=meta["sizes"],
        source=spec.origin or str(spec.path),
        folder=str(folder),
        spec=spec.to_json(),
    )


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
    meta = json.loads((folder / _META_FILE).read_text())
    classes = tuple(meta["classes"])
    return Dataset(
        name=name,
        digest=digest,
        modality=modality,
        classes=classes,
        sizes=meta["sizes"],
        source="",
        folder=str(folder),
    )


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


def _digest(content: Mapping[str, LabeledRows], classes: tuple[str, ...], seed: int) -> str:
    """Return 16 characters that change with any row, label, declared split and with the seed."""
    state = hashlib.sha256(json.dumps([classes, seed]).encode())
    for split in sorted(content):
        state.update(f"\0{split}\0".encode())
        for value, label in zip(content[split].inputs, content[split].labels, strict=True):
            state.update(value if isinstance(value, bytes) else value.encode())
            state.update(f"\0{label}\0".encode())
    return state.hexdigest()[:16]


def _save(
    folder: Path, content: Mapping[str, LabeledRows], classes: tuple[str, ...], seed: int
) -> None:
    """Complete the splits, and write each as an Arrow folder and the meta file last."""
    import datasets

    index = {name: i for i, name in enumerate(classes)}
    declared = {
        split: (rows.inputs, np.array([index[name] for name in rows.labels], dtype=np.intp))
        for split, rows in content.items()
    }
    kind = content["train"].kind
    feature = datasets.Image() if kind == "image" else datasets.Value("string")
    schema = datasets.Features({kind: feature, "label": datasets.ClassLabel(names=list(classes))})
    sizes = {}
    for split, (inputs, labels) in complete_splits(declared, seed).items():
        values = [{"bytes": data, "path": None} for data in inputs] if kind == "image" else inputs
        rows = datasets.Dataset.from_dict({kind: values, "label": labels}, features=schema)
        rows.save_to_disk(str(folder / split))
        sizes[split] = len(rows)
    (folder / _META_FILE).write_text(json.dumps({"classes": classes, "sizes": sizes}))


def complete_splits(
    declared: Mapping[str, tuple[list[Any], IntArray]], seed: int
) -> dict[str, tuple[list[Any], IntArray]]:
    """Return all splits; each missing one is a fifth of every class of train.

    A class with fewer than three rows stays in train as a whole.

    Args:
        declared: Inputs and labels of the splits that exist; train is one of them.
        seed: Decides which rows are moved.
    """
    splits = dict(declared)
    rng = np.random.default_rng(seed)
    for name in ("test", "validation"):
        if name in splits:
            continue
        inputs, labels = splits["train"]
        is_moved = np.zeros(len(labels), dtype=bool)
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            count = max(1, round(_SPLIT_SHARE * len(rows)))
            if len(rows) >= _MIN_ROWS_TO_SPLIT:
                is_moved[rows[:count]] = True
        splits[name] = _select_rows(inputs, labels, is_moved)
        splits["train"] = _select_rows(inputs, labels, ~is_moved)
    return splits


def _select_rows(inputs: list[Any], labels: IntArray, mask: Any) -> tuple[list[Any], IntArray]:
    return [value for value, keep in zip(inputs, mask, strict=True) if keep], labels[mask]
