"""What the cell of a label column says: the name of a class, or why there is none."""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Iterable, Sequence

from mlflow_recall.adapters.data.tables import RowLeftOut
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_CLASS_NAME

#: reasons
NO_LABEL = "no label"
HIDDEN_LABEL = "hidden label (-1)"
#: what the hub writes for labels that only the judges of a competition know
_HIDDEN = -1
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
            raise DatasetError(
                f"expected classes, got fractions: this is a regression problem ({value})"
            )
        value = int(value)
    if declared is not None and not isinstance(value, str):
        return _declared_name(value, declared)
    if isinstance(value, (list, tuple, set)):
        raise DatasetError(
            "expected one class, got a list: several labels a row (multi-label) are not supported"
        )
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


def are_fractions(names: Iterable[str]) -> bool:
    """Return whether names from a text file are the numbers of a regression."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return False
    return any(math.isfinite(number) and not number.is_integer() for number in numbers)


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
