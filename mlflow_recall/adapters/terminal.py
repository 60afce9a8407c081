"""Messages, progress bars and tables of a command in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mlflow_recall.core.formatting import format_value
from mlflow_recall.safe_text import safe_line


class Terminal:
    """A ``Reporter`` on standard error; tables go to standard output.

    Where standard error is not a terminal, each bar is one line at its end.
    """

    def __init__(self) -> None:
        self._console = _console(sys.stderr)

    def info(self, line: str) -> None:
        """Print one line."""
        self._console.print(safe_line(line), markup=False, soft_wrap=True)

    def warning(self, line: str) -> None:
        """Print one line that the user should not miss."""
        self.info(f"warning: {line}")

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[_Bar]:
        """Show a bar with the time that remains."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}", markup=False),
        )
        with Progress(*columns, console=self._console, disable=total == 0) as progress:
            yield _Bar(progress, progress.add_task(safe_line(title), total=total, status=""))

    def table(self, title: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Print rows that have the same keys; nothing without rows."""
        if not rows:
            return
        table = Table(title=Text(safe_line(title), "bold"), title_justify="left")
        for column in rows[0]:
            table.add_column(Text(safe_line(column)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(safe_line(format_value(value))) for value in row.values()))
        _console(sys.stdout).print(table)


def _console(file: TextIO) -> Console:
    """Return a console as wide as the terminal, or 140 columns where there is none."""
    return Console(file=file, highlight=False, emoji=False, width=None if file.isatty() else 140)


class _Bar:
    """A ``Bar``."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1, status: str = "") -> None:
        self._progress.update(self._task, advance=steps, status=safe_line(status))

    def set_total(self, total: int) -> None:
        self._progress.update(self._task, total=total)
