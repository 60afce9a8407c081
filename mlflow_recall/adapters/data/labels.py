"""What the cell of a label column says: a class, labels or a number, or why there is none."""

from __future__ import annotations

import ast
import datetime
import decimal
import math
import re
from collections.abc import Iterable, Sequence

from mlflow_recall.adapters.data.tables import RowLeftOut
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_CLASS_NAME, MAX_NUMBER_LENGTH

#: reasons
NO_LABEL = "no label"
HIDDEN_LABEL = "hidden label (-1)"
#: what the hub writes for labels that only the judges of a competition know
_HIDDEN = -1
#: a number as a text file writes it
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
#: whose square is finite
_LARGEST_NUMBER = 1e100
#: what a column of zeros and ones says, in lower case
_FLAGS = {
    **dict.fromkeys(("1", "1.0", "true"), True), **dict.fromkeys(("0", "0.0", "false"), False)
}  # fmt: skip
_INTEGER = re.compile(r"-?[0-9]{1,18}")
#: types whose text is a name
_NAMED_TYPES = (
    str, int, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta,
)  # fmt: skip


def class_name(value: object, declared: Sequence[str] | None = None) -> str:
    """Return the class that a cell names.

    Texts are names letter by letter. Integral floats are integers: a column of integers with a gap
    is one of floats.

    Args:
        value: Content of the cell.
        declared: Names of the classes, where the source declares them and cells are indices.

    Raises:
        RowLeftOut: The row has no label.
        DatasetError: The cell cannot be the name of a class; the message says what it is.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise RowLeftOut(NO_LABEL)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DatasetError(f"expected a class, got {value}")
        if not value.is_integer():
            raise DatasetError(f"expected a class, got the fraction {value}")
        value = int(value)
    if declared is not None and not isinstance(value, str):
        return _declared_name(value, declared)
    if isinstance(value, list | tuple | set):
        raise DatasetError("expected one class, got a list: labels of a row need --task multilabel")
    if not isinstance(value, _NAMED_TYPES):
        raise DatasetError(f"expected a class, got {type(value).__name__}")
    return _checked(str(value))


def _declared_name(value: object, declared: Sequence[str]) -> str:
    if value == _HIDDEN:
        raise RowLeftOut(HIDDEN_LABEL)
    if not isinstance(value, int) or not 0 <= value < len(declared):
        raise DatasetError(f"expected an index below {len(declared)}, got {value!r}")
    return _checked(declared[value])


def _checked(name: str) -> str:
    if len(name) > MAX_CLASS_NAME:
        raise DatasetError(
            f"expected names of classes of at most {MAX_CLASS_NAME} characters, got one of "
            f"{len(name)}: is that column really the label?"
        )
    if not is_unicode(name):
        raise DatasetError(f"expected a class, got a text that is not Unicode: {name!r}")
    return name


def is_unicode(text: str) -> bool:
    """Return whether a text can be written: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_number(value: object) -> float:
    """Return the number of a cell, which a text file writes with a decimal point.

    Raises:
        RowLeftOut: The row has none.
        DatasetError: The cell is no number; the message says what it is.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise RowLeftOut(NO_LABEL)
    if isinstance(value, bool) or not isinstance(value, str | int | float | decimal.Decimal):
        raise DatasetError(f"expected a number, got {value!r:.60}")
    if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
        remedy = ": write it with a point" if NUMBER.fullmatch(value.replace(",", ".")) else ""
        raise DatasetError(f"expected a number, got {value!r:.60}{remedy}")
    number = float(value) if len(str(value)) <= MAX_NUMBER_LENGTH else math.inf
    if not abs(number) <= _LARGEST_NUMBER:
        raise DatasetError(f"expected numbers up to {_LARGEST_NUMBER:g}, got {str(value)[:20]}")
    return number


def read_label_list(value: object, declared: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the distinct labels that a list names, in their order; none for an empty list.

    Args:
        value: Content of the cell.
        declared: Names of the labels, where the source declares them and lists hold indices.

    Raises:
        RowLeftOut: The row has no list.
        DatasetError: The cell is something else, or holds what cannot be the name of a label.
    """
    if value is None:
        raise RowLeftOut(NO_LABEL)
    if not isinstance(value, list | tuple | set):
        raise DatasetError(f"expected a list of labels, got {value!r:.60}")
    try:
        return tuple(dict.fromkeys(class_name(name, declared) for name in value))
    except RowLeftOut as reason:
        raise DatasetError(f"expected names of labels, got {reason} in a list") from None


def split_label_list(cell: str, delimiter: str) -> list[str]:
    """Return the labels that the cell of a text file names; none where it is empty.

    Args:
        cell: Content of the cell.
        delimiter: What stands between two labels; ``[`` for lists as JSON or Python write them.

    Raises:
        DatasetError: It is no such list.
    """
    if delimiter != "[":
        return [name.strip() for name in cell.split(delimiter) if name.strip()]
    if not cell.strip():
        return []
    try:
        names = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        names = None
    if not isinstance(names, list | tuple | set):
        raise DatasetError(f"expected a list such as ['a', 'b'], got {cell!r:.60}")
    return list(names)


def read_flag(value: object) -> bool:
    """Return whether a row has the label that a column stands for.

    Raises:
        RowLeftOut: The cell is empty, or hidden (-1).
        DatasetError: It is neither zero nor one.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise RowLeftOut(NO_LABEL)
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None:
        if value in (_HIDDEN, str(_HIDDEN)):
            raise RowLeftOut(HIDDEN_LABEL)
        raise DatasetError(f"expected 0 or 1, got {value!r:.60}")
    return flag


def sort_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return classes in their order: as numbers if all of them are integers, else as texts.

    Example:
        >>> sort_classes(["10", "9", "-2"])
        ('-2', '9', '10')
        >>> sort_classes(["1", "002", "01"])
        ('01', '1', '002')
    """
    distinct = sorted(set(names))
    if all(_INTEGER.fullmatch(name) for name in distinct):
        distinct.sort(key=int)
    return tuple(distinct)
