"""Facts of the example's ``draw``: splits that keep like rows together."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from mlflow_recall_example.draw import Row, draw, write_images, write_texts

SIZES = {"train": 30, "validation": 10, "test": 20}


def rows(groups: int = 40, each: int = 3) -> list[Row]:
    return [
        Row(f"text {group} {i}", "ab"[group % 2], f"g{group}")
        for group in range(groups)
        for i in range(each)
    ]


def test_every_split_has_its_size_and_even_classes() -> None:
    drawn = draw(rows(), SIZES)

    assert Counter(split for _, split in drawn) == SIZES
    for split, size in SIZES.items():
        labels = Counter(row.label for row, where in drawn if where == split)
        assert labels == {"a": size // 2, "b": size // 2}


def test_a_group_stands_on_one_side_only() -> None:
    sides: dict[str, set[str]] = {}
    for row, split in draw(rows(), SIZES):
        sides.setdefault(row.group, set()).add(split)

    assert all(len(splits) == 1 for splits in sides.values())


def test_a_second_row_of_a_group_waits_until_others_run_out() -> None:
    drawn = draw(rows(groups=120, each=5), SIZES)

    assert max(Counter(row.group for row, _ in drawn).values()) == 1


def test_the_order_of_the_rows_is_none_of_its_business() -> None:
    assert draw(rows(), SIZES) == draw(reversed(rows()), SIZES)


def test_a_text_with_two_labels_says_nothing_and_doubles_count_once() -> None:
    twice = [Row("Same  Text", "a"), Row("same text", "b"), Row("double", "a"), Row("double", "a")]

    texts = [row.content for row, _ in draw([*rows(), *twice], {**SIZES, "train": 100})]

    assert "Same Text" not in texts
    assert texts.count("double") == 1


def test_texts_are_written_as_one_table(tmp_path: Path) -> None:
    count = write_texts(rows(), SIZES, tmp_path / "set.csv")

    with (tmp_path / "set.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == count == 60
    assert set(table[0]) == {"text", "label", "split"}


def test_pairs_are_written_with_both_texts_and_are_as_one_to_the_draw(tmp_path: Path) -> None:
    """A pair is another one as soon as one of its texts is; a group holds for both."""
    pairs = [
        Row((f"first  {i // 2}", f"second {i}"), "ab"[i % 2], str(i // 2))
        for i in range(sum(SIZES.values()) * 2)
    ]

    write_texts([*pairs, *pairs], SIZES, tmp_path / "set.csv", ("text", "text_pair"))

    with (tmp_path / "set.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == len({(row["text"], row["text_pair"]) for row in table}) == 60
    assert all("  " not in row["text"] for row in table)
    sides = {(row["text"], row["split"]) for row in table}
    assert len(sides) == len({text for text, _ in sides})


def test_numbers_and_labels_are_drawn_as_they_come(tmp_path: Path) -> None:
    """Nothing is evened out: the rare ones are as rare in a split as in the source."""
    numbers = [Row(f"text {i}", 4.5 if i % 4 else -1.25) for i in range(400)]
    labels = [Row(f"text {i}", ("a", "b") if i % 4 else ("a",)) for i in range(400)]

    for name, rows in (("numbers", numbers), ("labels", labels)):
        write_texts(rows, {"train": 200, "test": 100}, tmp_path / f"{name}.csv")

    for name, common, rare in (("numbers", "4.5", "-1.25"), ("labels", "a|b", "a")):
        with (tmp_path / f"{name}.csv").open(newline="") as stream:
            counts = Counter(row["label"] for row in csv.DictReader(stream))
        assert set(counts) == {common, rare}
        assert counts[common] == pytest.approx(225, abs=25)


def test_pictures_are_written_as_folders_anew_each_time(tmp_path: Path) -> None:
    pictures = [Row(f"png {i}".encode(), "ab"[i % 2]) for i in range(60)]
    (tmp_path / "set" / "train" / "old").mkdir(parents=True)

    count = write_images(pictures, SIZES, tmp_path / "set")

    files = list((tmp_path / "set").rglob("*.png"))
    assert len(files) == count == 60
    assert {file.parts[-3] for file in files} == set(SIZES)
    assert {file.parts[-2] for file in files} == {"a", "b"}


@pytest.mark.parametrize("few", [3, 7])
def test_a_small_set_gives_what_it_has(few: int) -> None:
    assert len(draw(rows(groups=few, each=1), SIZES)) == few
