"""Which models may be considered at all: size, license, and whatever their tags say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mlflow_recall.core.history.records import Member
from mlflow_recall.errors import ConfigError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}
_CONDITION = re.compile(r"\s*([\w.\-/ ]+?)\s*(!=|=)\s*(.*?)\s*")
#: tags are written with it; people may leave it out
_PREFIX = "recall."


@dataclass(frozen=True)
class Constraints:
    """What a model must fulfil; everything is allowed where nothing is said."""

    #: trainable parameters of the backbone
    max_parameters: int | None = None
    #: shell patterns, one of which the license must match whatever its case
    licenses: tuple[str, ...] = ()
    #: ``tag=pattern`` or ``tag!=pattern`` on registry tags; all must hold
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for condition in self.where:
            if not _CONDITION.fullmatch(condition):
                raise ConfigError(
                    f"where: expected tag=value or tag!=value, got {condition!r}, e.g. family=e5"
                )

    def violation(self, member: Member) -> str:
        """Why a member is left out; empty if it is not."""
        if self.max_parameters is not None:
            if member.parameters is None:
                return (
                    "its size is unknown: give `parameters` in the zoo file, or register it again "
                    "after its first use"
                )
            if member.parameters > self.max_parameters:
                return f"{member.parameters:,} parameters, {self.max_parameters:,} are allowed"
        license = member.tags.get(f"{_PREFIX}license", "")
        if self.licenses and not any(
            fnmatchcase(license.lower(), pattern.lower()) for pattern in self.licenses
        ):
            return f"license {license or 'unknown'}, allowed: {', '.join(self.licenses)}"
        for condition in self.where:
            if not _holds(condition, member):
                return f"not {condition}"
        return ""

    def partition(self, members: Sequence[Member]) -> tuple[list[Member], dict[str, str]]:
        """Members that may be considered, and why each of the others may not."""
        refused = {member.name: why for member in members if (why := self.violation(member))}
        return [member for member in members if member.name not in refused], refused


def _holds(condition: str, member: Member) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:  # checked before
        return False
    tag, sign, pattern = match.groups()
    value = member.tags.get(f"{_PREFIX}{tag}", member.tags.get(tag, ""))
    return fnmatchcase(value, pattern) == (sign == "=")


def parse_size(text: str) -> int:
    """``30M`` -> 30,000,000.

    Raises:
        SettingError: not a number with at most one of K, M, B and G.
    """
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMBG]?)\s*", text.upper())
    if not match:
        raise ConfigError(f"max_params: expected a number such as 30M, got {text!r}")
    return round(float(match[1]) * _UNITS[match[2]])
