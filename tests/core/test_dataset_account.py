"""What is said of a dataset is what a person would find by looking through its rows."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_recall.core.dataset_account import (
    DatasetAccount,
    LeftOut,
    count_duplicates,
    find_warnings,
)

TEXTS = [f"text number {i}" for i in range(12)]
LABELS = ["no", "yes"] * 6


def account(**fields: object) -> DatasetAccount:
    defaults: dict[str, object] = {
        "modality": "text", "inputs": ("text",), "label": "label", "read": 14,
        "classes": {"no": 6, "yes": 6},
        "splits": {"train": 8, "validation": 2, "test": 2},
    }  # fmt: skip
    return DatasetAccount(**{**defaults, **fields})  # type: ignore[arg-type]


def test_reasons_are_counted_with_their_first_places() -> None:
    left_out = LeftOut()
    for row in range(2000):
        left_out.add("no label", f"row {row}")
    left_out.add("split 'x' is not used", count=7)

    assert left_out.counts == {"no label": 2000, "split 'x' is not used": 7}
    assert left_out.places == {"no label": tuple(f"row {row}" for row in range(1000))}


def test_the_summary_names_the_places_of_few_and_counts_many() -> None:
    summarized = account(
        left_out={"no text": 1, "no label": 9},
        places={"no text": ("row 3",), "no label": ("row 4",)},
    )

    assert summarized.summary.startswith(
        "12 of 14 rows used (left out: 1 no text: row 3, 9 no label); "
    )
    assert "8 train, 2 validation, 2 test" in summarized.summary


def test_the_summary_names_classes_that_have_no_row() -> None:
    lost = account(classes_left_out={"heic": "format that is not read"}, unit="file")

    assert "12 of 14 files used" in lost.summary
    assert "2 classes (left out 'heic': format that is not read)" in lost.summary
    assert lost.to_dict()["files"] == {"used": 12, "left_out": {}}
    assert "files" not in account().to_dict()


def test_used_and_left_out_rows_are_all_rows() -> None:
    rows = account(left_out={"no label": 2}).to_dict()["rows"]

    assert rows["used"] + sum(rows["left_out"].values()) == rows["read"]


def test_duplicates_are_rows_of_either_split() -> None:
    assert count_duplicates({"train": ["a", "b", "b"], "test": ["b", "c"]}) == 3
    assert count_duplicates({"train": ["a", "a"], "test": ["b"]}) == 0


def test_clean_rows_have_no_warnings() -> None:
    assert find_warnings(TEXTS, LABELS, texts=TEXTS) == []


@pytest.mark.parametrize(
    ("texts", "labels", "expected"),
    [
        (
            TEXTS,
            ["de", "de ", "DE"] * 4,
            "by case or blanks alone: 'DE' (4) and 'de' (4)",
        ),
        (TEXTS, [" no", " yes"] * 6, "names of classes with blanks around them: ' no', ' yes'"),
        (TEXTS, [*LABELS[:10], "rare", "rare"], "1 class with fewer than 3 rows: 'rare'"),
        (TEXTS, [*["a"] * 8, "b", "b", "c", "c"], "2 classes with fewer than 3 rows: 'b', 'c'"),
        (["same"] * 12, LABELS, "constant input: all rows have the same one"),
        ([*["same"] * 8, *TEXTS[:4]], LABELS, "nearly constant input: 8 of 12 rows"),
        ([*TEXTS[:11], TEXTS[0]], LABELS, "duplicates: 1 row with the input of another"),
        ([*TEXTS[:11], TEXTS[0]], LABELS, "1 input with several labels"),
        ([f"{i} it is {label}" for i, label in enumerate(LABELS)], LABELS, "12 of 12 texts name"),
        (["word " * 200 + str(i) for i in range(12)], LABELS, "12 of 12 texts have more than 128"),
        ([*TEXTS[:11], "  "], LABELS, "1 text of blanks alone"),
        (TEXTS, ["a|b", "a", "b|c", "c"] * 3, "'a|b' look like lists of labels: --task multi"),
        (TEXTS, ['["a", "b"]', '["a"]'] * 6, "look like lists of labels: --task multilabel"),
        (TEXTS, ["3,5", "4,0", "2,5"] * 4, "such as '3,5' look like numbers: plain ones"),
        (
            TEXTS,
            ["0", "1", "2", "x"] * 3,
            "classes are numbers, but for 'x': leave the label empty",
        ),
        (TEXTS, ["10%", "20 %"] * 6, "such as '10%' look like numbers: plain ones"),
        (TEXTS, [("a",)] * 10 + [("b",)] * 2, "1 label in fewer than 3 rows: 'b'"),
        ([f"{i}.png" for i in range(12)], LABELS, "names of pictures: --image COLUMN reads"),
    ],
)
def test_what_users_trip_over_is_one_warning(
    texts: list[str], labels: list[Any], expected: str
) -> None:
    assert [w for w in find_warnings(texts, labels, texts=texts) if expected in w] != []


def test_labels_and_numbers_have_no_classes_to_warn_of() -> None:
    assert find_warnings(TEXTS, [(), ("a",), ("a", "b")] * 4, texts=TEXTS) == []
    assert find_warnings(TEXTS, [i + 0.5 for i in range(12)], texts=TEXTS) == []


def test_the_summary_says_what_labels_are() -> None:
    numbers = {"min": 1e9, "max": 1e9 + 10, "mean": 1e9 + 4.25, "std": 3.0}
    regression = account(task="regression", classes={}, numbers=numbers).summary
    multilabel = account(task="multilabel", classes={"a": 6, "b": 3}, labeled=8).summary

    assert "numbers from 1000000000 to 1000000010, mean 1000000004.2" in regression
    assert "2 labels, 0.75 a row, none in 4 rows" in multilabel


def test_imbalance_is_told_with_both_sizes() -> None:
    labels = ["many"] * 100 + ["few"] * 3
    warnings = find_warnings([str(i) for i in range(103)], labels)

    assert [w for w in warnings if "largest class has 100 rows, the smallest 3" in w] != []


def test_texts_that_name_any_class_are_no_leak() -> None:
    """Reviews that say "good" and "bad" alike tell nothing of their label."""
    both = [f"{i} good and bad" for i in range(12)]
    assert find_warnings(both, ["good", "bad"] * 6, texts=both) == []


def test_texts_have_no_say_where_inputs_are_keys_of_pictures() -> None:
    assert not any("text" in w for w in find_warnings([b"a"] * 4, ["a", "b"] * 2))
