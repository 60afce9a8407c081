"""Numbers, names and counts as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable

#: what stands for an unknown value in a table
UNKNOWN = "-"


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` decimals; a dash where it is unknown.

    Example:
        >>> format_number(0.12345), format_number(float("nan"))
        ('0.123', '-')
    """
    return UNKNOWN if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_value(value: object) -> str:
    """Return any cell of a table: floats have three decimals, unknown values are a dash.

    Example:
        >>> [format_value(value) for value in (0.5, None, "minilm", 3)]
        ['0.500', '-', 'minilm', '3']
    """
    if value is None or isinstance(value, float):
        return format_number(value)
    return str(value)


def round_or_none(value: float) -> float | None:
    """Return a number for JSON: six decimals, None where it is unknown."""
    return None if math.isnan(value) else round(float(value), 6)


def join_names(names: Iterable[str], limit: int = 12) -> str:
    """Return the first ``limit`` names and how many more there are; ``none`` without any.

    Example:
        >>> join_names(["a", "b", "c"], limit=2)
        'a, b and 1 more'
    """
    known = list(names)
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return (", ".join(known[:limit]) + more) or "none"


def count_of(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun in the right number.

    Args:
        count: Any number.
        noun: The noun in the singular.
        plural: The noun in the plural; None: with an s.

    Example:
        >>> count_of(1, "model"), count_of(2, "model"), count_of(2, "class", "classes")
        ('1 model', '2 models', '2 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
