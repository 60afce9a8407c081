"""What a person sees while a command works: news, bars and tables, all on standard error."""

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


class Terminal:
    """See ``bench.Voice``. Where no one watches, bars become one line at their end."""

    def __init__(self) -> None:
        self._console = _console(sys.stderr)

    def info(self, line: str) -> None:
        """One line, as it is."""
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[_Bar]:
        """A bar with the time that remains."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False),
        )
        with Progress(*columns, console=self._console, disable=total == 0) as progress:
            yield _Bar(progress, progress.add_task(title, total=total, now=""))

    def table(self, title: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Rows with the same keys, as they are."""
        if not rows:
            return
        table = Table(title=Text(title, "bold"), title_justify="left")
        for column in rows[0]:
            table.add_column(Text(column), overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row.values()))
        _console(sys.stdout).print(table)


def _console(file: TextIO) -> Console:
    """As wide as the terminal; wide enough for a log where there is none."""
    return Console(file=file, highlight=False, width=None if file.isatty() else 140)


class _Bar:
    """See ``bench.Bar``."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1, now: str = "") -> None:
        self._progress.update(self._task, advance=steps, now=now)

    def set_total(self, total: int) -> None:
        self._progress.update(self._task, total=total)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
