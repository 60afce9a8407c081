"""The two files of an export, one JSON object a line.

``runs.jsonl`` holds one fine-tuning a line, with parameters, tags and whole metric histories;
``models.jsonl`` one registered model a line, with its newest version. No database, no paths of the
machine that wrote it: names are those of the zoo, without the namespace they are imported into.
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
    """Fine-tunings of an export.

    Raises:
        HistoryError: there is no such file, or a line is not as expected.
    """
    for number, run in enumerate(_read(folder / RUNS, _RUN_KEYS, tags.MODEL), start=1):
        told = run["tags"].get(tags.SOURCES)
        if told is not None and not sources_from_json(told):
            raise HistoryError(
                f"{folder / RUNS}, line {number}: tag {tags.SOURCES}: expected JSON that says "
                f"where the run keeps its metrics, got {told[:60]!r}"
            )
        yield run


def read_models(folder: Path) -> Iterator[dict[str, Any]]:
    """Registered models of an export; errors as of ``runs_in``."""
    return _read(folder / MODELS, _MODEL_KEYS, tags.ARCH)


def read_lines(folder: Path) -> dict[str, str]:
    """Lines of an earlier export by the run that each tells of."""
    path = folder / RUNS
    if not path.exists():
        return {}
    told = zip(path.read_text().splitlines(), read_runs(folder), strict=True)
    return {str(entry["run"]): line for line, entry in told}


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """All or nothing."""
    rough = path.with_suffix(".part")
    rough.write_text("".join(f"{line}\n" for line in lines))
    rough.replace(path)


def _read(path: Path, keys: Sequence[str], tag: str) -> Iterator[dict[str, Any]]:
    """Lines of a file, each with all ``keys`` and that ``tag``."""
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
        told = entry.get("tags") if isinstance(entry, dict) else None
        if not isinstance(told, dict) or set(keys) - set(entry) or tag not in told:
            raise HistoryError(
                f"{path}, line {number}: expected the keys {', '.join(keys)} and the tag {tag}"
            )
        yield entry
