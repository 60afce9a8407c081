"""Arguments of an MLproject's command, rewritten as a person types them.

``mlflow run`` gives every option that the MLproject declares, once: an empty value where it was not
set, and ``true`` or ``false`` for a flag.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from mlflow_recall.cli.example import EXAMPLE

_FLAG_VALUES = ("true", "false")


def normalize_arguments(argv: Sequence[str], root: click.Command) -> list[str]:
    """Drop options with an empty value, and turn ``--flag true`` into ``--flag``.

    ``--flag false`` becomes the opposite of the flag, or nothing where it has none. An empty value
    of the dataset stays where the example is the default: whoever gave it did not mean that.

    Args:
        argv: Arguments after the name of the program.
        root: Command, or group of commands, that they are for.

    Returns:
        Arguments that click parses; those that no MLproject wrote stay as they are.
    """
    command = _find_command(argv, root)
    flags, kept = _flags(command), _with_example(command)
    arguments: list[str] = []
    for argument in argv:
        option = arguments[-1].replace("_", "-") if arguments else ""
        if not argument and option.startswith("--") and option not in kept:
            arguments.pop()
        elif option in flags and argument.lower() in _FLAG_VALUES:
            if argument.lower() == "false":
                arguments[-1:] = flags[option]
        else:
            arguments.append(argument)
    return arguments


def _find_command(argv: Sequence[str], root: click.Command) -> click.Command:
    """Return the command that the first arguments name."""
    command = root
    for argument in argv:
        if not isinstance(command, click.Group) or argument not in command.commands:
            break
        command = command.commands[argument]
    return command


def _flags(command: click.Command) -> dict[str, Sequence[str]]:
    """Return flag -> its opposite, as a list of one or none."""
    flags: dict[str, Sequence[str]] = {}
    for option in command.params:
        if isinstance(option, click.Option) and option.is_bool_flag:
            flags |= dict.fromkeys(option.opts, option.secondary_opts[:1])
            flags |= dict.fromkeys(option.secondary_opts, option.opts[:1])
    return flags


def _with_example(command: click.Command) -> set[str]:
    """Return the options whose default is the example."""
    return {
        flag
        for option in command.params
        if isinstance(option, click.Option) and option.default == EXAMPLE
        for flag in option.opts
    }
