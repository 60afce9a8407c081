"""A dataset specification becomes splits that are the same everywhere, or one clear line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import CLASSES, tiny_images, tiny_texts

from mlflow_recall.adapters.data.decoding import decode_image
from mlflow_recall.adapters.data.preparation import (
    find_prepared,
    load_split,
    prepare,
    stratified_sample,
    targets_of,
)
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import DatasetError

Columns = Mapping[str, Sequence[Any]]
SPLITS = ("train", "validation", "test")


def rows(count: int = 12, labels: Sequence[Any] = ("no", "yes")) -> dict[str, list[Any]]:
    """Distinct texts, classes in turn."""
    return {
        "text": [f"text {i}" for i in range(count)],
        "label": [labels[i % len(labels)] for i in range(count)],
    }


def written(path: Path, columns: Columns) -> DatasetSpec:
    """A file in the format of its ending."""
    frame = pd.DataFrame(dict(columns))
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix in (".json", ".jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return DatasetSpec(path=str(path))


def contents(dataset: Dataset) -> dict[str, list[tuple[Any, str]]]:
    """(input, class) of every row by split."""
    loaded = {split: load_split(dataset, split) for split in SPLITS}
    return {
        split: [
            (value, dataset.classes[label])
            for value, label in zip(part[dataset.modality], part["label"], strict=True)
        ]
        for split, part in loaded.items()
    }


def everything(dataset: Dataset) -> list[tuple[Any, str]]:
    return [row for part in contents(dataset).values() for row in part]


# --- sources -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "CSV", "tsv", "jsonl", "json", "parquet"])
def test_every_kind_of_file_is_read_whole(tmp_path: Path, ending: str) -> None:
    columns = rows()
    path = tmp_path / f"reviews.{ending}"
    dataset = prepare(written(path, columns))

    assert (dataset.name, dataset.modality, dataset.classes) == ("reviews", "text", ("no", "yes"))
    assert dataset.source == str(path)
    parts = contents(dataset)
    assert sorted(everything(dataset)) == sorted(
        zip(columns["text"], columns["label"], strict=True)
    )
    assert {split: len(part) for split, part in parts.items()} == dict(dataset.sizes)


def test_an_image_folder_is_read_with_one_class_a_folder(tmp_path: Path) -> None:
    dataset = prepare(DatasetSpec(path=str(tiny_images(tmp_path / "pets", 15))))

    assert (dataset.name, dataset.modality, dataset.classes) == ("pets", "image", CLASSES)
    assert sum(dataset.sizes.values()) == 15
    assert decode_image(load_split(dataset, "train")[0]["image"]["bytes"]).size == (16, 16)


def test_an_image_folder_with_splits_keeps_them(tmp_path: Path) -> None:
    for split, count in (("train", 9), ("test", 6)):
        tiny_images(tmp_path / split, count, seed=count)

    dataset = prepare(DatasetSpec(path=str(tmp_path)))

    assert dataset.sizes["test"] == 6
    assert dataset.sizes["train"] + dataset.sizes["validation"] == 9


def test_a_folder_saved_by_datasets_is_read(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["up", "down"])}
    )
    columns = rows(20, (0, 1))
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(tmp_path / "flat"))
    split = datasets.Dataset.from_dict(columns, features).train_test_split(0.25, seed=0)
    split.save_to_disk(str(tmp_path / "split"))

    flat = prepare(DatasetSpec(path=str(tmp_path / "flat")))
    given = prepare(DatasetSpec(path=str(tmp_path / "split")))

    assert flat.classes == given.classes == ("down", "up")
    assert sum(flat.sizes.values()) == 20
    assert given.sizes["test"] == 5
    assert ("text 0", "up") in everything(flat)


def test_images_that_datasets_saved_are_read(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), (20 * i, 0, 0)) for i in range(8)]
    columns = {"picture": pictures, "kind": ["a", "b"] * 4}
    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.Value("string")})
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(tmp_path / "saved"))

    dataset = prepare(DatasetSpec(path=str(tmp_path / "saved")))

    assert dataset.modality == "image"
    assert sum(dataset.sizes.values()) == 8


def test_a_second_call_finds_the_prepared_copy(tmp_path: Path) -> None:
    spec = written(tmp_path / "a.csv", rows(18))
    folder = Path(prepare(spec).folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    prepare(spec)

    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


# --- columns -------------------------------------------------------------------------------------


def test_the_columns_are_guessed_by_name_and_else_by_being_the_only_ones(tmp_path: Path) -> None:
    texts, labels = rows()["text"], rows()["label"]
    numbers = list(range(12))
    for i, columns in enumerate(
        (
            {"id": numbers, "Sentence": texts, "Category": labels},
            {"words": texts, "label": labels},
            {"review": texts, "stars": labels},
        )
    ):
        dataset = prepare(written(tmp_path / f"{i}.csv", columns))
        result = {text for part in contents(dataset).values() for text, _ in part}
        assert result == set(texts), columns.keys()


def test_named_columns_win_over_guesses(tmp_path: Path) -> None:
    columns = {**rows(), "body": [f"b {i}" for i in range(12)], "mood": ["x", "y", "z"] * 4}
    spec = written(tmp_path / "a.csv", columns)

    dataset = prepare(DatasetSpec(path=spec.path, text="body", label="mood"))

    assert dataset.classes == ("x", "y", "z")
    assert {text for text, _ in everything(dataset)} == set(columns["body"])


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ((10, 9, -2), ("-2", "9", "10")),
        ((True, False), ("False", "True")),
        (("b", "a"), ("a", "b")),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_labels_of_every_type_become_names(
    tmp_path: Path, labels: Sequence[Any], classes: Sequence[str], ending: str
) -> None:
    """Integers are ordered as numbers; one dataset has one set of names whatever its file."""
    dataset = prepare(written(tmp_path / f"a.{ending}", rows(12, labels)))

    assert dataset.classes == tuple(classes)


def test_integers_with_a_gap_in_the_column_are_still_integers(tmp_path: Path) -> None:
    """Pandas makes fractions of a column with a missing value; a text file has letters alone."""
    columns = rows(13, (0, 1))
    columns["label"][12] = None

    for ending, classes in (("parquet", ("0", "1")), ("csv", ("0.0", "1.0"))):
        dataset = prepare(written(tmp_path / f"a.{ending}", columns))
        assert dataset.classes == classes
        assert sum(dataset.sizes.values()) == 12


def test_rows_without_input_or_label_are_left_out(tmp_path: Path) -> None:
    columns = rows(14)
    columns["text"][0] = None
    columns["text"][1] = ""
    columns["label"][2] = None
    columns["label"][3] = ""

    dataset = prepare(written(tmp_path / "a.parquet", columns))

    assert sum(dataset.sizes.values()) == 10


def test_a_test_split_with_hidden_labels_is_cut_from_train_instead(tmp_path: Path) -> None:
    """The hub marks the labels of a competition's test split with -1."""
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    train = datasets.Dataset.from_dict(rows(20, (0, 1)), features)
    hidden = datasets.Dataset.from_dict(rows(6, (-1,)), features)
    saved = datasets.DatasetDict(train=train, test=hidden)
    saved.save_to_disk(str(tmp_path / "saved"))

    dataset = prepare(DatasetSpec(path=str(tmp_path / "saved")))

    assert dataset.classes == ("no", "yes")
    assert sum(dataset.sizes.values()) == 20
    assert dataset.sizes["test"] == 4


def test_minus_one_is_a_class_where_no_names_are_declared(tmp_path: Path) -> None:
    assert prepare(written(tmp_path / "a.csv", rows(12, (-1, 1)))).classes == ("-1", "1")


# --- splits --------------------------------------------------------------------------------------


def test_a_split_column_decides_and_the_missing_split_is_cut_from_train(tmp_path: Path) -> None:
    columns = {**rows(40), "split": ["train"] * 30 + ["test"] * 10}

    parts = contents(prepare(written(tmp_path / "a.csv", columns)))

    assert {text for text, _ in parts["test"]} == {f"text {i}" for i in range(30, 40)}
    assert (len(parts["train"]), len(parts["validation"])) == (24, 6)


def test_splits_have_many_names_and_the_column_may_have_another(tmp_path: Path) -> None:
    columns = {**rows(24), "fold": ["training"] * 12 + ["dev"] * 6 + ["test"] * 6}
    spec = written(tmp_path / "a.csv", columns)

    dataset = prepare(DatasetSpec(path=spec.path, text="text", label="label", split="fold"))

    assert dict(dataset.sizes) == {"train": 12, "validation": 6, "test": 6}


def test_cut_splits_are_disjoint_and_hold_a_fifth_of_every_class(tmp_path: Path) -> None:
    columns = {
        "text": [f"text {i}" for i in range(70)],
        "label": ["often"] * 50 + ["rare"] * 15 + ["scarce"] * 5,
    }
    parts = contents(prepare(written(tmp_path / "a.csv", columns)))

    texts = [text for part in parts.values() for text, _ in part]
    assert sorted(texts) == sorted(columns["text"])
    counts = {
        split: {name: sum(label == name for _, label in part) for name in set(columns["label"])}
        for split, part in parts.items()
    }
    assert counts["test"] == {"often": 10, "rare": 3, "scarce": 1}
    assert counts["validation"] == counts["test"]


def test_the_seed_decides_the_cut(tmp_path: Path) -> None:
    spec = written(tmp_path / "a.csv", rows(60))
    first, second = contents(prepare(spec)), contents(prepare(spec))
    other = prepare(DatasetSpec(path=spec.path, seed=1))

    assert first == second
    assert {name: len(part) for name, part in first.items()} == {
        name: len(part) for name, part in contents(other).items()
    }
    assert contents(other)["test"] != first["test"]
    assert other.digest != prepare(spec).digest


def test_a_sample_is_seeded_disjoint_and_keeps_the_shares(tmp_path: Path) -> None:
    dataset = prepare(DatasetSpec(path=str(tiny_texts(tmp_path / "a.csv", 150))))
    total = dataset.sizes["train"]

    sample = load_split(dataset, "train", 30, seed=1)

    assert np.bincount(sample["label"]).tolist() == [10, 10, 10]
    assert sample["text"][:] == load_split(dataset, "train", 30, seed=1)["text"][:]
    assert sample["text"][:] != load_split(dataset, "train", 30, seed=2)["text"][:]
    for everything in (0, total, total + 1):
        assert len(load_split(dataset, "train", everything)) == total


def test_a_sample_has_distinct_rows_in_order_and_every_class() -> None:
    rng = np.random.default_rng(0)
    for seed in range(50):
        labels = rng.choice(5, size=60, p=[0.7, 0.2, 0.05, 0.03, 0.02])
        chosen = stratified_sample(labels, 20, seed)

        assert len(chosen) == 20
        assert (np.diff(chosen) > 0).all()
        assert set(labels[chosen]) == set(labels)
        share = np.bincount(labels, minlength=5) / 3
        assert (np.abs(np.bincount(labels[chosen], minlength=5) - share) < 2.5).all()


# --- digest --------------------------------------------------------------------------------------


def test_the_digest_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    digests = {
        prepare(written(tmp_path / f"{i}.{ending}", rows())).digest
        for i, ending in enumerate(("csv", "tsv", "jsonl", "parquet"))
    }

    assert len(digests) == 1


def test_the_digest_changes_with_a_text_a_label_or_a_given_split(tmp_path: Path) -> None:
    text, label = rows(), rows()
    text["text"][0] = "another"
    label["label"][:2] = ["yes", "no"]
    split = {**rows(), "split": ["train"] * 8 + ["test"] * 4}
    digests = [
        prepare(written(tmp_path / f"{i}.csv", columns)).digest
        for i, columns in enumerate((rows(), text, label, split))
    ]

    assert len(set(digests)) == 4


def test_equal_labels_of_different_types_are_equal_content(tmp_path: Path) -> None:
    integers = prepare(written(tmp_path / "a.parquet", rows(12, (0, 1))))
    strings = prepare(written(tmp_path / "b.parquet", rows(12, ("0", "1"))))

    assert integers.digest == strings.digest


# --- what is no classification dataset -----------------------------------------------------------


@pytest.mark.parametrize("path", ["./nothing.csv", "nothing.parquet", "/no/such/folder", "~/none/"])
def test_a_missing_file_is_not_taken_for_a_hub_id(path: str) -> None:
    with pytest.raises(DatasetError, match=r"expected a file, a folder or a hub id: there is no"):
        prepare(DatasetSpec(path=path))


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()

    with pytest.raises(DatasetError, match=r"a\.csv: expected rows, got an empty file"):
        prepare(DatasetSpec(path=str(tmp_path / "a.csv")))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_without_rows_is_refused(tmp_path: Path, ending: str) -> None:
    with pytest.raises(DatasetError, match=r"expected labeled rows|expected a column of texts"):
        prepare(written(tmp_path / f"a.{ending}", {"text": [], "label": []}))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_that_is_something_else_is_one_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(bytes(range(256)) * 8)

    with pytest.raises(DatasetError, match=rf"a\.{ending}: cannot be read as a dataset: ") as error:
        prepare(DatasetSpec(path=str(path)))
    assert "\n" not in str(error.value)


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("x")

    with pytest.raises(DatasetError, match=r"expected a file of type \.csv, .* got '\.xlsx'"):
        prepare(DatasetSpec(path=str(tmp_path / "a.xlsx")))


def test_a_folder_of_neither_kind_says_what_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a folder of images with one folder a class"):
        prepare(DatasetSpec(path=str(tmp_path)))


def test_a_hub_dataset_that_cannot_be_reached_is_one_line() -> None:
    with pytest.raises(DatasetError, match="nobody/nothing: cannot be read as a dataset") as error:
        prepare(DatasetSpec(path="nobody/nothing"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"text": "txet"}, "no text column 'txet': expected one of text, label"),
        ({"text": "count"}, "no text column 'count': expected one of text"),
        ({"image": "text"}, "no image column 'text': expected one of none among text"),
        ({"label": "lable"}, "no label column 'lable': expected one of text, label, count"),
    ],
)
def test_an_unknown_column_lists_those_that_fit(
    tmp_path: Path, spec: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "a.parquet", {**rows(), "count": list(range(12))}).path

    with pytest.raises(DatasetError, match=message):
        prepare(DatasetSpec(path=path, **spec))


def test_columns_that_cannot_be_guessed_are_asked_for(tmp_path: Path) -> None:
    texts = rows()["text"]
    two = written(tmp_path / "a.csv", {"left": texts, "right": texts, "label": texts})
    bare = written(tmp_path / "b.csv", {"text": texts})
    many = written(tmp_path / "c.csv", {"text": texts, "a": texts, "b": texts})

    with pytest.raises(DatasetError, match=r"which column is the text\? got left, right, label"):
        prepare(two)
    for spec, columns in ((bare, "text"), (many, "text, a, b")):
        with pytest.raises(DatasetError, match=rf"which column is the label\? got {columns}: name"):
            prepare(spec)


def test_one_class_is_no_classification(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected two classes or more, got \['yes'\]"):
        prepare(written(tmp_path / "a.csv", rows(12, ("yes",))))


def test_fractions_are_a_regression(tmp_path: Path) -> None:
    columns = {**rows(), "label": [i / 4 for i in range(12)]}

    dataset = prepare(written(tmp_path / "a.csv", columns))

    train = targets_of(load_split(dataset, "train"), dataset)
    assert (dataset.task, dataset.classes, dataset.metric) == ("regression", (), "spearman")
    assert (dataset.mean, dataset.std) == pytest.approx((train.mean(), train.std()))
    found = find_prepared(dataset.name, dataset.digest, "text")
    assert found is not None
    assert found.target == dataset.target


def test_labels_are_stored_as_indices_and_read_as_flags(tmp_path: Path) -> None:
    labels = [["b"], ["a", "b"], [], ["a"]] * 3
    path = tmp_path / "a.jsonl"
    path.write_text(
        "\n".join(json.dumps({"text": f"t {i}", "labels": names}) for i, names in enumerate(labels))
    )

    dataset = prepare(DatasetSpec(path=str(path)))

    rows = load_split(dataset, "train")
    flags = targets_of(rows, dataset)
    assert (dataset.task, dataset.classes) == ("multilabel", ("a", "b"))
    assert dataset.account is not None
    assert "2 labels, 1 a row, none in 3 rows" in dataset.account.summary
    for text, row in zip(rows["text"], flags, strict=True):
        names = labels[int(text.split()[1])]
        assert row.tolist() == ["a" in names, "b" in names]


def test_a_regression_on_one_number_is_refused(tmp_path: Path) -> None:
    columns = {**rows(), "label": [0.5] * 12}

    with pytest.raises(
        DatasetError, match=r"different numbers in the train split, got 0\.5 in all"
    ):
        prepare(written(tmp_path / "a.csv", columns))


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("labels", [[], ["a", "b"]])
def test_a_split_on_which_all_models_tie_is_refused(
    tmp_path: Path, split: str, labels: list[str]
) -> None:
    """Average precision is not defined, or one, where all rows have the same labels."""
    rows = [{"text": f"t {i}", "labels": ["ab"[i % 2]], "split": "train"} for i in range(12)]
    rows += [{"text": f"u {i}", "labels": labels, "split": split} for i in range(4)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))

    with pytest.raises(DatasetError, match=f"expected different labels in the {split} split"):
        prepare(DatasetSpec(path=str(path)))


def test_numbers_that_floats_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    columns = {**rows(), "label": [i * 1e-300 for i in range(12)]}

    with pytest.raises(DatasetError, match="expected different numbers in the train split"):
        prepare(written(tmp_path / "a.csv", columns))


def test_a_metric_that_the_task_does_not_have_is_refused(tmp_path: Path) -> None:
    spec = replace(written(tmp_path / "a.csv", rows()), metric="spearman")

    with pytest.raises(DatasetError, match="a: metric: expected one of a classification"):
        prepare(spec)


def test_a_label_that_only_the_test_split_has_cannot_be_learned(tmp_path: Path) -> None:
    columns = {**rows(), "split": ["train"] * 11 + ["test"]}
    columns["label"][11] = "maybe"

    with pytest.raises(DatasetError, match="label 'maybe' of the test split never occurs in train"):
        prepare(written(tmp_path / "a.csv", columns))


def test_a_split_of_another_name_is_refused(tmp_path: Path) -> None:
    columns = {**rows(), "split": ["train"] * 11 + ["holdout"]}

    with pytest.raises(DatasetError, match="expected train, validation or test, got 'holdout'"):
        prepare(written(tmp_path / "a.csv", columns))


def test_a_split_column_without_train_is_refused(tmp_path: Path) -> None:
    columns = {**rows(), "split": ["test"] * 12}

    with pytest.raises(DatasetError, match="expected labeled rows to train on, got none"):
        prepare(written(tmp_path / "a.csv", columns))


def test_as_many_classes_as_rows_are_no_label(tmp_path: Path) -> None:
    columns = {"text": rows()["text"], "label": list(range(12))}

    with pytest.raises(DatasetError, match="got 12 rows of 12 classes: is that column really the"):
        prepare(written(tmp_path / "a.csv", columns))


# --- specifications ------------------------------------------------------------------------------


def test_an_entry_is_read_and_its_path_is_relative_to_its_file(tmp_path: Path) -> None:
    tiny_texts(tmp_path / "a.csv", 12)

    entry = {"path": "a.csv", "seed": "3", "label": "label", "text": None}
    spec = DatasetSpec.from_mapping(entry, "x", tmp_path)

    assert spec == DatasetSpec(path=str(tmp_path / "a.csv"), seed=3, label="label")
    assert DatasetSpec.from_mapping({"path": "org/name"}, "x", tmp_path).path == "org/name"


def test_an_entry_with_an_unknown_key_or_without_a_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="here: unknown key 'color': expected some of config"):
        DatasetSpec.from_mapping({"path": "a", "color": "x"}, "here", tmp_path)
    with pytest.raises(DatasetError, match="here: expected a path or hub id under 'path', got non"):
        DatasetSpec.from_mapping({}, "here", tmp_path)
    with pytest.raises(DatasetError, match="here: seed: expected an integer from 0 up, got 'x'"):
        DatasetSpec.from_mapping({"path": "a", "seed": "x"}, "here", tmp_path)


def test_the_title_is_the_name_or_what_the_path_is_called(tmp_path: Path) -> None:
    tiny_texts(tmp_path / "a.csv", 12)

    assert DatasetSpec(path=str(tmp_path / "a.csv")).title == "a"
    assert DatasetSpec(path=str(tmp_path / "a.csv"), name="b").title == "b"
    assert DatasetSpec(path="glue", config="sst2").title == "glue--sst2"
    assert DatasetSpec(path="org/name").title == "org--name"


def test_a_prepared_folder_describes_itself(tmp_path: Path) -> None:
    dataset = prepare(DatasetSpec(path=str(tiny_texts(tmp_path / "a.csv", 30))))

    data = json.loads((Path(dataset.folder) / "recall.json").read_text())
    assert data == {"classes": list(dataset.classes), "sizes": dict(dataset.sizes)}
