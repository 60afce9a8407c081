"""The project file starts commands that exist, with options that they have."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from mlflow_recall.cli import commands

PROJECT = yaml.safe_load((Path(__file__).parent.parent / "MLproject").read_text())


def command_of(words: list[str]) -> click.Command:
    """The click command that the words after ``python -m mlflow_recall`` name."""
    found: click.Command = commands
    for word in words:
        if not isinstance(found, click.Group) or word.startswith("-"):
            break
        found = found.commands[word]
    return found


@pytest.mark.parametrize("name", PROJECT["entry_points"])
def test_an_entry_point_gives_its_parameters_to_options_that_exist(name: str) -> None:
    entry = PROJECT["entry_points"][name]
    start, _, rest = entry["command"].partition("mlflow_recall ")
    options = re.findall(r"--([\w-]+) \{(\w+)\}", rest)
    arguments = re.findall(r"\{(\w+)\}", rest.partition("--")[0])
    params = command_of(rest.split()).params
    known = {o for param in params for o in param.opts}

    assert start == "python -m "
    assert arguments == [p.name for p in params if isinstance(p, click.Argument)]
    assert {*arguments, *(parameter for _, parameter in options)} == set(entry["parameters"])
    assert all(f"--{option}" in known for option, _ in options)
    assert all(option.replace("-", "_") == parameter for option, parameter in options)


def test_every_command_is_an_entry_point() -> None:
    flat = set()
    for name, command in commands.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        flat |= {f"{name}_{each}" for each in inner} or {name}

    assert set(PROJECT["entry_points"]) == flat | {"main"}
