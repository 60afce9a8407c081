"""Which rows of a source are used, from which columns, and what is said of the others."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from pictures import CHANGED, UNCHANGED, file_of
from PIL import Image
from pyarrow import parquet
from tiny import tiny_images

from mlflow_recall.adapters.data import labeled_rows
from mlflow_recall.adapters.data.labeled_rows import Content, read_content
from mlflow_recall.adapters.data.preparation import (
    find_prepared,
    load_split,
    prepare,
    read_account,
)
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.errors import DatasetError

TEXTS = [f"text {i}" for i in range(12)]
LABELS = ["no", "yes"] * 6


def spec_of(path: Path, **fields: Any) -> DatasetSpec:
    return DatasetSpec(path=str(path), **fields)


def csv_of(path: Path, **columns: list[Any]) -> DatasetSpec:
    pd.DataFrame(columns).to_csv(path, index=False)
    return spec_of(path)


def rows_of(content: Content) -> list[tuple[Any, Any]]:
    return [
        pair
        for rows in content.splits.values()
        for pair in zip(rows.inputs, rows.targets, strict=True)
    ]


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ({"title": TEXTS, "text": TEXTS, "label": LABELS}, "text"),
        ({"premise": TEXTS, "hypothesis": TEXTS, "label": LABELS}, "text"),
        ({"question": TEXTS, "passage": TEXTS, "label": LABELS}, "text"),
        ({"text": TEXTS, "label": LABELS, "target": LABELS}, "label"),
        ({"text": TEXTS, "class": LABELS, "category": LABELS}, "label"),
    ],
)
def test_of_two_candidates_none_is_taken(
    tmp_path: Path, columns: dict[str, list[str]], kind: str
) -> None:
    """Half of a sentence pair is another task, and one of two labels another question."""
    with pytest.raises(
        DatasetError, match=rf"which column is the {kind}\? got .*: name it with --"
    ):
        read_content(csv_of(tmp_path / "a.csv", **columns))


def test_what_was_taken_is_said(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", id=list(range(12)), text=TEXTS, author=LABELS, stars=LABELS)

    with pytest.raises(DatasetError, match="which column is the label"):
        read_content(spec)
    account = read_account(spec_of(tmp_path / "a.csv", label="stars"))
    assert account.reading == ("text from 'text' (not author)",)
    named = read_account(spec_of(tmp_path / "a.csv", label="stars", text="text"))
    assert named.reading == ()


def test_a_label_that_is_only_what_is_left_is_named(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, other=LABELS)

    assert read_account(spec).reading == ("text from 'text'", "label from 'other'")


def test_a_column_of_digits_is_a_text_where_it_is_named(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", code=list(range(12)), text=TEXTS, label=LABELS)

    content = read_content(spec_of(Path(spec.path), text="code", label="label"))

    assert [value for value, _ in rows_of(content)] == [str(i) for i in range(12)]


def test_a_column_for_splits_that_is_named_must_exist(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, label=LABELS)

    with pytest.raises(DatasetError, match="no split column 'fold': expected one of text, label"):
        read_content(spec_of(Path(spec.path), split="fold"))


# --- rows ----------------------------------------------------------------------------------------


def test_every_row_is_used_or_counted_with_its_reason(tmp_path: Path) -> None:
    lines = ["text,label,split", "a,NA,train", ",b,train", "c,,Train", "d,e,", "f", "g,null,TEST"]
    path = tmp_path / "a.csv"
    path.write_text(
        "\n".join([*lines, *(f"t{i},{'NA' if i % 2 else 'null'},train" for i in range(9))])
    )

    account = read_account(spec_of(path))

    assert account.read == 15
    assert dict(account.left_out) == {
        "too few cells": 1, "no text": 1, "no label": 1, "no split": 1,
    }  # fmt: skip
    assert account.places["no text"] == ("row 2 (line 3)",)
    assert account.used + sum(account.left_out.values()) == account.read
    assert account.classes == {"NA": 5, "null": 6}
    assert account.classes_left_out == {"b": "no text", "e": "no split"}


@pytest.mark.parametrize("name", ["Train", " TEST ", "Validation", "Dev"])
def test_split_names_have_any_case(tmp_path: Path, name: str) -> None:
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, label=LABELS, split=["train"] * 8 + [name] * 4)

    assert len(rows_of(read_content(spec))) == 12


def test_an_unknown_split_names_its_row(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, label=LABELS, split=["train"] * 11 + ["fold 3"])

    with pytest.raises(
        DatasetError, match=r"column 'split': row 12 \(line 13\): expected train, .*got 'fold 3'"
    ):
        read_content(spec)


def test_fractions_in_letters_are_a_regression(tmp_path: Path) -> None:
    content = read_content(csv_of(tmp_path / "a.csv", text=TEXTS, label=[i / 4 for i in range(12)]))

    assert (content.task, content.classes) == ("regression", ())
    assert content.splits["train"].targets == [i / 4 for i in range(12)]
    assert "task regression" in content.reading


def test_labels_of_two_kinds_name_a_row_of_each(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": text, "label": ["x"] if i == 3 else "x"} for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(map(json.dumps, rows)))

    with pytest.raises(DatasetError, match=r"got 'x' in row 1 and \['x'\] in row 4: mend the rows"):
        read_content(spec_of(path))


@pytest.mark.parametrize("bad", [float("inf"), {"a": 1}])
def test_a_label_that_is_none_names_its_row(tmp_path: Path, bad: object) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": text, "label": 1.0} for text in TEXTS]
    rows[3]["label"] = bad
    path.write_text("\n".join(map(json.dumps, rows)))

    with pytest.raises(DatasetError, match=r"a: column 'label': .*row 4: (expected|mend)"):
        read_content(spec_of(path))


def test_a_text_of_another_type_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows: list[dict[str, Any]] = [
        {"text": t, "label": label} for t, label in zip(TEXTS, LABELS, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, [*rows, {"text": "\ud800", "label": "no"}])))
    assert read_content(spec_of(path)).source.left_out.counts == {"text that is not Unicode": 1}

    path.write_text("\n".join(map(json.dumps, [*rows, {"text": 3, "label": "no"}])))
    with pytest.raises(DatasetError, match="expected a column of texts or pictures"):
        read_content(spec_of(path))


def test_more_classes_than_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeled_rows, "MAX_CLASSES", 3)
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, label=list("abcd") * 3)

    with pytest.raises(DatasetError, match="expected at most 3 classes, got 4"):
        read_content(spec)


# --- Parquet and saved datasets ------------------------------------------------------------------


def test_types_of_parquet_are_kept(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": TEXTS, "label": pd.Categorical(LABELS), "day": ["2024-01-01"] * 12}
    )
    frame.to_parquet(tmp_path / "a.parquet")

    content = read_content(spec_of(tmp_path / "a.parquet", text="text", label="label"))
    assert content.classes == ("no", "yes")
    days = read_content(spec_of(tmp_path / "a.parquet", text="day", label="label"))
    assert {value for value, _ in rows_of(days)} == {"2024-01-01"}


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    """Content decides, whatever the time stamp says."""
    for ending in ("csv", "parquet", "jsonl"):
        path = tmp_path / f"a.{ending}"
        digests = set()
        for word in ("old", "new"):
            frame = pd.DataFrame({"text": [f"{word} {i}" for i in range(12)], "label": LABELS})
            if ending == "csv":
                frame.to_csv(path, index=False)
            elif ending == "parquet":
                frame.to_parquet(path)
            else:
                frame.to_json(path, orient="records", lines=True)
            os.utime(path, (1, 1))
            digests.add(prepare(spec_of(path)).digest)
        assert len(digests) == 2


def png(side: int = 4) -> bytes:
    return file_of(Image.new("RGB", (side, side)))


def image_cell(**fields: Any) -> dict[str, Any]:
    return {"bytes": None, "path": None, **fields}


def test_a_picture_outside_of_the_dataset_is_never_read(tmp_path: Path) -> None:
    """A Parquet file could name any file of the machine."""
    (tmp_path / "secret").write_bytes(png())
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for path in (str(tmp_path / "secret"), "../secret", "link.png", "/etc/passwd"):
        cells = [image_cell(bytes=png())] * 11 + [image_cell(path=path)]
        table = pa.table({"image": pa.array(cells, kind), "label": LABELS})
        parquet.write_table(table, folder / "a.parquet")
        with pytest.raises(DatasetError, match="row 12: expected a picture in the dataset's own"):
            read_content(spec_of(folder / "a.parquet"))


def test_a_picture_beside_its_table_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [image_cell(bytes=png(side=i + 2)) for i in range(10)]
    cells += [image_cell(path="a.png"), image_cell(path="gone.png")]
    parquet.write_table(
        pa.table({"image": pa.array(cells, kind), "label": LABELS}), tmp_path / "a.parquet"
    )

    account = read_account(spec_of(tmp_path / "a.parquet"))

    assert (account.modality, account.used) == ("image", 11)
    assert dict(account.left_out) == {"file that cannot be read": 1}


@pytest.mark.parametrize("kind", ["state", "splits", "link"])
def test_a_saved_folder_reads_nothing_outside_of_it(tmp_path: Path, kind: str) -> None:
    columns = {"text": TEXTS, "label": LABELS}
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    datasets.DatasetDict(train=datasets.Dataset.from_dict(columns)).save_to_disk(str(inside))
    shutil.copytree(inside / "train", outside)
    if kind == "state":
        state = json.loads((inside / "train" / "state.json").read_text())
        state["_data_files"] = [{"filename": "../../outside/data-00000-of-00001.arrow"}]
        (inside / "train" / "state.json").write_text(json.dumps(state))
    elif kind == "splits":
        (inside / "dataset_dict.json").write_text('{"splits": ["../outside"]}')
    else:
        shutil.rmtree(inside / "train")
        (inside / "train").symlink_to(outside)

    with pytest.raises(DatasetError, match="expected files inside of it"):
        read_content(spec_of(inside))


def test_splits_of_other_names_are_counted(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": LABELS})
    datasets.DatasetDict(train=rows, unsupervised=rows).save_to_disk(str(tmp_path / "a"))
    datasets.DatasetDict(train=rows, Training=rows).save_to_disk(str(tmp_path / "b"))
    datasets.DatasetDict(one=rows, two=rows).save_to_disk(str(tmp_path / "c"))

    account = read_account(spec_of(tmp_path / "a"))
    assert dict(account.left_out) == {"split 'unsupervised' is not used": 12}
    assert account.read == 24
    with pytest.raises(DatasetError, match="every split once, got 'train' and 'Training' as train"):
        read_content(spec_of(tmp_path / "b"))
    with pytest.raises(DatasetError, match=r"expected splits named train, .* got one, two"):
        read_content(spec_of(tmp_path / "c"))


# --- image folders -------------------------------------------------------------------------------


def test_files_of_an_image_folder_are_all_accounted_for(tmp_path: Path) -> None:
    folder = tiny_images(tmp_path / "pets", 15)
    first = sorted(path.name for path in folder.iterdir())[0]
    (folder / "metadata.csv").write_text("file_name,camera\n")
    (folder / first / "notes.txt").write_text("x")
    (folder / first / "broken.png").write_bytes(b"<html>not found</html>")
    (folder / "photos").mkdir()
    (folder / "photos" / "a.heic").write_bytes(b"x")

    account = read_account(spec_of(folder))

    assert (account.unit, account.used, account.read) == ("file", 15, 19)
    assert dict(account.left_out) == {
        "format that is not read": 1, "metadata file": 1, "not a picture": 1,
        "cannot be decoded": 1,
    }  # fmt: skip
    assert account.places["cannot be decoded"][0].startswith(f"{first}/broken.png (expected a pict")
    assert account.to_dict()["files"]["used"] == 15
    assert account.classes_left_out == {"photos": "no picture that is read"}


def test_what_looks_otherwise_has_a_new_digest_and_nothing_else(tmp_path: Path) -> None:
    """Transparent pixels lay on black before; an opaque picture looks as it did."""
    folder = tiny_images(tmp_path / "pets", 12)
    target = next(folder.rglob("*.png"))
    for name, is_new in (("RGB", False), ("opaque RGBA", False), ("RGBA", True)):
        target.write_bytes((CHANGED if is_new else UNCHANGED)[name])
        assert read_content(spec_of(folder)).has_new_look is is_new


def test_a_gzipped_json_file_is_read(tmp_path: Path) -> None:
    lines = "\n".join(
        json.dumps({"text": t, "label": label}) for t, label in zip(TEXTS, LABELS, strict=True)
    )
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))

    assert len(rows_of(read_content(spec_of(tmp_path / "a.jsonl.gz")))) == 12


# --- sentence pairs ------------------------------------------------------------------------------

PAIRS: dict[str, list[Any]] = {"premise": TEXTS, "hypothesis": TEXTS[::-1], "label": LABELS}


def test_a_pair_has_both_texts_in_their_order(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", **PAIRS)
    spec = replace(spec, text="premise", text_pair="hypothesis")

    dataset, account = prepare(spec), read_account(spec)

    assert account.inputs == ("premise", "hypothesis")
    assert dataset.has_pairs
    pairs = {
        (row["text"], row["text_pair"])
        for split in ("train", "validation", "test")
        for row in load_split(dataset, split)
    }
    assert pairs == set(zip(TEXTS, TEXTS[::-1], strict=True))
    restored = find_prepared("a", dataset.digest, "text")
    assert restored is not None
    assert restored.has_pairs


def test_the_order_and_the_border_of_a_pair_are_its_content(tmp_path: Path) -> None:
    digests = set()
    for i, (first, second) in enumerate((("a b", "c"), ("a", "b c"), ("c", "a b"))):
        firsts = [f"{text} {first}" for text in TEXTS]
        spec = csv_of(tmp_path / f"{i}.csv", one=firsts, two=[second] * 12, label=LABELS)
        digests.add(prepare(replace(spec, text="one", text_pair="two")).digest)
    assert len(digests) == 3


def test_a_row_without_one_of_its_texts_is_left_out(tmp_path: Path) -> None:
    columns = {**PAIRS, "hypothesis": [*TEXTS[:11], ""]}
    spec = csv_of(tmp_path / "a.csv", **columns)

    account = read_account(replace(spec, text="premise", text_pair="hypothesis"))

    assert (account.used, dict(account.left_out)) == (11, {"no text": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "premise", "text_pair": "gone"}, "no text column 'gone': expected one of"),
        ({"text_pair": "premise"}, "expected two columns of a pair, got 'premise' alone"),
        ({"text": "premise", "text_pair": "premise"}, "expected two columns of a pair"),
        ({}, r"which column is the text\? got premise, hypothesis: .*--text FIRST,SECOND"),
    ],
)
def test_half_a_pair_is_one_line(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    spec = csv_of(tmp_path / "a.csv", **PAIRS)

    with pytest.raises(DatasetError, match=message):
        read_content(replace(spec, **fields))  # type: ignore[arg-type]


def test_a_pair_in_a_file_of_datasets_is_a_list(tmp_path: Path) -> None:
    entry = {"path": "a", "text": ["premise", "hypothesis"]}
    spec = DatasetSpec.from_mapping(entry, "x", tmp_path)

    assert (spec.text, spec.text_pair) == ("premise", "hypothesis")
    assert DatasetSpec.from_mapping(json.loads(spec.to_json()), "x", tmp_path) == spec
    assert DatasetSpec.from_mapping({"path": "a", "text": ["b"]}, "x", tmp_path).text == "b"
    for columns in ([], ["a", "b", "c"], [["a"], "b"]):
        with pytest.raises(DatasetError, match="x: text"):
            DatasetSpec.from_mapping({"path": "a", "text": columns}, "x", tmp_path)


# --- what a stranger stumbled over ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["Split", "SPLIT", "split"])
def test_the_split_column_has_any_case(tmp_path: Path, name: str) -> None:
    """Otherwise rows of the given test split are trained on."""
    columns = {"text": TEXTS, "label": LABELS, name: ["train"] * 6 + ["val"] * 2 + ["test"] * 4}

    account = read_account(csv_of(tmp_path / "a.csv", **columns))

    assert account.splits == {"train": 6, "validation": 2, "test": 4}


def test_one_column_is_never_input_and_label(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", text=LABELS, label=LABELS)

    for fields in ({"text": "label", "label": "label"}, {"label": "label", "split": "label"}):
        with pytest.raises(DatasetError, match="expected different columns"):
            read_content(replace(spec, **fields))  # type: ignore[arg-type]


def test_where_nothing_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    spec = csv_of(tmp_path / "a.csv", text=TEXTS, label=[""] * 12)
    with pytest.raises(DatasetError, match=r"got none of 12: 12 left out: no label, such as row 1"):
        read_content(spec)

    spec = csv_of(tmp_path / "b.csv", text=TEXTS, label=LABELS, split=["test"] * 12)
    with pytest.raises(DatasetError, match=r"got none of 12: 12 in the test split"):
        read_content(spec)


def test_addresses_and_endless_names_are_no_datasets() -> None:
    """A password in an address would become part of names in the store."""
    for path in ("http://u:pw123@host/x.csv", "s3://key:pw123@bucket/x", "hf://datasets/a/b"):
        with pytest.raises(DatasetError, match="expected a file, a folder or a hub id") as error:
            DatasetSpec(path=path)
        assert "pw123" not in str(error.value)
    with pytest.raises(DatasetError, match=r"x: name of a dataset: expected at most 250 char"):
        DatasetSpec.from_mapping({"path": "a", "name": "n" * 251}, "x", Path())


def test_a_name_acts_on_no_terminal_and_holds_no_secret() -> None:
    """It becomes a tag, a parameter and the name of a run, on pages of others too."""
    assert DatasetSpec(path="a", name="x\x1b[31m\ny").title == r"x\x1b[31m y"
    assert DatasetSpec(path="odd\u202ename").title == r"odd\u202ename"
    assert "pw123" not in DatasetSpec(path="a", name="password=pw123").title
    assert DatasetSpec(path="a", name="kay's tickets, 50 % <b>").title == "kay's tickets, 50 % <b>"
