"""Which models may be considered: by size, license and tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf, isfinite

from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ConfigError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}
_CONDITION = re.compile(r"\s*([\w.\-/ ]+?)\s*(!=|=)\s*(.*?)\s*")
#: prefix of tags, which a condition may leave out
_PREFIX = "recall."


@dataclass(frozen=True)
class Constraints:
    """Conditions that a model must meet; without any, every model does."""

    #: parameters of the backbone; None: any number
    max_parameters: int | None = None
    #: shell patterns, one of which the license must match, case aside; empty: any license
    licenses: tuple[str, ...] = ()
    #: ``tag=pattern`` or ``tag!=pattern`` on registry tags; all must hold
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for condition in self.where:
            if not _CONDITION.fullmatch(condition):
                raise ConfigError(
                    f"where: expected tag=value or tag!=value, got {condition!r}, e.g. family=e5"
                )

    def violation(self, member: Member) -> str | None:
        """Say why a member is left out; None if it is not."""
        if self.max_parameters is not None:
            if member.parameters is None:
                return (
                    "its size is unknown: give `parameters` in the zoo file, or register it again "
                    "after its first use"
                )
            if member.parameters > self.max_parameters:
                return f"{member.parameters:,} parameters, {self.max_parameters:,} are allowed"
        if self.licenses and not any(
            fnmatchcase(member.license.lower(), pattern.lower()) for pattern in self.licenses
        ):
            return f"license {member.license or 'unknown'}, allowed: {', '.join(self.licenses)}"
        for condition in self.where:
            if not _holds(condition, member):
                return f"not {condition}"
        return None

    def partition(self, members: Sequence[Member]) -> tuple[list[Member], dict[str, str]]:
        """Return the members that may be considered, and why each of the others may not."""
        left_out = {member.name: reason for member in members if (reason := self.violation(member))}
        return [member for member in members if member.name not in left_out], left_out


def _holds(condition: str, member: Member) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:  # checked before
        return False
    tag, sign, pattern = match.groups()
    value = member.tags.get(f"{_PREFIX}{tag}", member.tags.get(tag, ""))
    return fnmatchcase(value, pattern) == (sign == "=")


def parse_size(text: str) -> int:
    """Return the number that ``30M`` stands for: 30,000,000.

    Raises:
        ConfigError: The text is not a number with at most one of K, M, B and G.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMBG]?)\s*", text.upper())
    size = float(match[1]) * _UNITS[match[2]] if match else inf
    if not isfinite(size):  # as that of four hundred digits is not
        raise ConfigError(f"max_params: expected a number such as 30M, got {text!r:.60}")
    return round(size)
