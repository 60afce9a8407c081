"""Fakes of ports, in this process and without waiting."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mlflow_recall.errors import RecallError, TaskError
from mlflow_recall.ports import Progress

T = TypeVar("T")


class InlineEngine:
    """See ``ports.Engine``: one task after another, in this process."""

    def stream(
        self, function: Callable[[T], Iterator[object]], tasks: Iterable[T]
    ) -> Iterator[Progress]:
        """See ``ports.Engine.stream``."""
        for index, task in enumerate(tasks):
            try:
                for event in function(task):
                    yield Progress(index, event=event)
            except Exception as error:
                kind = "" if isinstance(error, RecallError) else f"{type(error).__name__}: "
                failure = TaskError(f"{kind}{error}", traceback.format_exc())
                yield Progress(index, error=failure)
            else:
                yield Progress(index, done=True)

    def close(self) -> None:
        """See ``ports.Engine.close``."""
