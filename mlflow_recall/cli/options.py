"""Options as typed dataclasses: one field declares one option, and one class a group of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from mlflow_recall import limits

F = TypeVar("F", bound=Callable[..., Any])

#: settings of every command
CONTEXT: dict[str, Any] = {
    "token_normalize_func": lambda token: token.replace("_", "-"),  # -P top_k is --top_k
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


class Count(click.IntRange):
    """An integer that every library takes: not above ``limits.MAX_COUNT``."""

    name = "integer"

    def __init__(self, min: int = 0) -> None:  # noqa: A002 - click's name
        super().__init__(min=min, max=limits.MAX_COUNT)

    def _describe_range(self) -> str:
        return f"x>={self.min}"


class Number(click.FloatRange):
    """A number that is finite, and above ``min`` if there is one."""

    name = "float"

    def __init__(self, min: float | None = None) -> None:  # noqa: A002 - click's name
        super().__init__(min=min, min_open=min is not None)

    def _describe_range(self) -> str:
        return "" if self.min is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text stands for; see ``click.ParamType``."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value!r}.", param, ctx)
        return number


class _TableOption(click.Option):
    """An option whose help lists the rows of a table, which is loaded when the help is shown."""

    def __init__(self, *args: Any, describe: Callable[[], str], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._describe = describe

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._describe()
        return super().get_help_record(ctx)


def option(*flags: str, **attributes: Any) -> Any:
    """Declare a field of a group of options.

    Args:
        flags: Names on the command line.
        attributes: As ``click.option`` takes them. ``unset`` is the default in words, where it is
            None; ``describe`` returns the help of an option that lists a table.
    """
    unset = attributes.pop("unset", None)
    if unset is not None:
        attributes["show_default"] = unset
    if "describe" in attributes:
        attributes["cls"] = _TableOption
    return field(metadata={"flags": flags, "attributes": attributes})


def argument(**attributes: Any) -> Any:
    """Declare a field that is a positional argument."""
    return field(metadata={"attributes": attributes})


def takes(**groups: type[Any]) -> Callable[[F], F]:
    """Give a command groups of options, and pass one instance of each.

    Example::

        @click.command(context_settings=CONTEXT)
        @takes(store=StoreOptions, output=OutputOptions)
        def show(store: StoreOptions, output: OutputOptions) -> None: ...
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def command(**values: Any) -> Any:
            return function(
                **{
                    name: group(**{f.name: values[f.name] for f in fields(group)})
                    for name, group in groups.items()
                }
            )

        for group in reversed(groups.values()):
            for declared in reversed(fields(group)):
                command = _declare(declared)(command)
        return command  # type: ignore[return-value]

    return decorate


def _declare(declared: Field[Any]) -> Callable[[Any], Any]:
    attributes = declared.metadata["attributes"]
    if "flags" not in declared.metadata:
        return click.argument(declared.name, **attributes)
    return click.option(*declared.metadata["flags"], declared.name, **attributes)


def split_names(text: str | None) -> tuple[str, ...]:
    """Return the names or patterns between commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def split_at_commas(
    _: click.Context, __: click.Parameter, values: Sequence[str]
) -> tuple[str, ...]:
    """Split the values of a repeated option at commas, since `mlflow run` gives it once."""
    return tuple(name for value in values for name in split_names(value))


def split_conditions(
    _: click.Context, __: click.Parameter, values: Sequence[str]
) -> tuple[str, ...]:
    """Split conditions at commas; a comma that no condition follows belongs to the value."""
    parts = (part.strip() for value in values for part in re.split(r",(?=[^,=]+=)", value))
    return tuple(part for part in parts if part)


def check_writable(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse a file that could not be written after hours of work."""
    if value and value != "-" and not is_writable(value):
        raise click.BadParameter(f"expected a file in an existing folder, got {value!r:.200}.")
    return value


def is_writable(file: str) -> bool:
    """Return whether a file can be written: its folder exists, and its name is not too long."""
    path = Path(file)
    try:
        return not path.is_dir() and os.access(path.absolute().parent, os.W_OK | os.X_OK)
    except OSError:
        return False


def check_count(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Return a number of models or ``auto``; refuse anything else."""
    if value is None or value == "auto":
        return value
    if not (value.isascii() and value.isdecimal() and 0 < int(value[:20]) <= limits.MAX_COUNT):
        raise click.BadParameter(f"expected a number of models (x>=1) or auto, got {value!r:.60}.")
    return int(value)


def check_assignments(
    _: click.Context, __: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    """Return NAME=VALUE pairs as a mapping; refuse anything else."""
    pairs = [pair.partition("=") for value in values for pair in split_names(value)]
    for name, sign, value in pairs:
        if not (name.strip() and sign and value.strip()):
            raise click.BadParameter(f"expected NAME=VALUE, got {name + sign + value!r}.")
    return {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
