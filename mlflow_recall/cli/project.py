"""Arguments as ``mlflow run -P name=value`` passes them on -> as a person types them.

An MLproject gives every option that it declares a value of its own, once: an empty one where
nobody set it, and ``true`` or ``false`` for a flag.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

_SWITCH = ("true", "false")


def as_typed(argv: Sequence[str], root: click.Command) -> list[str]:
    """Drop options with an empty value, and turn ``--flag true`` into ``--flag``.

    ``--flag false`` becomes the flag's opposite, or nothing where it has none.

    Args:
        argv: words after the name of the program.
        root: command, or group of commands, that they are for.

    Returns:
        The words that click parses; those that no MLproject wrote stay as they are.
    """
    flags = _flags(_named(argv, root))
    typed: list[str] = []
    for word in argv:
        option = typed[-1].replace("_", "-") if typed else ""
        if not word and option.startswith("--"):
            typed.pop()
        elif option in flags and word.lower() in _SWITCH:
            if word.lower() == "false":
                typed[-1:] = flags[option]
        else:
            typed.append(word)
    return typed


def _named(argv: Sequence[str], root: click.Command) -> click.Command:
    """The command that the first words name."""
    command = root
    for word in argv:
        if not isinstance(command, click.Group) or word not in command.commands:
            break
        command = command.commands[word]
    return command


def _flags(command: click.Command) -> dict[str, Sequence[str]]:
    """Flag -> its opposite, which may be missing."""
    found: dict[str, Sequence[str]] = {}
    for option in command.params:
        if isinstance(option, click.Option) and option.is_bool_flag:
            found |= dict.fromkeys(option.opts, option.secondary_opts[:1])
            found |= dict.fromkeys(option.secondary_opts, option.opts[:1])
    return found
