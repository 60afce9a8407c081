"""The two files of an export, which hold one JSON object in each line.

``runs.jsonl`` holds fine-tunings with parameters, tags and whole metric histories; ``models.jsonl``
holds registered models with their newest version. Names are those of the zoo, without a namespace,
and no path of the machine that wrote them is included. Every line is checked when it is read, so
that an import has nothing to refuse after its first write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from mlflow_recall import limits
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.core.external_runs.rules import sources_from_json
from mlflow_recall.errors import HistoryError

RUNS, MODELS = "runs.jsonl", "models.jsonl"
_RUN_KEYS = ("run", "name", "start", "end", "tags", "params", "metrics")
_MODEL_KEYS = ("title", "tags")
#: the checks of a tracking server, which have no types
_SERVER: Any = validation
#: first value that a step or a time in milliseconds must not have
_MAX_INTEGER = 2**63


def read_runs(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the fine-tunings of an export.

    Raises:
        HistoryError: There is no such file, or a line is not as expected.
    """
    return _read_entries(folder / RUNS, _RUN_KEYS, tags.MODEL, "run", check_run)


def read_models(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the registered models of an export.

    Raises:
        HistoryError: There is no such file, or a line is not as expected.
    """
    return _read_entries(folder / MODELS, _MODEL_KEYS, tags.ARCH, "title", check_model)


def read_lines(folder: Path) -> dict[str, str]:
    """Return the lines of an earlier export by the id of their run; none without an export.

    Raises:
        HistoryError: A line is not as expected.
    """
    path = folder / RUNS
    if not path.exists():
        return {}
    entries = zip(path.read_text(encoding="utf-8").split("\n"), read_runs(folder), strict=False)
    return {str(entry["run"]): line for line, entry in entries}


def check_destination(folder: Path, names: Sequence[str]) -> None:
    """Check that a folder is new, empty, or holds nothing but an earlier export.

    Args:
        folder: Folder to write.
        names: Names of the files that an export may replace.

    Raises:
        HistoryError: It is a file, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise HistoryError(f"{folder}: expected a folder to write, got a file: name another one")
    try:
        others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise HistoryError(f"{folder}: cannot be written: {error.strerror}") from None
    if foreign := sorted(name for name in others if name not in names):
        raise HistoryError(
            f"{folder}: expected a new or empty folder, or an earlier export, got one with "
            f"{foreign[0]}: name another one"
        )


def make_folder(folder: Path) -> None:
    """Create a folder to write.

    Raises:
        HistoryError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HistoryError(f"{str(folder)[:200]}: cannot be created: {reason}") from None


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a file; an earlier one is replaced only when the new one is complete."""
    partial = path.with_suffix(".part")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)


def _read_entries(
    path: Path,
    keys: Sequence[str],
    tag: str,
    identity: str,
    check: Callable[[Mapping[str, Any]], None],
) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file.

    Args:
        path: File to read.
        keys: Keys that an object must have.
        tag: Tag that it must have.
        identity: Key whose value differs between objects.
        check: Raises a ``ValueError`` for an object that cannot be imported.

    Raises:
        HistoryError: There is no such file, or an object is not as expected.
    """
    lines_of: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        try:
            entry = parse_json(line.decode("utf-8"))
        except ValueError:
            raise HistoryError(f"{where}: expected JSON, cannot be read") from None
        entry_tags = entry.get("tags") if isinstance(entry, dict) else None
        if not isinstance(entry_tags, dict) or set(keys) - set(entry) or tag not in entry_tags:
            raise HistoryError(f"{where}: expected the keys {', '.join(keys)} and the tag {tag}")
        try:
            check(entry)
        except (ValueError, MlflowException) as error:
            raise HistoryError(f"{where}: {' '.join(str(error).split())[:400]}") from None
        if (first := lines_of.setdefault(entry[identity], number)) != number:
            raise HistoryError(
                f"{where}: expected every {identity} once, got {entry[identity]!r} in line {first} "
                "too: delete one of the lines"
            )
        yield entry


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file.

    Raises:
        HistoryError: There is no such file, or it is beyond a limit.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size > limits.MAX_EXPORT_BYTES:
                raise HistoryError(f"{path}: expected at most {limits.MAX_EXPORT_BYTES} bytes")
            while line := file.readline(limits.MAX_EXPORT_LINE_BYTES):
                if len(line) == limits.MAX_EXPORT_LINE_BYTES:
                    raise HistoryError(
                        f"{path}: expected lines of less than {limits.MAX_EXPORT_LINE_BYTES} bytes"
                    )
                yield line.rstrip(b"\r\n")
    except OSError:
        raise HistoryError(
            f"{path}: expected an export that `mlflow-recall history export` wrote: no such file"
        ) from None


def check_run(entry: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` or MLflow's own error for a fine-tuning that no store accepts."""
    _check_text(entry["run"], "run")
    _check_text(entry["name"], "name", limit=3 * limits.MAX_NAME_LENGTH)
    for key in ("start", "end"):
        _check_integer(entry[key], key, least=0)
    if entry["end"] < entry["start"]:
        raise ValueError(f"end: expected a time after the start, got {entry['end']!r}")
    for key, value in _check_texts(entry["tags"], "tags").items():
        _SERVER._validate_tag(key, value)
    for key, value in _check_texts(entry["params"], "params").items():
        _SERVER._validate_param(key, value)
    _check_text(entry["tags"][tags.MODEL], f"tag {tags.MODEL}")
    _SERVER._validate_model_name(entry["tags"][tags.MODEL].replace("/", "-").replace(":", "-"))
    epochs = entry["tags"].get(tags.EPOCHS, "1")
    if not (epochs.isascii() and epochs.isdecimal()) or len(epochs) > 9:
        raise ValueError(f"tag {tags.EPOCHS}: expected a number of epochs, got {epochs!r:.60}")
    if not isinstance(entry["metrics"], dict):
        raise ValueError(f"metrics: expected a mapping, got {entry['metrics']!r:.60}")
    for name, points in entry["metrics"].items():
        _check_points(name, points)
    sources = entry["tags"].get(tags.SOURCES)
    if sources is not None and not sources_from_json(sources):
        raise ValueError(
            f"tag {tags.SOURCES}: expected JSON that says where the run keeps its metrics, got "
            f"{sources[:60]!r}"
        )


def _check_points(name: str, points: Any) -> None:
    _SERVER._validate_metric_name(name)
    _check_text(name, "metrics")
    if not isinstance(points, list):
        raise ValueError(f"metrics: {name}: expected a list of points, got {points!r:.60}")
    for point in points:
        if not isinstance(point, (list, tuple)) or len(point) != 2:
            raise ValueError(f"metrics: {name}: expected [step, value], got {point!r:.60}")
        step, value = point
        _check_integer(step, f"metrics: {name}: step", least=-_MAX_INTEGER)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or abs(value) >= 1e308 or math.isinf(value):
            raise ValueError(f"metrics: {name}: expected a finite number, got {value!r:.60}")


def check_model(entry: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` or MLflow's own error for a model that no registry accepts."""
    _check_text(entry["title"], "title")
    _SERVER._validate_model_name(entry["title"])
    for key, value in _check_texts(entry["tags"], "tags").items():
        _SERVER._validate_model_version_tag(key, value)


def _check_text(value: Any, where: str, limit: int = limits.MAX_NAME_LENGTH) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: expected text, got {value!r:.60}")
    if len(value) > limit:
        raise ValueError(f"{where}: expected at most {limit} characters, got {len(value)}")
    value.encode()  # a lone surrogate is a ValueError


def _check_texts(values: Any, where: str) -> Mapping[str, str]:
    """Return a mapping of texts.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping, got {values!r:.60}")
    for key, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{where}: {key}: expected text, got {value!r:.60}")
        f"{key}{value}".encode()  # a lone surrogate is a ValueError
    return values


def _check_integer(value: Any, where: str, *, least: int) -> None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or not least <= value < _MAX_INTEGER:
        raise ValueError(f"{where}: expected an integer, got {value!r:.60}")
