"""The task that a label column asks, and how its cells are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias

from mlflow_recall.adapters.data.labels import (
    HIDDEN_LABEL,
    NO_LABEL,
    NUMBER,
    class_name,
    is_hidden_flag,
    looks_like_list,
    read_flag,
    read_label_list,
    read_number,
    split_label_list,
)
from mlflow_recall.adapters.data.tables import RowLeftOut, Table
from mlflow_recall.core.dataset_account import LABEL_DELIMITERS
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.tasks import CLASSIFICATION, MULTILABEL, REGRESSION
from mlflow_recall.errors import DatasetError

#: a class, labels, or a number
RowTarget: TypeAlias = "str | tuple[str, ...] | float"

#: what stands between the labels where every cell has one label
_NOTHING = "\n"


@dataclass(frozen=True, kw_only=True)
class TargetReader:
    """How the label cells of a dataset are read."""

    task: str
    #: cells of a row, one for each label column -> its target; raises ``RowLeftOut`` and
    #: ``DatasetError``
    read: Callable[[Sequence[Any]], RowTarget]
    #: what was decided and not said, for people
    reading: tuple[str, ...] = ()


def names_in(target: RowTarget) -> tuple[str, ...]:
    """Return the classes or labels of a row; none for a number."""
    if isinstance(target, float):
        return ()
    return (target,) if isinstance(target, str) else target


def make_reader(
    tables: Iterable[Table],
    labels: Sequence[str],
    *,
    task: str,
    are_letters: bool,
    hidden: float | None = None,
) -> TargetReader:
    """Return how the label columns of a dataset are read.

    Args:
        tables: Its rows.
        labels: Names of the label columns.
        task: Name of the task; empty: it is found out.
        are_letters: Whether cells are texts, numbers too.
        hidden: Number that stands for a label that is not told; None: none does.

    Raises:
        DatasetError: The cells are of several kinds, or the task needs others.
    """
    tables = list(tables)
    if len(labels) > 1:
        if task not in ("", MULTILABEL):
            raise DatasetError(
                f"expected one label column of a {task}, got {join_names(labels)}: several are "
                "the labels of --task multilabel"
            )
        return TargetReader(task=MULTILABEL, read=partial(_read_flags, names=tuple(labels)))
    (label,) = labels
    declared = next((t.class_names[label] for t in tables if label in t.class_names), None)
    cells = [cell for table in tables for cell in table.columns[label]]
    reading: tuple[str, ...] = ()
    if not task:
        places = [(table, i) for table in tables for i in range(len(table))]
        task = infer_task(
            cells,
            are_letters=are_letters,
            has_classes=declared is not None,
            place=lambda i: places[i][0].place(places[i][1]),
        )
        reading = (f"task {task}",) if task != CLASSIFICATION else ()
    if task == REGRESSION:
        return TargetReader(task=task, read=partial(_read_number, hidden=hidden), reading=reading)
    if task == MULTILABEL:
        return _label_reader(cells, declared, are_letters=are_letters, reading=reading)
    return TargetReader(task=task, read=lambda row: class_name(row[0], declared), reading=reading)


def infer_task(
    cells: Iterable[object],
    *,
    are_letters: bool,
    has_classes: bool = False,
    place: Callable[[int], str] = lambda i: f"row {i + 1}",
) -> str:
    """Return the task that the cells of a label column ask.

    Lists ask for labels, and numbers with a fraction for a regression; all else are classes.

    Args:
        cells: Content of the cells; those without a label say nothing.
        are_letters: Whether cells are texts, numbers too.
        has_classes: Whether the source declares the names of classes or labels.
        place: Place of a cell for people.

    Raises:
        DatasetError: Some cells are lists or fractions, and others are something else.

    Example:
        >>> infer_task([1.5, 2, None], are_letters=False)
        'regression'
    """
    first: dict[str, tuple[object, int]] = {}
    for i, cell in enumerate(cells):
        kind = _kind(cell, are_letters=are_letters)
        if has_classes and kind not in ("none", "list"):
            return CLASSIFICATION
        first.setdefault(kind, (cell, i))
    first.pop("none", None)
    if "fraction" in first:
        first.pop("integer", None)
    if "fraction" in first or "text" in first:  # in a text file, a class may have any name
        first.pop("digits", None)
    if len(first) > 1:
        (one, i), (other, j) = sorted(first.values(), key=lambda found: found[1])[:2]
        raise DatasetError(
            f"expected labels of one kind, got {one!r:.60} in {place(i)} and {other!r:.60} in "
            f"{place(j)}: mend the rows, or say what they are with --task"
        )
    if "list" in first:
        return MULTILABEL
    return REGRESSION if "fraction" in first else CLASSIFICATION


def _kind(cell: object, *, are_letters: bool) -> str:
    if cell is None or cell == "" or cell != cell:
        return "none"
    if isinstance(cell, list | tuple | set):
        return "list"
    if isinstance(cell, str):
        if are_letters and NUMBER.fullmatch(cell.strip()):
            return "digits" if float(cell).is_integer() else "fraction"
        return "text"
    if isinstance(cell, Decimal):
        return "integer" if cell == cell.to_integral_value() else "fraction"
    if isinstance(cell, float):
        return "integer" if cell.is_integer() or abs(cell) == float("inf") else "fraction"
    return "integer" if isinstance(cell, int) else "other"


def _read_flags(row: Sequence[object], names: Sequence[str]) -> tuple[str, ...]:
    if all(map(is_hidden_flag, row)):
        raise RowLeftOut(HIDDEN_LABEL)
    labels = []
    for name, cell in zip(names, row, strict=True):
        try:
            if read_flag(cell):
                labels.append(name)
        except DatasetError as error:
            raise DatasetError(f"{name!r}: {error}") from None
    return tuple(labels)


def _read_number(row: Sequence[object], hidden: float | None) -> float:
    number = read_number(row[0])
    if hidden is not None and number == hidden:
        raise RowLeftOut(HIDDEN_LABEL)
    return number


def _label_reader(
    cells: Sequence[object],
    declared: Sequence[str] | None,
    *,
    are_letters: bool,
    reading: tuple[str, ...],
) -> TargetReader:
    """Return how a column of lists, or of texts that stand for lists, is read.

    Raises:
        DatasetError: They are zeros and ones of which nothing says which labels they are.
    """
    read: Callable[[Any], Any] = _as_is
    if are_letters:
        texts = [str(cell) for cell in cells]
        delimiter = _find_delimiter(texts)
        read = partial(split_label_list, delimiter=delimiter)
        if delimiter != _NOTHING:
            what = "as lists" if delimiter == "[" else f"separated by {delimiter!r}"
            reading = (*reading, f"labels {what}")
    lists = [items for cell in cells if isinstance(items := _try(read, cell), list | tuple)]
    length = _vector_length(lists) if declared is None else None
    if length is None:
        return TargetReader(
            task=MULTILABEL,
            read=lambda row: read_label_list(read(row[0]), declared),
            reading=reading,
        )
    return TargetReader(
        task=MULTILABEL,
        read=lambda row: _read_vector(read(row[0]), length),
        reading=(*reading, f"labels are vectors of {length} zeros and ones"),
    )


def _as_is(cell: object) -> object:
    return cell


def _try(read: Callable[[Any], Any], cell: object) -> object:
    """Return what a cell says; None where it is damaged, which its row will tell."""
    try:
        return read(cell)
    except DatasetError:
        return None


def _find_delimiter(cells: Sequence[str]) -> str:
    """Return what stands between labels: ``[`` for lists; a line break where nothing does.

    Raises:
        DatasetError: Several characters may.
    """
    if any(map(looks_like_list, cells)):
        return "["
    used = [mark for mark in LABEL_DELIMITERS if any(mark in text for text in cells)]
    if len(used) > 1:
        raise DatasetError(
            f"expected one character between labels, got {' and '.join(map(repr, used))}: write "
            "them as lists such as ['a', 'b']"
        )
    return used[0] if used else _NOTHING


def _vector_length(lists: Sequence[Sequence[object]]) -> int | None:
    """Return the length of vectors of zeros and ones, one place for each label; None: names.

    One of them repeats a value, as no list of distinct labels does.

    Raises:
        DatasetError: Zeros and ones stand alone, or vectors have several lengths.
    """
    filled = [items for items in lists if items]
    values = [value for items in filled for value in items]
    if not values or not all(str(value) in ("0", "1", "0.0", "1.0") for value in values):
        return None
    lengths = sorted({len(items) for items in filled})
    if lengths == [1]:
        raise DatasetError(
            "expected names of labels, got zeros and ones alone: name all columns of labels with "
            "--label FIRST,SECOND,..., or use --task classification"
        )
    if not any(len({str(value) for value in items}) < len(items) for items in filled):
        return None
    if len(lengths) > 1:
        raise DatasetError(
            f"expected vectors of zeros and ones of one length, got {lengths[0]} and {lengths[-1]}"
        )
    return lengths[0]


def _read_vector(cell: object, length: int) -> tuple[str, ...]:
    if cell is None or cell == []:
        raise RowLeftOut(NO_LABEL)
    if not isinstance(cell, list | tuple) or len(cell) != length:
        raise DatasetError(f"expected a vector of {length} zeros and ones, got {cell!r:.60}")
    return tuple(str(i) for i, value in enumerate(cell) if float(value))
