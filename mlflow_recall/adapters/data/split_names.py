"""The usual names of splits."""

from __future__ import annotations

#: name of a split in a source, in lower case -> its name here
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def find_split(name: str) -> str | None:
    """Return the split that a name means, in any case; None where it means none.

    Example:
        >>> find_split("Training"), find_split("val"), find_split("trainer")
        ('train', 'validation', None)
    """
    return SPLIT_NAMES.get(name.strip().lower())
