"""A dataset specification -> train, validation and test split, fixed by a seed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mlflow_recall.cache import cache_folder, made_once
from mlflow_recall.core.arrays import IntArray
from mlflow_recall.core.records import Dataset
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
#: share of each class that goes to a split which nobody gave
_SHARE = 0.2
_META = "recall.json"


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and which columns matter; empty columns are guessed."""

    #: hub id, file, image folder, or folder written by ``Dataset.save_to_disk``
    path: str
    name: str = ""
    #: configuration of a hub dataset
    config: str = ""
    text: str = ""
    image: str = ""
    label: str = ""
    #: column that names each row's split
    split: str = "split"
    #: of the splits that are not given
    seed: int = 0
    licence: str = ""
    origin: str = ""

    @classmethod
    def read(cls, entry: Mapping[str, Any], where: str, folder: Path) -> DatasetSpec:
        """One entry of a benchmark file; a path that exists beside the file is relative to it.

        Raises:
            DatasetError: unknown keys, no path, or a seed that is no integer.
        """
        known = {field.name for field in fields(cls)}
        if extra := set(entry) - known:
            raise DatasetError(
                f"{where}: unknown key {min(extra)!r}: expected some of {', '.join(sorted(known))}"
            )
        if not entry.get("path"):
            raise DatasetError(f"{where}: expected a path or hub id under 'path', got none")
        beside = folder / str(entry["path"])
        path = str(beside) if beside.exists() else str(entry["path"])
        texts = {k: str(v) for k, v in entry.items() if k != "seed" and v is not None}
        seed = entry.get("seed") or 0
        try:
            return cls(**{**texts, "path": path}, seed=int(seed))
        except (TypeError, ValueError):
            raise DatasetError(f"{where}: seed: expected an integer, got {seed!r}") from None

    def to_json(self) -> str:
        """What ``read`` needs to make it again, wherever the process stands then."""
        path = Path(self.path).expanduser()
        told = {**vars(self), "path": str(path.resolve()) if path.exists() else self.path}
        kept = {key: value for key, value in told.items() if value not in ("", 0)}
        return json.dumps(kept, sort_keys=True)

    @property
    def title(self) -> str:
        """``name``, or else what the path is called."""
        if self.name:
            return self.name
        local = Path(self.path)
        stem = local.stem if local.exists() else self.path.strip("/").replace("/", "--")
        return f"{stem}--{self.config}" if self.config else stem


def prepare(spec: DatasetSpec) -> Dataset:
    """Read, check, split and save a dataset where workers find it; a second call finds it there.

    Raises:
        DatasetError: it cannot be read, lacks a column, or is no classification problem.
    """
    splits = _load(spec)
    splits = _declared_splits(splits, spec)
    columns = next(iter(splits.values())).column_names
    kind, inputs = _input_column(splits, spec, columns)
    label = _label_column(spec, columns, inputs)
    content = {name: _rows(split, kind, inputs, label, spec) for name, split in splits.items()}
    content = {name: rows for name, rows in content.items() if len(rows.labels)}
    if "train" not in content:
        raise DatasetError(f"{spec.title}: expected labelled rows to train on, got none")
    classes = _classes(content, spec)
    digest = _digest(content, classes, spec.seed)

    def save(folder: Path) -> None:
        _save(folder, content, classes, spec.seed)

    folder = made_once(cache_folder("datasets", digest), save)
    meta = json.loads((folder / _META).read_text())
    return Dataset(
        name=spec.title,
        digest=digest,
        modality=kind,
        classes=tuple(meta["classes"]),
        sizes=meta["sizes"],
        source=spec.origin or str(spec.path),
        folder=str(folder),
        spec=spec.to_json(),
    )


def prepared(name: str, digest: str, modality: str) -> Dataset | None:
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
    return Dataset(name, digest, modality, classes, meta["sizes"], "", str(folder))


def split_of(dataset: Dataset, split: str, samples: int = 0, seed: int = 0) -> Any:
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
    return rows.select(stratified(np.array(rows["label"]), samples, seed))


def stratified(labels: IntArray, samples: int, seed: int) -> IntArray:
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


@dataclass(frozen=True, eq=False)
class _Rows:
    """Inputs (strings, or encoded images) with the names of their classes."""

    inputs: list[Any]
    labels: list[str]
    kind: str


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


def _rows(split: Any, kind: str, inputs: str, label: str, spec: DatasetSpec) -> _Rows:
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
    return _Rows([_content(v) for v, _ in pairs], [name for _, name in pairs], kind)


def _label_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _content(value: Any) -> Any:
    """A text, or the bytes of an image."""
    if isinstance(value, dict):
        return value["bytes"] if value.get("bytes") else Path(value["path"]).read_bytes()
    return value


def _classes(content: Mapping[str, _Rows], spec: DatasetSpec) -> tuple[str, ...]:
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


def _digest(content: Mapping[str, _Rows], classes: tuple[str, ...], seed: int) -> str:
    """Sixteen characters that change when a row, a label, a given split or the seed does."""
    state = hashlib.sha256(json.dumps([classes, seed]).encode())
    for split in sorted(content):
        state.update(f"\0{split}\0".encode())
        for value, label in zip(content[split].inputs, content[split].labels, strict=True):
            state.update(value if isinstance(value, bytes) else value.encode())
            state.update(f"\0{label}\0".encode())
    return state.hexdigest()[:16]


def _save(folder: Path, content: Mapping[str, _Rows], classes: tuple[str, ...], seed: int) -> None:
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
    for split, (inputs, labels) in complete(given, seed).items():
        values = [{"bytes": v, "path": None} for v in inputs] if kind == "image" else inputs
        rows = datasets.Dataset.from_dict({kind: values, "label": labels}, features=schema)
        rows.save_to_disk(str(folder / split))
        sizes[split] = len(rows)
    (folder / _META).write_text(json.dumps({"classes": classes, "sizes": sizes}))


def complete(
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


def decode(image: Any) -> Any:
    """An RGB picture, whatever ``datasets`` handed out."""
    from PIL import Image

    picture = Image.open(io.BytesIO(image["bytes"])) if isinstance(image, dict) else image
    return picture.convert("RGB")
