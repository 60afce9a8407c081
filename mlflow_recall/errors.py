"""Everything this package raises on purpose.

Each message says where, what was expected, what was got and what to do, in one line::

    RecallError
    ├── SettingError      an option, a zoo file or a benchmark file is wrong
    ├── DatasetError      a dataset cannot be read, or is no classification problem
    ├── HistoryError      recorded fine-tunings are missing or contradict each other
    ├── ScoreInputError   a transferability score was given what it is not defined for
    ├── ZooError          a model cannot be resolved, loaded or registered
    ├── TrackingError     the tracking server or the registry refused or was not reached
    ├── TaskError         one unit of work failed in a worker (its traceback is kept)
    └── Undecided         a verdict was asked for while its stage is incomplete

``SettingError`` and ``ScoreInputError`` are also a ``ValueError``, which is what callers of a
function that refuses an argument expect.
"""

from __future__ import annotations


class RecallError(Exception):
    """Base of all expected errors: one line for people, exit code 1."""


class ConfigError(RecallError, ValueError):
    """An option, a zoo file or a benchmark file is wrong."""


class DatasetError(RecallError):
    """A dataset cannot be read, or is no classification problem."""


class HistoryError(RecallError):
    """Recorded fine-tunings are missing or contradict each other."""


class ScoreInputError(RecallError, ValueError):
    """A transferability score was given what it is not defined for."""


class ZooError(RecallError):
    """A model cannot be resolved, loaded or registered."""


class TrackingError(RecallError):
    """The tracking server or the registry refused or was not reached."""


class TaskError(RecallError):
    """One unit of work failed in a worker; ``traceback`` is the worker's own."""

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class StageIncomplete(RecallError):  # noqa: N818 - a state of the cohort, not a mistake
    """A verdict was asked for while its stage is incomplete."""


def unknown_name(kind: str, name: str, known: object) -> str:
    """The sentence for a name that is in no table: says which ones are."""
    names = ", ".join(sorted(map(str, known)))  # type: ignore[call-overload]
    return f"unknown {kind} {name!r}: expected one of {names}"
