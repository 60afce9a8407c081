"""A dataset specification -> train, validation and test split, fixed by a seed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_recall.adapters.data.labeled_rows import LabeledRows, read_labeled_rows
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.cache import build_once, cache_folder
from mlflow_recall.core.arrays import IntArray
from mlflow_recall.core.history.records import Dataset

#: share of each class that goes to a split which nobody gave
_SHARE = 0.2
_META = "recall.json"


def prepare(spec: DatasetSpec) -> Dataset:
    """Read, check, split and save a dataset where workers find it; a second call finds it there.

    Raises:
        DatasetError: it cannot be read, lacks a column, or is no classification problem.
    """
    content, classes = read_labeled_rows(spec)
    digest = _digest(content, classes, spec.seed)

    def save(folder: Path) -> None:
        _save(folder, content, classes, spec.seed)

    folder = build_once(cache_folder("datasets", digest), save)
    meta = json.loads((folder / _META).read_text())
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
    """What an earlier ``prepare`` left of a dataset on this machine; None: nothing.

    Args:
        name: what to call it.
        digest: as the earlier call gave it.
        modality: ``text`` or ``image``.
    """
    folder = cache_folder("datasets", digest)
    if not digest or not (folder / _META).exists():
        return None
    meta = json.loads((folder / _META).read_text())
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
    """One split of a prepared dataset, or a seeded, stratified sample of it.

    Args:
        dataset: as ``prepare`` returned it.
        split: ``train``, ``validation`` or ``test``.
        samples: at most so many rows; 0: all.
        seed: of the sample.

    Returns:
        A ``datasets.Dataset`` with the columns ``text`` or ``image``, and ``label``.
    """
    import datasets

    rows = datasets.load_from_disk(str(Path(dataset.folder) / split))
    if not samples or samples >= len(rows):
        return rows
    return rows.select(stratified_sample(np.array(rows["label"]), samples, seed))


def stratified_sample(labels: IntArray, samples: int, seed: int) -> IntArray:
    """Sorted positions of a sample in which every class keeps its share, and at least one place.

    Args:
        labels: (n,) class indices.
        samples: size of the sample, below n.
        seed: decides which rows of a class are taken.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels))
    for value in np.unique(labels):
        mine = shuffled[labels[shuffled] == value]
        # the i-th of a class of n stands at (i + 1/2) / n: taking the lowest keeps all shares
        rank[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
        rank[mine[0]] = -1.0
    return np.sort(np.lexsort((shuffled.argsort(), rank))[:samples])


def _digest(content: Mapping[str, LabeledRows], classes: tuple[str, ...], seed: int) -> str:
    """Sixteen characters that change when a row, a label, a given split or the seed does."""
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
    """Complete the splits and write each as an Arrow folder, the meta file last."""
    import datasets

    index = {name: i for i, name in enumerate(classes)}
    given = {
        split: (rows.inputs, np.array([index[name] for name in rows.labels], dtype=np.intp))
        for split, rows in content.items()
    }
    kind = content["train"].kind
    feature = datasets.Image() if kind == "image" else datasets.Value("string")
    schema = datasets.Features({kind: feature, "label": datasets.ClassLabel(names=list(classes))})
    sizes = {}
    for split, (inputs, labels) in complete_splits(given, seed).items():
        values = [{"bytes": v, "path": None} for v in inputs] if kind == "image" else inputs
        rows = datasets.Dataset.from_dict({kind: values, "label": labels}, features=schema)
        rows.save_to_disk(str(folder / split))
        sizes[split] = len(rows)
    (folder / _META).write_text(json.dumps({"classes": classes, "sizes": sizes}))


def complete_splits(
    given: Mapping[str, tuple[list[Any], IntArray]], seed: int
) -> dict[str, tuple[list[Any], IntArray]]:
    """Cut the missing splits from train, a fifth of every class each.

    A class with fewer than three rows stays whole in train.

    Args:
        given: inputs and labels of the splits that exist; train among them.
        seed: decides which rows are cut.
    """
    splits = dict(given)
    rng = np.random.default_rng(seed)
    for name in ("test", "validation"):
        if name in splits:
            continue
        inputs, labels = splits["train"]
        taken = np.zeros(len(labels), dtype=bool)
        for value in np.unique(labels):
            mine = rng.permutation(np.flatnonzero(labels == value))
            share = max(1, round(_SHARE * len(mine))) if len(mine) >= 3 else 0
            taken[mine[:share]] = True
        splits[name] = _pick(inputs, labels, taken)
        splits["train"] = _pick(inputs, labels, ~taken)
    return splits


def _pick(inputs: list[Any], labels: IntArray, mask: Any) -> tuple[list[Any], IntArray]:
    return [v for v, yes in zip(inputs, mask, strict=True) if yes], labels[mask]


def decode_image(image: Any) -> Any:
    """An RGB picture, whatever ``datasets`` handed out."""
    from PIL import Image

    picture = Image.open(io.BytesIO(image["bytes"])) if isinstance(image, dict) else image
    return picture.convert("RGB")
