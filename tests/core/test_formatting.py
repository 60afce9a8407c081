"""Facts of numbers, names and counts as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.core.formatting import (
    count_of,
    format_number,
    format_value,
    join_names,
    round_or_none,
)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.12345, 3, "0.123"), (2.0, 0, "2"), (-0.5, 1, "-0.5"), (math.inf, 2, "inf")],
)
def test_numbers_have_the_digits_that_are_asked_for(value: float, digits: int, text: str) -> None:
    assert format_number(value, digits) == text


@pytest.mark.parametrize("value", [None, math.nan])
def test_unknown_numbers_are_a_dash_in_tables_and_null_in_json(value: float | None) -> None:
    """NaN is no JSON, and ``nan`` in a table reads like a value."""
    assert format_number(value) == format_value(value) == "-"
    assert round_or_none(math.nan) is None


def test_cells_of_a_table_are_floats_with_three_decimals_or_text() -> None:
    assert [format_value(value) for value in (0.5, 3, "minilm", True)] == [
        "0.500",
        "3",
        "minilm",
        "True",
    ]


def test_numbers_for_json_have_six_decimals() -> None:
    assert round_or_none(1 / 3) == 0.333333
    assert round_or_none(2) == 2.0


def test_few_names_are_listed_and_of_many_the_rest_is_counted() -> None:
    assert join_names(["a", "b"], limit=2) == "a, b"
    assert join_names(["a", "b", "c", "d"], limit=2) == "a, b and 2 more"
    assert join_names([]) == "none"


@given(st.lists(st.text("xyz", min_size=1), min_size=1), st.integers(1, 9))
def test_listed_and_counted_names_are_all_names(names: list[str], limit: int) -> None:
    """Nothing is lost between the list and the count."""
    listed, _, count = join_names(iter(names), limit).partition(" and ")

    shown = listed.split(", ")
    assert shown == names[:limit]
    assert len(shown) + int(count.removesuffix(" more") or 0) == len(names)


@pytest.mark.parametrize(("count", "text"), [(0, "0 models"), (1, "1 model"), (2, "2 models")])
def test_one_is_singular_and_every_other_count_plural(count: int, text: str) -> None:
    assert count_of(count, "model") == text
