"""The cells of a label column say which task they ask, and each is read as what it says."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_recall.adapters.data.labels import (
    read_flag,
    read_label_list,
    read_number,
    split_label_list,
)
from mlflow_recall.adapters.data.splits import strata
from mlflow_recall.adapters.data.tables import RowLeftOut, Table
from mlflow_recall.adapters.data.targets import TargetReader, infer_task, make_reader, names_in
from mlflow_recall.errors import DatasetError


def reader_of(cells: Sequence[Any], *, task: str = "", are_letters: bool = False) -> TargetReader:
    table = Table(columns={"label": cells}, texts=())
    return make_reader([table], ["label"], task=task, are_letters=are_letters)


def targets_of(cells: Sequence[Any], **options: Any) -> list[Any]:
    reader = reader_of(cells, **options)
    return [reader.read([cell]) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["a", "b", None], "classification"),
        ([0, 1, 2], "classification"),
        ([1.0, 2.0, math.nan], "classification"),
        ([True, False], "classification"),
        ([1.0, 2.5], "regression"),
        ([1, 2.5, None], "regression"),
        ([decimal.Decimal("1.5"), decimal.Decimal(2)], "regression"),
        ([["a"], [], None], "multilabel"),
        ([], "classification"),
    ],
)
def test_the_task_follows_from_the_cells(cells: list[object], task: str) -> None:
    assert infer_task(cells, are_letters=False) == task


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["1", "2", ""], "classification"),
        (["1.0", "2.0"], "classification"),
        (["1", "2.5", ""], "regression"),
        (["-.5", "1e-3"], "regression"),
        (["3,5", "2,5"], "classification"),
        (["nan", "inf"], "classification"),
        (["1", "a"], "classification"),
    ],
)
def test_in_a_text_file_all_cells_are_letters(cells: list[str], task: str) -> None:
    assert infer_task(cells, are_letters=True) == task


@pytest.mark.parametrize(
    ("cells", "are_letters"),
    [([1.5, "a"], False), ([1, "a"], False), ([["a"], "a"], False), (["1.5", "a"], True)],
)
def test_labels_of_two_kinds_are_refused_with_a_row_of_each(
    cells: list[object], are_letters: bool
) -> None:
    with pytest.raises(DatasetError, match=r"of one kind, got .* in row 1 and 'a' in row 2: mend"):
        infer_task(cells, are_letters=are_letters)


def test_a_task_that_is_given_decides() -> None:
    assert targets_of(["1.5", "a"], task="classification", are_letters=True) == ["1.5", "a"]
    assert targets_of([1, 2], task="regression") == [1.0, 2.0]
    assert targets_of(["1", "2"], task="regression", are_letters=True) == [1.0, 2.0]
    with pytest.raises(DatasetError, match="expected a number, got 'a'"):
        targets_of(["1.5", "a"], task="regression", are_letters=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("abc", "expected a number, got 'abc'"),
        ("3,5", "expected a number, got '3,5': write it with a point"),
        ("nan", "expected a number, got 'nan'"),
        (math.inf, "expected numbers up to 1e"),
        (10**400, "expected numbers up to 1e"),
        (True, "expected a number, got True"),
        ([1], r"expected a number, got \[1\]"),
    ],
)
def test_what_is_no_number_is_one_line(value: object, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_number(value)


@given(st.floats(-1e99, 1e99))
def test_a_number_is_read_as_it_is_written(number: float) -> None:
    assert read_number(number) == read_number(repr(number)) == number


@pytest.mark.parametrize("value", [None, "", math.nan])
def test_nothing_is_no_number_and_no_flag(value: object) -> None:
    for read in (read_number, read_flag):
        with pytest.raises(RowLeftOut, match="no label"):
            read(value)


def test_a_hidden_number_is_left_out_only_where_it_is_known_to_be_one() -> None:
    table = Table(columns={"label": [0.5, -1.0]}, texts=())
    known = make_reader([table], ["label"], task="regression", are_letters=False, hidden=-1.0)

    assert targets_of([0.5, -1.0]) == [0.5, -1.0]
    with pytest.raises(RowLeftOut, match="hidden label"):
        known.read([-1.0])


def test_lists_name_each_label_once() -> None:
    assert read_label_list(["b", "a", "b"]) == ("b", "a")
    assert read_label_list([1, 0], ["no", "yes"]) == ("yes", "no")
    assert read_label_list([]) == ()
    with pytest.raises(DatasetError, match="expected names of labels, got no label in a list"):
        read_label_list(["a", None])
    with pytest.raises(RowLeftOut):
        read_label_list(None)


def test_labels_of_a_text_file_are_separated_by_the_one_character_that_occurs() -> None:
    as_labels: dict[str, Any] = {"task": "multilabel", "are_letters": True}

    assert targets_of(["a|b", "", "b "], **as_labels) == [("a", "b"), (), ("b",)]
    assert targets_of(["['a', 'b,c']", "[]"], **as_labels) == [("a", "b,c"), ()]
    assert targets_of(["a b", "c"], **as_labels) == [("a b",), ("c",)]
    assert reader_of(["a;b"], **as_labels).reading == ("labels separated by ';'",)
    with pytest.raises(DatasetError, match=r"one character between labels, got '\|' and ','"):
        reader_of(["a|b", "a,b"], **as_labels)
    with pytest.raises(DatasetError, match=r"expected a list such as"):
        split_label_list("[a", "[")


def test_vectors_of_zeros_and_ones_are_told_from_lists_of_labels() -> None:
    """A list of distinct labels never repeats one."""
    assert targets_of([[0, 1, 1], [0, 0, 1]]) == [("1", "2"), ("2",)]
    assert targets_of([[0, 1], [1, 0]]) == [("0", "1"), ("1", "0")]


@pytest.mark.parametrize(
    "cells", [(1, 0), ("1", "0"), (True, False), (1.0, 0.0), ("True", "0.0"), ("yes", "no")]
)
def test_columns_of_zeros_and_ones_are_labels(cells: tuple[object, object]) -> None:
    table = Table(columns={"red": [cells[0]], "blue": [cells[1]]}, texts=())
    reader = make_reader([table], ["red", "blue"], task="", are_letters=False)

    assert reader.task == "multilabel"
    assert reader.read(cells) == ("red",)
    for hidden in (-1, "-1"):
        with pytest.raises(RowLeftOut, match="hidden label"):
            reader.read([hidden, hidden])
        with pytest.raises(DatasetError, match="'red': expected 0 or 1, got"):
            reader.read([hidden, cells[1]])
    with pytest.raises(DatasetError, match="'blue': expected 0 or 1, got 2"):
        reader.read([cells[0], 2])
    with pytest.raises(DatasetError, match="one label column of a regression, got red, blue"):
        make_reader([table], ["red", "blue"], task="regression", are_letters=False)


def test_a_target_names_its_classes() -> None:
    assert [names_in(target) for target in ("a", ("a", "b"), (), 1.5)] == [
        ("a",),
        ("a", "b"),
        (),
        (),
    ]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
def test_ranges_of_numbers_are_in_their_order(numbers: list[float]) -> None:
    array = np.array(numbers)
    ranges = strata(array)

    order = np.argsort(array)
    assert (np.diff(ranges[order]) >= 0).all()
    assert ranges.max() < 10
    assert all(len(set(ranges[array == number])) == 1 for number in set(numbers))


def test_different_numbers_fill_ten_ranges_evenly() -> None:
    counts = np.bincount(strata(np.random.default_rng(0).permutation(200).astype(float)))

    assert counts.tolist() == [20] * 10


def test_the_stratum_of_a_row_is_its_rarest_label() -> None:
    """Labels of fewer rows than can be cut are none: two rows have the third label."""
    flags = np.array([[1, 1, 0]] * 3 + [[1, 0, 0]] * 4 + [[1, 1, 1]] * 2 + [[0, 0, 0]])

    assert strata(flags).tolist() == [2] * 3 + [1] * 4 + [0] * 3


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("['rude', 'threat']", ("rude", "threat")),
        ("['rude' 'threat']", ("rude", "threat")),  # as NumPy prints it
        ("{'rude', 'threat'}", ("rude", "threat")),
        ("('rude',)", ("rude",)),
        ('["a, b"]', ("a, b",)),
        ("set()", ()),
        ("[]", ()),
        ("", ()),
    ],
)
def test_lists_of_all_writers_are_read(cell: str, labels: tuple[str, ...]) -> None:
    """One cell that is a list makes all of them lists."""
    (read, _) = targets_of([cell, "['x']"], task="multilabel", are_letters=True)

    assert read == labels


@pytest.mark.parametrize("cell", ["['a'", "[a, b]", "a", "['a', ['b']]", "[x for x in y]"])
def test_a_cell_that_is_no_list_among_lists_is_one_line(cell: str) -> None:
    reader = reader_of([cell, "['x']"], task="multilabel", are_letters=True)

    with pytest.raises(DatasetError, match="expected a list such as"):
        reader.read([cell])


@pytest.mark.parametrize(
    "cells", [["[1, 0, 1]", "[0, 0, 1]"], ["1,0,1", "0,0,1"], ["[1 0 1]", "[0 0 1]"]]
)
def test_vectors_of_a_text_file_are_vectors(cells: list[str]) -> None:
    assert targets_of(cells, task="multilabel", are_letters=True) == [("0", "2"), ("2",)]


def test_zeros_and_ones_of_which_nothing_says_what_they_are_are_one_line() -> None:
    with pytest.raises(DatasetError, match="got zeros and ones alone: name all columns"):
        reader_of(["1", "0"], task="multilabel", are_letters=True)
    with pytest.raises(DatasetError, match="zeros and ones of one length, got 2 and 3"):
        reader_of([[0, 0], [1, 0, 1]])
    with pytest.raises(DatasetError, match="got lists in a list"):
        reader_of([[["a"]]], task="multilabel").read([[["a"]]])
