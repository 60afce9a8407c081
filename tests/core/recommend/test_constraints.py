"""Facts of constraints: which models may be considered, and why the others may not."""

from __future__ import annotations

import pytest

from mlflow_recall.core.history.records import Member
from mlflow_recall.core.recommend.constraints import Constraints, parse_size
from mlflow_recall.errors import ConfigError


def member(name: str, parameters: int | None = None, licensed: str = "", **tags: str) -> Member:
    """A model whose license is a field, and a tag as in the registry."""
    own = {**tags, "license": licensed} if licensed else tags
    return Member(
        name=name,
        version="1",
        modality="text",
        arch="transformers/bert",
        parameters=parameters,
        license=licensed,
        tags={f"recall.{key}": value for key, value in own.items()},
    )


ZOO = [
    member("small", 10_000_000, licensed="MIT", family="e5"),
    member("large", 90_000_000, licensed="Apache-2.0", family="minilm"),
    member("unsized", None, family="e5"),
]


@pytest.mark.parametrize(
    ("constraints", "kept"),
    [
        (Constraints(), ["small", "large", "unsized"]),
        (Constraints(max_parameters=90_000_000), ["small", "large"]),
        (Constraints(max_parameters=89_999_999), ["small"]),
        (Constraints(licenses=("mit",)), ["small"]),
        (Constraints(licenses=("MIT", "apache-*")), ["small", "large"]),
        (Constraints(where=("family=e5",)), ["small", "unsized"]),
        (Constraints(where=("recall.family = mini*",)), ["large"]),
        (Constraints(where=("family=e5", "license!=MIT")), ["unsized"]),
        (Constraints(where=("team!=other",)), ["small", "large", "unsized"]),
    ],
)
def test_only_those_that_fulfil_everything_are_kept(
    constraints: Constraints, kept: list[str]
) -> None:
    members, refused = constraints.partition(ZOO)

    assert [m.name for m in members] == kept
    assert set(refused) == {m.name for m in ZOO} - set(kept)


def test_a_refusal_names_the_limit_and_the_value() -> None:
    _, refused = Constraints(max_parameters=50_000_000, licenses=("MIT",)).partition(ZOO)

    assert refused == {
        "large": "90,000,000 parameters, 50,000,000 are allowed",
        "unsized": "its size is unknown: give `parameters` in the zoo file, or register it again "
        "after its first use",
    }


@pytest.mark.parametrize("condition", ["family", "=e5", ""])
def test_a_condition_without_a_tag_or_sign_is_refused(condition: str) -> None:
    with pytest.raises(ConfigError, match=r"where: expected tag=value or tag!=value, got"):
        Constraints(where=(condition,))


@pytest.mark.parametrize(
    ("text", "size"), [("30M", 30_000_000), ("1.5b", 1_500_000_000), ("17 k", 17_000), ("12", 12)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-3M", "3 MB", "1e6", 400 * "9"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="max_params: expected a number such as 30M, got"):
        parse_size(text)


def test_a_refused_license_is_named_with_the_allowed_ones() -> None:
    _, refused = Constraints(licenses=("MIT", "bsd-*")).partition(ZOO)

    assert refused == {
        "large": "license Apache-2.0, allowed: MIT, bsd-*",
        "unsized": "license unknown, allowed: MIT, bsd-*",
    }
