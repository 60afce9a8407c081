"""GLUE and SuperGLUE are known by name: small copies in the layout of their repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from mlflow_recall.adapters.data.labeled_rows import read_content
from mlflow_recall.adapters.data.preparation import load_split, prepare, read_account
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.known_datasets import KNOWN_DATASETS
from mlflow_recall.errors import DatasetError

ROWS = 20
CLASSES = datasets.ClassLabel(names=["no", "yes"])
#: what GLUE reports where that is not the accuracy
METRICS = {"cola": "matthews", "mrpc": "f1", "qqp": "f1", "stsb": "spearman"}


def rows(
    columns: tuple[str, ...], split: str, *, hidden: bool, is_regression: bool = False
) -> datasets.Dataset:
    """Return rows as the hub has them: class names are declared, hidden labels are -1."""
    content: dict[str, Any] = {
        column: [f"{split} {column} {i}" for i in range(ROWS)] for column in columns
    }
    content["label"] = [-1 if hidden else i % 5 if is_regression else i % 2 for i in range(ROWS)]
    content["idx"] = list(range(ROWS))
    features = {
        **{column: datasets.Value("string") for column in columns},
        "label": datasets.Value("float32") if is_regression else CLASSES,
        "idx": datasets.Value("int32"),
    }
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def copy_of(root: Path, name: str, config: str, columns: tuple[str, ...]) -> DatasetSpec:
    """Write a repository of the hub as a folder, and return the entry that names it."""
    known = KNOWN_DATASETS[name, config]
    matched = {new: old for old, new in known.splits.items()}
    folder = root / name / config
    folder.mkdir(parents=True)
    for split in ("train", "validation", "test"):
        part = rows(
            columns, split, hidden=split == "test", is_regression=known.task == "regression"
        )
        part.to_parquet(str(folder / f"{matched.get(split, split)}-00000-of-00001.parquet"))
    if known.splits:
        part = rows(columns, "other", hidden=False)
        part.to_parquet(str(folder / "validation_mismatched-00000-of-00001.parquet"))
    return DatasetSpec(path=str(root / name), config=config)


PLAIN = [key for key, known in KNOWN_DATASETS.items() if known.rewrite is None]


@pytest.mark.parametrize(("name", "config"), PLAIN)
def test_a_known_dataset_needs_its_name_alone(tmp_path: Path, name: str, config: str) -> None:
    """Its test labels are hidden: the given validation split is the test."""
    known = KNOWN_DATASETS[name, config]
    columns = tuple(filter(None, (known.text, known.text_pair)))

    spec = copy_of(tmp_path, name, config, columns)
    content, account = read_content(spec), read_account(spec)

    assert account.inputs == columns
    assert content.classes == (() if known.task == "regression" else ("no", "yes"))
    assert content.task == known.task
    assert prepare(spec).metric == METRICS.get(config, "accuracy")
    tests = content.splits["test"].inputs
    assert all("validation" in (text[0] if len(columns) > 1 else text) for text in tests)
    assert account.splits == {"train": 16, "validation": 4, "test": 20}
    assert account.left_out["hidden label (-1)"] == ROWS
    assert "the validation split is the test, whose own labels are hidden" in account.reading


def test_columns_that_are_named_win(tmp_path: Path) -> None:
    spec = copy_of(tmp_path, "nyu-mll/glue", "rte", ("sentence1", "sentence2"))
    one = DatasetSpec(path=spec.path, config="rte", text="sentence2")

    assert read_account(one).inputs == ("sentence2",)


def test_a_folder_of_files_named_by_split_is_read(tmp_path: Path) -> None:
    for split, count in (("train", 12), ("test", 6)):
        frame = pd.DataFrame(
            {"text": [f"{split} {i}" for i in range(count)], "label": ["a", "b"] * (count // 2)}
        )
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
    (tmp_path / "README.md").write_text("x")

    dataset = prepare(DatasetSpec(path=str(tmp_path)))

    assert dict(dataset.sizes) == {"train": 10, "validation": 2, "test": 6}


def test_parts_of_a_split_are_one_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for part in range(2):
        name = f"train-0000{part}-of-00002.parquet"
        rows(("text",), f"part {part}", hidden=False).to_parquet(str(tmp_path / "data" / name))

    assert read_account(DatasetSpec(path=str(tmp_path))).used == 2 * ROWS
    for part in range(2):
        (tmp_path / f"train-{part}.csv").write_text("text,label\na,b\n")
    with pytest.raises(
        DatasetError, match=r"one file of the train split, got train-0\.csv, train-1"
    ):
        read_content(DatasetSpec(path=str(tmp_path)))


def test_a_configuration_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "train.csv").write_text("text,label\n" + "a,b\nc,d\n" * 9)

    with pytest.raises(DatasetError, match="expected a folder of images"):
        read_content(DatasetSpec(path=str(tmp_path / "set"), config="../secret"))


def super_glue(root: Path, config: str, columns: dict[str, Any], classes: list[str]) -> DatasetSpec:
    """Write a task of SuperGLUE as a folder; the labels of its test split are hidden."""
    folder = root / "aps" / "super_glue" / config
    folder.mkdir(parents=True)
    features = datasets.Dataset.from_dict(columns).features
    features["label"] = datasets.ClassLabel(names=classes)
    for split in ("train", "validation", "test"):
        labels = [-1] * len(columns["label"]) if split == "test" else columns["label"]
        part = datasets.Dataset.from_dict({**columns, "label": labels}, features=features)
        part.to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    return DatasetSpec(path=str(root / "aps" / "super_glue"), config=config)


def test_words_of_wic_are_marked_in_both_sentences(tmp_path: Path) -> None:
    columns = {
        "word": ["bed"] * ROWS,
        "sentence1": [f"a cold bed {i}" for i in range(ROWS)],
        "sentence2": ["bed of roses"] * ROWS,
        "start1": [7] * ROWS,
        "end1": [10] * ROWS,
        "start2": [0] * ROWS,
        "end2": [3] * ROWS,
        "label": [i % 2 for i in range(ROWS)],
    }
    content = read_content(super_glue(tmp_path, "wic", columns, ["False", "True"]))

    assert content.columns.inputs == ("sentence1", "sentence2")
    assert content.splits["train"].inputs[3] == ("a cold * bed * 3", "* bed * of roses")


@pytest.mark.parametrize("config", ["wsc", "wsc.fixed"])
def test_noun_and_pronoun_of_wsc_are_marked(tmp_path: Path, config: str) -> None:
    columns = {
        "text": [f"Ann met old Eve , who smiled {i}" for i in range(ROWS)],
        "span1_index": [2] * ROWS,
        "span1_text": ["old Eve"] * ROWS,
        "span2_index": [5] * ROWS,
        "span2_text": ["who"] * ROWS,
        "label": [i % 2 for i in range(ROWS)],
    }
    content = read_content(super_glue(tmp_path, config, columns, ["False", "True"]))

    assert content.splits["train"].inputs[0] == "Ann met * old Eve * , # who # smiled 0"


def test_choices_of_copa_are_pairs_that_stay_together_and_are_judged_together(
    tmp_path: Path,
) -> None:
    columns = {
        "premise": [f"It rained {i}." for i in range(ROWS)],
        "choice1": ["We got wet."] * ROWS,
        "choice2": ["We got rich."] * ROWS,
        "question": ["effect", "cause"] * (ROWS // 2),
        "label": [i % 2 for i in range(ROWS)],
    }
    spec = super_glue(tmp_path, "copa", columns, ["choice1", "choice2"])
    content, dataset = read_content(spec), prepare(spec)

    assert content.classes == ("False", "True")
    train = content.splits["train"]
    asked = "It rained 0. What happened as a result?"
    assert train.inputs[:2] == [(asked, "We got wet."), (asked, "We got rich.")]
    assert train.targets[:4] == ["True", "False", "False", "True"]
    assert (dataset.metric, dataset.has_groups) == ("choice_accuracy", True)
    for split in ("train", "validation"):
        groups = list(load_split(dataset, split)["group"])
        assert all(groups.count(group) == 2 for group in groups)
    sample = load_split(dataset, "train", samples=7)
    assert len(sample) == 6
    assert all(list(sample["group"]).count(group) == 2 for group in sample["group"])


def test_answers_of_multirc_are_pairs_with_their_question(tmp_path: Path) -> None:
    columns = {
        "paragraph": [f"Paragraph {i // 4}." for i in range(ROWS)],
        "question": [f"Why {i // 2}?" for i in range(ROWS)],
        "answer": [f"So {i}." for i in range(ROWS)],
        "label": [i % 2 for i in range(ROWS)],
    }
    spec = super_glue(tmp_path, "multirc", columns, ["False", "True"])
    content, dataset = read_content(spec), prepare(spec)

    train = content.splits["train"]
    assert train.inputs[5] == ("Paragraph 1.", "Why 2? So 5.")
    assert train.groups == [i // 2 for i in range(ROWS)]
    assert (dataset.metric, dataset.has_groups) == ("f1", True)


def test_a_repository_in_another_layout_is_one_line(tmp_path: Path) -> None:
    spec = super_glue(tmp_path, "copa", {"premise": ["a"], "label": [0]}, ["choice1", "choice2"])

    with pytest.raises(DatasetError, match="copa: expected the column 'question', as the repos"):
        read_content(spec)
