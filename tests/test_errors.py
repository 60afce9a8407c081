"""Facts of the errors: one tree, drawn as it is, and what callers may catch them as."""

from __future__ import annotations

import inspect
import re

import pytest

import mlflow_recall
from mlflow_recall import errors
from mlflow_recall.errors import (
    ConfigError,
    DatasetError,
    HistoryError,
    RecallError,
    ScoreInputError,
    StageIncomplete,
    TaskError,
    TrackingError,
    ZooError,
    unknown_name,
)


def test_the_docstring_draws_the_whole_tree() -> None:
    """A reader finds every error in the drawing, and nothing in the drawing is invented."""
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    names = {value.__name__ for value in classes if issubclass(value, RecallError)}

    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))

    assert drawn | {"RecallError"} == names


def test_every_error_can_be_imported_from_the_package() -> None:
    """Callers catch errors by a public name."""
    for name in re.findall(r"[├└]── (\w+)", errors.__doc__ or ""):
        assert getattr(mlflow_recall, name) is getattr(errors, name)


@pytest.mark.parametrize("error", [ConfigError, ScoreInputError])
def test_a_refused_argument_is_a_value_error_too(error: type[RecallError]) -> None:
    """Code that knows nothing of this package catches what a function refuses as ValueError."""
    with pytest.raises(ValueError, match="expected 1, got 2") as caught:
        raise error("expected 1, got 2")

    assert isinstance(caught.value, RecallError)


@pytest.mark.parametrize(
    "error", [DatasetError, HistoryError, ZooError, TrackingError, TaskError, StageIncomplete]
)
def test_what_is_no_argument_is_no_value_error(error: type[RecallError]) -> None:
    """A missing file or a lost server is not the caller's argument."""
    assert not issubclass(error, ValueError)


def test_an_unknown_name_is_answered_with_the_known_ones_in_order() -> None:
    assert (
        unknown_name("policy", "x", {"b": 1, "a": 2}) == "unknown policy 'x': expected one of a, b"
    )


def test_a_failed_task_keeps_the_traceback_of_its_worker() -> None:
    """The message is one line; the traceback is for whoever looks for the bug."""
    error = TaskError("it broke", "Traceback: line 3")

    assert (str(error), error.traceback) == ("it broke", "Traceback: line 3")
    assert TaskError("it broke").traceback == ""
