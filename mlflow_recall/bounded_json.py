"""JSON of anybody, read within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlflow_recall import limits
from mlflow_recall.errors import RecallError


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is no JSON, or nested too deep.
    """
    decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        value = json.loads(decoded)
    except RecursionError:
        raise ValueError(f"more than {limits.MAX_NESTING} levels of nesting") from None
    if decoded.count("[") + decoded.count("{") > limits.MAX_NESTING:
        _check_depth(value)
    return value


def parse_object(text: str) -> dict[str, Any]:
    """Return a JSON object, which a tag may hold; empty where the text is something else."""
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def read_object(path: Path, error: type[RecallError]) -> dict[str, Any]:
    """Return the JSON object in a small file.

    Args:
        path: File to read.
        error: What is raised if it holds something else.
    """
    try:
        if (size := path.stat().st_size) > limits.MAX_METADATA_BYTES:
            raise ValueError(f"{size} bytes, more than {limits.MAX_METADATA_BYTES}")
        value = parse_json(path.read_bytes())
    except (OSError, ValueError) as reason:  # bytes that are no text are a ValueError
        raise error(f"{path}: expected a JSON object, got {reason}") from None
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _check_depth(value: Any) -> None:
    """Raise a ``ValueError`` if lists and objects are nested too deep."""
    level = [value]
    for _ in range(limits.MAX_NESTING + 1):
        level = [
            entry
            for parent in level
            if isinstance(parent, (dict, list))
            for entry in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise ValueError(f"more than {limits.MAX_NESTING} levels of nesting")
