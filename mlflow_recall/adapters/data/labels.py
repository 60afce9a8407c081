"""What the cell of a label column says: a class, labels or a number, or why there is none."""

from __future__ import annotations

import ast
import datetime
import decimal
import io
import math
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence

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
#: how a list begins; a label may begin with a bracket too, but not with a quotation mark in it
_LIST_START = re.compile(r"\[|[({]\s*[\"')}]|set\(\)$")
#: whose square is finite
_LARGEST_NUMBER = 1e100
#: what a column of zeros and ones says, in lower case
_FLAGS = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
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
        with_point = NUMBER.fullmatch(value.replace(",", "."))
        remedy = "write it with a point" if with_point else "write plain numbers, and nothing"
        remedy += "" if with_point else " where there is none"
        raise DatasetError(f"expected a number, got {value!r:.60}: {remedy}")
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
    if any(isinstance(name, list | tuple | set) for name in value):
        raise DatasetError(f"expected a list of labels, got lists in a list: {value!r:.60}")
    try:
        return tuple(dict.fromkeys(class_name(name, declared) for name in value))
    except RowLeftOut as reason:
        raise DatasetError(
            f"expected names of labels, got {reason} in a list: leave it out of the list"
        ) from None


def looks_like_list(cell: str) -> bool:
    """Return whether a text starts as lists do that JSON, Python or NumPy have written."""
    return _LIST_START.match(cell.strip()) is not None


def split_label_list(cell: str, delimiter: str) -> list[object]:
    """Return the labels that the cell of a text file names; none where it is empty.

    Args:
        cell: Content of the cell.
        delimiter: What stands between two labels; ``[`` for lists as JSON, Python or NumPy write
            them, with or without commas.

    Raises:
        DatasetError: It is no such list.
    """
    text = cell.strip()
    if delimiter != "[":
        return [name.strip() for name in text.split(delimiter) if name.strip()]
    if text in ("", "set()"):
        return []
    brackets = {"[": "]", "(": ")", "{": "}"}
    try:
        if brackets.get(text[0]) != text[-1]:
            raise SyntaxError(text)
        return list(_read_items(text[1:-1]))
    except (ValueError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError):
        raise DatasetError(
            f"expected a list such as ['a', 'b'], got {cell!r:.60}: mend it, or leave it empty"
        ) from None


def _read_items(text: str) -> Iterator[object]:
    """Yield the texts and numbers of a list, which commas or blanks separate."""
    for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
        if token.type in (tokenize.STRING, tokenize.NUMBER):
            yield ast.literal_eval(token.string)
        elif token.type == tokenize.NAME and token.string in ("True", "False", "true", "false"):
            yield token.string.lower() == "true"
        elif not (token.string.strip(" ,") == "" or token.type == tokenize.NL):
            raise SyntaxError(text)


def read_flag(value: object) -> bool:
    """Return whether a row has the label that a column stands for.

    Raises:
        RowLeftOut: The cell is empty.
        DatasetError: It is neither zero nor one.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        raise RowLeftOut(NO_LABEL)
    flag = _FLAGS.get(str(value).strip().lower())
    if flag is None:
        raise DatasetError(f"expected 0 or 1, got {value!r:.60}")
    return flag


def is_hidden_flag(value: object) -> bool:
    """Return whether a cell says that only the judges of a competition know its label."""
    return value in (_HIDDEN, str(_HIDDEN))


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
