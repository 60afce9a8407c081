"""Everything that this package raises on purpose.

Each message says where, what was expected, what was got and what to do, in one line::

    RecallError
    ├── ConfigError       an option, a zoo file or a benchmark file is wrong (also a ValueError)
    ├── DatasetError      a dataset cannot be read, or is no classification problem
    ├── HistoryError      recorded fine-tunings are missing or contradict each other
    ├── ScoreInputError   a score is not defined for its input (also a ValueError)
    ├── ZooError          a model cannot be resolved, loaded or registered
    ├── TrackingError     the tracking server or the registry refused or was not reached
    ├── TaskError         a task failed in a worker, whose traceback is kept
    └── StageIncomplete   a verdict was requested before its stage is complete
"""

from __future__ import annotations

from mlflow_recall.safe_text import redact

#: characters of a message of another library
_MAX_LINE = 400


class RecallError(Exception):
    """Base of all expected errors: one line for people without secrets, exit code 1."""

    def __str__(self) -> str:
        return redact(super().__str__())


class ConfigError(RecallError, ValueError):
    """An option, a zoo file or a benchmark file is wrong."""


class DatasetError(RecallError):
    """A dataset cannot be read, or is no classification problem."""


class HistoryError(RecallError):
    """Recorded fine-tunings are missing or contradict each other."""


class ScoreInputError(RecallError, ValueError):
    """A transferability score is not defined for its input."""


class ZooError(RecallError):
    """A model cannot be resolved, loaded or registered."""


class TrackingError(RecallError):
    """The tracking server or the registry refused or was not reached."""


class TaskError(RecallError):
    """A task failed in a worker; ``traceback`` is the worker's."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class StageIncomplete(RecallError):  # noqa: N818 - a state of the cohort, not a mistake
    """A verdict was requested before its stage is complete."""


def one_line(error: BaseException) -> str:
    """Return the message of an error of another library as one line of moderate length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}..."


def unknown_name(kind: str, name: str, known: object) -> str:
    """Return the message for a name that is not in a table, with those that are."""
    names = ", ".join(sorted(map(str, known)))  # type: ignore[call-overload]
    expected = f"one of {names}" if names else f"no {kind}"
    return f"unknown {kind} {name!r}: expected {expected}"
