"""The project file has every option of every command, and commands read it as it is passed on."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from mlflow.projects._project_spec import EntryPoint

from mlflow_recall.cli import commands
from mlflow_recall.cli.project import normalize_arguments

PROJECT = yaml.safe_load((Path(__file__).parent.parent / "MLproject").read_text())
#: options that no entry point has, and why
LEFT_OUT = {
    "tracking-uri": "`mlflow run` opens its run on a store and tells the command which by the "
    "environment; with another one the command would not find its run",
}


def command_of(words: list[str]) -> click.Command:
    """Return the command that the words after ``python -m mlflow_recall`` name."""
    command: click.Command = commands
    for word in words:
        if not isinstance(command, click.Group) or word.startswith("-"):
            break
        command = command.commands[word]
    return command


def parts(name: str) -> tuple[str, list[str], list[str], click.Command]:
    """Return the start of a command line, its options, its arguments, and its click command."""
    start, _, rest = PROJECT["entry_points"][name]["command"].partition("mlflow_recall ")
    options = re.findall(r"--([\w-]+) \{(\w+)\}", rest)
    arguments = re.findall(r"\{(\w+)\}", rest.partition("--")[0])

    assert all(option.replace("-", "_") == parameter for option, parameter in options)
    return start, [option for option, _ in options], arguments, command_of(rest.split())


def named(parameter: click.Parameter) -> str:
    """Return the name of an option as it is typed, without the dashes."""
    return max(parameter.opts, key=len).lstrip("-")


def passed_on(name: str, **given: object) -> list[str]:
    """Return the words that `mlflow run -e NAME -P ...` passes to the program."""
    entry = PROJECT["entry_points"][name]
    made: Any = EntryPoint  # MLflow has no types for it
    command = made(name, entry["parameters"], entry["command"]).compute_command(given, None)
    return shlex.split(command)[3:]


def parsed(argv: list[str]) -> dict[str, Any]:
    """Return the parsed parameters of a command."""
    typed = normalize_arguments(argv, commands)
    command = command_of(typed)
    words = [word for word in typed if not word.startswith("-")]
    depth = 2 if words[0] == "history" else 1
    return command.make_context(words[0], typed[depth:]).params


@pytest.mark.parametrize("name", PROJECT["entry_points"])
def test_an_entry_point_has_every_option_of_its_command(name: str) -> None:
    """Each is passed on under its own name; ``LEFT_OUT`` says why some are not."""
    start, options, arguments, command = parts(name)
    given = [p for p in command.params if isinstance(p, click.Option)]

    assert start == "python -m "
    assert arguments == [p.name for p in command.params if isinstance(p, click.Argument)]
    assert options == [named(p) for p in given if named(p) not in LEFT_OUT]
    declared = list(PROJECT["entry_points"][name]["parameters"])
    assert sorted(declared) == sorted([*arguments, *(entry.replace("-", "_") for entry in options)])


@pytest.mark.parametrize("name", PROJECT["entry_points"])
def test_an_entry_point_has_the_defaults_of_its_command(name: str) -> None:
    """A parameter without a default is one that the command requires."""
    _, _, _, command = parts(name)
    declared = PROJECT["entry_points"][name]["parameters"]
    context = click.Context(command)

    for option in command.params:
        if named(option) in LEFT_OUT:
            continue
        parameter = declared[named(option).replace("-", "_")]
        needed = option.required or isinstance(option, click.Argument)
        default = option.get_default(context)
        shown = str(default) if isinstance(default, int | float | str) else ""
        assert ("default" in parameter) != needed, option
        assert needed or str(parameter["default"]) == (
            shown.lower() if isinstance(default, bool) else shown
        ), option


def test_every_command_is_an_entry_point() -> None:
    flat = set()
    for name, command in commands.commands.items():
        inner = command.commands if isinstance(command, click.Group) else {}
        flat |= {f"{name}_{entry}" for entry in inner} or {name}

    assert set(PROJECT["entry_points"]) == flat | {"main"}


@pytest.mark.parametrize("name", PROJECT["entry_points"])
def test_a_command_is_called_with_its_own_defaults_when_nothing_is_set(name: str) -> None:
    """The same as a command line with the required options alone."""
    declared = PROJECT["entry_points"][name]["parameters"]
    needed = {key: "there" for key, entry in declared.items() if "default" not in entry}
    _, _, arguments, _ = parts(name)
    typed = [needed[entry] for entry in arguments]
    for key in needed.keys() - set(arguments):
        typed += [f"--{key}", needed[key]]
    words = name.replace("main", "select").split("_")

    assert parsed(passed_on(name, **needed)) == parsed([*words, *typed])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (None, False, False)),
        ({"minimize": "true", "dry_run": "true"}, (True, True, False)),
        ({"minimize": "false", "dry_run": "False", "release": "True"}, (False, False, True)),
    ],
)
def test_a_flag_is_true_or_false(
    given: dict[str, str], expected: tuple[bool | None, bool, bool]
) -> None:
    """`-P` has values only; false is the opposite where a flag has one."""
    called = parsed(passed_on("adopt", experiment="ours", **given))

    assert (called["minimize"], called["dry_run"], called["release"]) == expected


def test_what_may_be_repeated_is_given_between_commas() -> None:
    """`mlflow run -P` accepts each parameter once."""
    conditions = "family=e5,license!=MIT,note=small, fast"

    adopted = parsed(passed_on("adopt", experiment="ft-*, our runs"))
    planned = parsed(passed_on("plan", where=conditions, drop_dataset="glue/cola,glue/rte"))
    turned = parsed(passed_on("history_show", minimize="*"))

    assert adopted["experiments"] == ("ft-*", "our runs")
    assert planned["where"] == ("family=e5", "license!=MIT", "note=small, fast")
    assert planned["drop_dataset"] == ("glue/cola", "glue/rte")
    assert turned["minimize"] == ("*",)


def test_words_that_a_person_typed_stay_as_they_are() -> None:
    """Only the value of a flag is read as true or false."""
    words = ["cluster", "--compare", "--minimize", "--metric", "rmse"]
    explained = ["explain", "true", "--dataset", "false"]

    assert normalize_arguments(words, commands) == words
    assert normalize_arguments(explained, commands) == explained
