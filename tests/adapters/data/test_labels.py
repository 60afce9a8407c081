"""A label is understood as what it says, or is one line."""

from __future__ import annotations

import datetime
import decimal
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.adapters.data.labels import class_name, sort_classes
from mlflow_recall.adapters.data.tables import RowLeftOut
from mlflow_recall.errors import DatasetError


@pytest.mark.parametrize(
    "name", ["NA", "null", "None", "nan", "007", "1.0", " neg", "-1", "é", "0"]
)
def test_a_text_is_its_own_name(name: str) -> None:
    assert class_name(name) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (7, "7"),
        (-1, "-1"),
        (3.0, "3"),
        (-0.0, "0"),
        (True, "True"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_values_of_other_types_have_a_name(value: object, name: str) -> None:
    assert class_name(value) == name


@pytest.mark.parametrize("value", [None, "", math.nan])
def test_nothing_is_no_label(value: object) -> None:
    with pytest.raises(RowLeftOut, match=r"^no label$"):
        class_name(value)


def test_minus_one_is_hidden_only_where_classes_are_declared() -> None:
    assert class_name(1, ["no", "yes"]) == "yes"
    assert class_name("yes", ["no", "yes"]) == "yes"
    assert class_name(-1) == "-1"
    for hidden in (-1, -1.0):
        with pytest.raises(RowLeftOut, match="hidden label"):
            class_name(hidden, ["no", "yes"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "expected a class, got inf"),
        (-math.inf, "expected a class, got -inf"),
        (0.5, "expected a class, got the fraction 0.5"),
        (["a", "b"], "got a list: labels of a row need --task multilabel"),
        ({"a": 1}, "expected a class, got dict"),
        (b"a", "expected a class, got bytes"),
        ("\ud800", "not Unicode"),
        ("a" * 501, "at most 500 characters, got one of 501"),
    ],
)
def test_what_is_no_class_is_one_line(value: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        class_name(value)


def test_an_index_beyond_the_declared_classes_is_one_line() -> None:
    for index in (2, -2, True + 1):
        with pytest.raises(DatasetError, match=f"expected an index below 2, got {index}"):
            class_name(index, ["no", "yes"])


@given(st.lists(st.text(max_size=4)))
def test_sorting_keeps_every_name_once(names: list[str]) -> None:
    ordered = sort_classes(names)

    assert sorted(ordered) == sorted(set(names))
    assert ordered == sort_classes(reversed(names))


def test_digits_of_other_scripts_are_no_numbers() -> None:
    assert sort_classes(["²", "1", "10", "9"]) == ("1", "10", "9", "²")
    assert sort_classes(["10", "9", "-2"]) == ("-2", "9", "10")
