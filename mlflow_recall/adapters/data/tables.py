"""Rows of a dataset as their source says them, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow_recall.core.dataset_account import LeftOut


class RowLeftOut(Exception):  # noqa: N818 - a row that is not used, not a mistake
    """A row has no input, no label or no split; the message is the reason."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """The rows of one split, column by column."""

    #: column -> n values
    columns: Mapping[str, Sequence[Any]]
    #: columns that can be the text, the likely ones: no numbers
    texts: tuple[str, ...]
    #: columns of encoded images
    images: tuple[str, ...] = ()
    #: column -> names of its classes, where the source declares them and holds their indices
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: folder whose files the image cells may name; None: they hold their bytes
    folder: Path | None = None
    #: place of a row for people
    place: Callable[[int], str] = lambda row: f"row {row + 1}"

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), ()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """All that a source holds."""

    #: name of a split in the source -> its rows
    tables: Mapping[str, Table]
    left_out: LeftOut = field(default_factory=LeftOut)
    #: how it was read where that was decided and not said, for people
    reading: tuple[str, ...] = ()
    #: what one row is called: ``row`` or ``file``
    unit: str = "row"
    #: class without any row -> why
    classes_left_out: Mapping[str, str] = field(default_factory=dict)
