"""The two files of an export, which hold one JSON object in each line.

``runs.jsonl`` holds fine-tunings with parameters, tags and whole metric histories; ``models.jsonl``
holds registered models with their newest version. Names are those of the zoo, without a namespace,
and no path of the machine that wrote them is included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.errors import HistoryError

RUNS, MODELS = "runs.jsonl", "models.jsonl"
_RUN_KEYS = ("run", "name", "start", "end", "tags", "params", "metrics")
_MODEL_KEYS = ("title", "tags")


def read_runs(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the fine-tunings of an export.

    Raises:
        HistoryError: There is no such file, or a line is not as expected.
    """
    for number, run in enumerate(_read_entries(folder / RUNS, _RUN_KEYS, tags.MODEL), start=1):
        sources = run["tags"].get(tags.SOURCES)
        if sources is not None and not sources_from_json(sources):
            raise HistoryError(
                f"{folder / RUNS}, line {number}: tag {tags.SOURCES}: expected JSON that says "
                f"where the run keeps its metrics, got {sources[:60]!r}"
            )
        yield run


def read_models(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the registered models of an export.

    Raises:
        HistoryError: There is no such file, or a line is not as expected.
    """
    return _read_entries(folder / MODELS, _MODEL_KEYS, tags.ARCH)


def read_lines(folder: Path) -> dict[str, str]:
    """Return the lines of an earlier export by the id of their run; none without an export."""
    path = folder / RUNS
    if not path.exists():
        return {}
    entries = zip(path.read_text().splitlines(), read_runs(folder), strict=True)
    return {str(entry["run"]): line for line, entry in entries}


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a file; an earlier one is replaced only when the new one is complete."""
    partial = path.with_suffix(".part")
    partial.write_text("".join(f"{line}\n" for line in lines))
    partial.replace(path)


def _read_entries(path: Path, keys: Sequence[str], tag: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file.

    Raises:
        HistoryError: There is no such file, or an object lacks one of the keys or the tag.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError:
        raise HistoryError(
            f"{path}: expected an export that `mlflow-recall history export` wrote: no such file"
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            raise HistoryError(f"{path}, line {number}: expected JSON, cannot be read") from None
        entry_tags = entry.get("tags") if isinstance(entry, dict) else None
        if not isinstance(entry_tags, dict) or set(keys) - set(entry) or tag not in entry_tags:
            raise HistoryError(
                f"{path}, line {number}: expected the keys {', '.join(keys)} and the tag {tag}"
            )
        yield entry
