"""A recorded dataset is prepared again exactly as it was, or an error says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_texts

from mlflow_recall.adapters.data.preparation import find_prepared, prepare
from mlflow_recall.adapters.data.restore import class_names, dataset_tags, restore_dataset
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.run_records import benchmark_record
from mlflow_recall.core.history.records import Dataset, Record
from mlflow_recall.errors import DatasetError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path / "cache"))


def record_for(dataset: Dataset, spec: str) -> Record:
    return Record(
        model="m",
        dataset=dataset.name,
        modality="text",
        dataset_digest=dataset.digest,
        dataset_spec=spec,
    )


def never(spec: DatasetSpec) -> Dataset:
    raise AssertionError(f"{spec.path} was prepared again")


def test_the_copy_on_this_machine_is_the_dataset(tmp_path: Path) -> None:
    """Also where its file is gone, and where it came from is unknown."""
    file = tiny_texts(tmp_path / "words.csv", 30)
    before = prepare(DatasetSpec(path=str(file)))
    file.unlink()

    result = restore_dataset(record_for(before, ""), never)

    assert (result.digest, result.classes, result.sizes) == (
        before.digest, before.classes, before.sizes,
    )  # fmt: skip
    assert (result.folder, result.modality, result.name) == (before.folder, "text", "words")


def test_without_a_copy_it_is_prepared_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is kept as an absolute one, so the working folder does not matter."""
    tiny_texts(tmp_path / "words.csv", 30)
    monkeypatch.chdir(tmp_path)
    before = prepare(DatasetSpec(path="words.csv", name="mine", text="text", seed=3))
    monkeypatch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path / "other"))
    monkeypatch.chdir("/")
    assert find_prepared("mine", before.digest, "text") is None

    result = restore_dataset(record_for(before, before.spec), prepare)

    assert (result.name, result.digest) == ("mine", before.digest)
    assert json.loads(before.spec)["path"] == str(tmp_path / "words.csv")


def test_what_changed_since_is_another_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_texts(tmp_path / "words.csv", 30)
    before = prepare(DatasetSpec(path=str(file)))
    monkeypatch.setenv("MLFLOW_RECALL_CACHE", str(tmp_path / "other"))
    tiny_texts(file, 60)

    with pytest.raises(
        DatasetError, match=f"words: .*has changed since: expected .*{before.digest}"
    ):
        restore_dataset(record_for(before, before.spec), prepare)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "no prepared copy on this machine, and its runs do not say where"),
        ("{", "what its runs say of it is damaged"),
        ("3", "what its runs say of it is damaged"),
        ('{"path": "/nowhere/x.csv"}', "there is no such file"),
    ],
)
def test_a_dataset_that_cannot_be_prepared_again_is_an_error(spec: str, why: str) -> None:
    record = Record(
        model="m",
        dataset="words",
        modality="text",
        dataset_digest="0123456789abcdef",
        dataset_spec=spec,
    )

    with pytest.raises(DatasetError, match=why):
        restore_dataset(record, prepare)


def record_told(**values: str) -> Record:
    """Return a record as it is read from the tags of its run."""
    known = {tags.MODEL: "m", tags.DATASET: "words", tags.MODALITY: "text", tags.DIGEST: "0" * 16}
    return benchmark_record({**known, **values}, "accuracy", [0.5], [], [1.0], 0.5, "run")


def test_what_a_run_says_of_its_dataset_is_what_a_record_knows(tmp_path: Path) -> None:
    dataset = prepare(DatasetSpec(path=str(tiny_texts(tmp_path / "words.csv", 30))))

    record = record_told(**dataset_tags(dataset))

    assert record.class_names == class_names(record) == ("cold", "mild", "warm")
    assert record.dataset_spec == dataset.spec


@pytest.mark.parametrize("values", ["{", "3", ""])
def test_a_damaged_list_of_classes_is_none(values: str) -> None:
    assert record_told(**{tags.CLASSES: values}).class_names == ()


def test_class_names_that_no_run_tells_are_those_of_the_copy(tmp_path: Path) -> None:
    dataset = prepare(DatasetSpec(path=str(tiny_texts(tmp_path / "words.csv", 30))))

    assert class_names(record_for(dataset, "")) == ("cold", "mild", "warm")
    assert class_names(replace(record_for(dataset, ""), dataset_digest="0" * 16)) == ()


def test_more_class_names_than_a_tag_holds_are_left_out(tmp_path: Path) -> None:
    many = Dataset(
        name="d",
        digest="0",
        modality="text",
        classes=tuple(f"class {i}" for i in range(2000)),
        sizes={},
        source="",
        folder="",
        spec="{}",
    )

    assert dataset_tags(many) == {tags.SPEC: "{}"}
