"""Labeled rows -> train, validation and test, drawn by a fixed seed and written as plain files.

Rows that are too alike to stand on both sides of a split name a group; a group stands on one side
only.
"""

from __future__ import annotations

import csv
import hashlib
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

SEED = 0
#: rows of every dataset that has as many
SIZES = {"train": 500, "validation": 300, "test": 300}


class Row(NamedTuple):
    """One text, pair of texts, or picture as the bytes of a PNG file, with what is asked of it."""

    content: str | tuple[str, str] | bytes
    #: a class, a number, or labels
    label: str | float | tuple[str, ...]
    group: str = ""

    @property
    def key(self) -> str:
        """A key that is equal for rows that are the same to a model."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        return "\0".join(self.texts).casefold()

    @property
    def texts(self) -> tuple[str, ...]:
        """The text or the pair, whitespace collapsed."""
        if isinstance(self.content, bytes):
            return ()
        texts = (self.content,) if isinstance(self.content, str) else self.content
        return tuple(" ".join(text.split()) for text in texts)

    @property
    def stratum(self) -> str:
        """The class, which is drawn evenly; numbers and labels are drawn as they come."""
        return self.label if isinstance(self.label, str) else ""

    @property
    def cell(self) -> str | float:
        """The label as a cell of a CSV file."""
        return "|".join(self.label) if isinstance(self.label, tuple) else self.label


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A labeled dataset: its license and origin, and the function that reads its rows."""

    license: str
    origin: str
    #: folder of the packages -> the rows
    read: Callable[[Path], Iterable[Row]]
    #: whether it is a target: its records judge a selection, which never reads them
    target: bool = False
    #: whether it ships as it was drawn once, because its source changes from month to month
    frozen: bool = False
    #: columns of the texts, two for sentence pairs
    texts: tuple[str, ...] = ("text",)
    #: its task, where the cells do not say it
    task: str = ""


def draw(rows: Iterable[Row], sizes: Mapping[str, int]) -> list[tuple[Row, str]]:
    """Return at most `sizes` rows, each with its split, classes as even as the rows allow.

    A group stands on one side of the split only, and gives a second row only where rows of
    other groups run out.
    """
    rng = np.random.default_rng(SEED)
    groups = sorted(_groups(rows).values())
    groups = [groups[i] for i in rng.permutation(len(groups))]
    groups.sort(key=lambda group: group[0].stratum)  # every split gets rows of every label
    unit = math.gcd(*sizes.values())
    hand = rng.permutation([split for split, size in sizes.items() for _ in range(size // unit)])
    pools: dict[str, list[tuple[int, Row]]] = {split: [] for split in sizes}
    for group, split in zip(groups, cycle(hand.tolist()), strict=False):
        order = rng.permutation(len(group))
        pools[split] += [(turn, group[i]) for turn, i in enumerate(order)]
    return [(row, split) for split, size in sizes.items() for row in _even(pools[split], size, rng)]


def _groups(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the distinct rows by group, without those that have two labels."""
    labels = defaultdict(set)
    distinct: dict[str, Row] = {}
    for row in rows:
        if isinstance(row.content, str):
            row = row._replace(content=row.texts[0])
        labels[row.key].add(row.label)
        distinct.setdefault(row.key, row._replace(group=row.group or row.key))
    groups = defaultdict(list)
    for key, row in sorted(distinct.items()):
        if len(labels[key]) == 1:
            groups[row.group].append(row)
    return groups


def _even(pool: list[tuple[int, Row]], size: int, rng: np.random.Generator) -> list[Row]:
    """Return at most `size` rows, labels as even as possible, those of a low turn first."""
    ranked = []
    by_turn = sorted((turn, rng.random(), row) for turn, row in pool)
    ranks: Counter[str] = Counter()
    for _, chance, row in by_turn:
        ranked.append((ranks[row.stratum], chance, row))
        ranks[row.stratum] += 1
    picked = sorted(ranked)[:size]
    return [picked[i][-1] for i in rng.permutation(len(picked))]


def write_texts(
    rows: Iterable[Row],
    sizes: Mapping[str, int],
    file: Path,
    columns: Sequence[str] = ("text",),
) -> int:
    """Draw `rows` into a CSV file of the columns of texts, label and split; return how many."""
    drawn = draw(rows, sizes)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*columns, "label", "split"))
        writer.writerows((*row.texts, row.cell, split) for row, split in drawn)
    return len(drawn)


def write_images(rows: Iterable[Row], sizes: Mapping[str, int], folder: Path) -> int:
    """Draw `rows` into `folder/<split>/<label>/<number>.png`; return how many."""
    drawn = draw(rows, sizes)
    shutil.rmtree(folder, ignore_errors=True)
    for number, (row, split) in enumerate(drawn):
        file = folder / split / str(row.label) / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cast(bytes, row.content))
    return len(drawn)


def pack_images(folder: Path, file: Path) -> int:
    """Write a Parquet file with the pictures, labels and splits of a folder; return its rows.

    The order is that of the folder, so that both are the same dataset.
    """
    import datasets

    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder))
    columns: dict[str, list[object]] = {"image": [], "label": [], "split": []}
    for split, rows in loaded.items():
        names = rows.features["label"].names
        for row in rows.cast_column("image", datasets.Image(decode=False)):
            content = row["image"]["bytes"] or Path(row["image"]["path"]).read_bytes()
            columns["image"].append({"bytes": content, "path": None})
            columns["label"].append(names[row["label"]])
            columns["split"].append(str(split))
    text = datasets.Value("string")
    schema = datasets.Features({"image": datasets.Image(), "label": text, "split": text})
    datasets.Dataset.from_dict(columns, features=schema).to_parquet(str(file))
    return len(columns["label"])
