"""The requirements of pyproject.toml agree with the versions in constraints.txt."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, Version]:
    """Return distribution -> its version in constraints.txt."""
    lines = (line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def walk_requirements(wanted: list[Requirement]) -> Iterator[tuple[str, Requirement]]:
    """Yield each requirement and who requires it, through all installed distributions."""
    waiting = [("pyproject.toml", requirement) for requirement in wanted]
    visited: set[str] = set()
    while waiting:
        who, requirement = waiting.pop()
        yield who, requirement
        if requirement.name in visited:
            continue
        visited.add(requirement.name)
        waiting += [(requirement.name, deeper) for deeper in needs(requirement)]


def needs(requirement: Requirement) -> Iterator[Requirement]:
    """Yield the requirements of a distribution on this machine; none if it is not installed."""
    try:
        lines = metadata.requires(requirement.name) or []
    except metadata.PackageNotFoundError:
        return
    for deeper in map(Requirement, lines):
        marker, extras = deeper.marker, requirement.extras or {""}
        if not marker or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield deeper


def test_every_extra_can_be_had_beside_the_pinned_versions() -> None:
    """The README installs with `-c constraints.txt`, where a range without the pin fails."""
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    pinned = pins()

    refused = [
        f"{who} wants {requirement}, constraints.txt has {pinned[name]}"
        for who, requirement in walk_requirements([Requirement(line) for line in lines])
        if (name := canonicalize_name(requirement.name)) in pinned
        and pinned[name] not in requirement.specifier
    ]

    assert refused == []
