"""Labeled rows of a dataset, split by split, from any source, with an account of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_recall.adapters.data import arrow_tables, json_files, text_files
from mlflow_recall.adapters.data.image_folders import list_image_folder
from mlflow_recall.adapters.data.labels import (
    are_fractions,
    class_name,
    is_unicode,
    sort_classes,
)
from mlflow_recall.adapters.data.pictures import check_pictures
from mlflow_recall.adapters.data.split_names import find_split
from mlflow_recall.adapters.data.tables import RowLeftOut, Source, Table
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.known_datasets import find_known, with_known_columns
from mlflow_recall.core.dataset_account import LeftOut
from mlflow_recall.core.formatting import join_names
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_CELL, MAX_CLASSES, MAX_PICTURE

#: usual names of columns; one that is there is taken, of two none
_LABEL_COLUMNS = ("label", "labels", "target", "class", "category", "y")
_TEXT_COLUMNS = (
    "text", "sentence", "content", "review", "document", "question", "title", "sentence1",
    "sentence2", "question1", "question2", "text1", "text2", "premise", "hypothesis", "passage",
    "context", "query", "answer", "body",
)  # fmt: skip
#: why a picture is left out that is one by its name
_BROKEN_PICTURE = "cannot be decoded"
_TEXT_FILES = (".csv", ".tsv")
_JSON_FILES = (".json", ".jsonl", ".ndjson")
_PARQUET_FILES = (".parquet",)
#: endings of files that are read, those of text also with .gz after them
ENDINGS = (*_TEXT_FILES, *_JSON_FILES, *_PARQUET_FILES)


@dataclass(frozen=True, eq=False)
class LabeledRows:
    """Inputs (texts, pairs of texts, or encoded images) with the names of their classes."""

    inputs: list[Any]
    labels: list[str]


class _Row(NamedTuple):
    """A row that has all it needs."""

    number: int
    split: str
    class_: str
    content: Any


@dataclass(frozen=True)
class _Findings:
    """What reading a table has shown beside its rows."""

    #: class of a row that is left out -> why
    classes_left_out: Mapping[str, str]
    #: whether a picture is decoded in another way than by earlier versions
    has_new_look: bool


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that are read."""

    #: modality: ``text`` or ``image``
    kind: str
    #: one column, or those of the first and the second text of a pair
    inputs: tuple[str, ...]
    label: str
    #: column that names the split of each row; None: there is none
    split: str | None
    #: whether all cells are texts, labels that look like numbers too
    are_letters: bool
    #: what was decided and not said, for people
    reading: tuple[str, ...]

    @property
    def is_pair(self) -> bool:
        """Whether the inputs are pairs of texts."""
        return len(self.inputs) > 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Content:
    """All labeled rows of a source."""

    columns: Columns
    #: declared splits; train is one of them
    splits: Mapping[str, LabeledRows]
    #: names of the classes in their order
    classes: tuple[str, ...]
    #: class without any usable row -> why
    classes_left_out: Mapping[str, str]
    #: number of rows or files in the source
    read: int
    source: Source
    #: what was decided and not said, for people
    reading: tuple[str, ...]
    #: whether a picture is decoded in another way than by earlier versions
    has_new_look: bool = False


def read_content(spec: DatasetSpec) -> Content:
    """Return all labeled rows of a source.

    Raises:
        DatasetError: It cannot be read, lacks a column, or is no classification problem.
    """
    spec = with_known_columns(spec)
    source = _load(spec)
    tables = _declared_tables(source, spec)
    columns = _choose_columns(tables, spec)
    read = sum(map(len, tables.values())) + sum(source.left_out.counts.values())
    splits: dict[str, LabeledRows] = {}
    classes_left_out, has_new_look = dict(source.classes_left_out), False
    notes = [*columns.reading, *source.reading]
    for name, table in tables.items():
        try:
            findings = _add_rows(splits, name, table, columns, source.left_out)
        except DatasetError as error:
            raise DatasetError(f"{spec.title}: {error}") from None
        classes_left_out |= findings.classes_left_out
        has_new_look |= findings.has_new_look
    if "train" not in splits:
        raise DatasetError(
            f"{spec.title}: expected labeled {source.unit}s to train on, got none of {read}: "
            f"{_describe(splits, source)}"
        )
    if "test" in tables and "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes.append("the validation split is the test, whose own labels are hidden")
    if columns.are_letters and are_fractions(splits["train"].labels):
        raise DatasetError(
            f"{spec.title}: column {columns.label!r}: expected classes, got fractions: this is a "
            "regression problem"
        )
    classes = _classes(splits, spec)
    return Content(
        columns=columns,
        splits=splits,
        classes=classes,
        classes_left_out={
            name: why for name, why in classes_left_out.items() if name not in classes
        },
        read=read,
        source=source,
        reading=tuple(notes),
        has_new_look=has_new_look,
    )


def _describe(splits: Mapping[str, LabeledRows], source: Source) -> str:
    """Return where the rows of a source are that train has none of."""
    parts = [f"{len(rows.labels)} in the {split} split" for split, rows in splits.items()]
    for reason, count in source.left_out.counts.items():
        place = next(iter(source.left_out.places.get(reason, ())), "")
        parts.append(f"{count} left out: {reason}" + (f", such as {place}" if place else ""))
    return "; ".join(parts) or "it is empty"


def _load(spec: DatasetSpec) -> Source:
    """Return what a source holds, by its kind."""
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    path = Path(spec.path).expanduser()
    try:
        if path.is_file():
            return _load_file(path, spec)
        if path.is_dir():
            return _load_folder(path, spec)
        if _looks_local(spec.path):
            raise DatasetError(
                f"{spec.path}: expected a file, a folder or a hub id: there is no such file in "
                f"{Path.cwd()}"
            )
        return arrow_tables.read_hub(spec)
    except DatasetError:
        raise
    except Exception as error:  # libraries raise many kinds of errors for damaged files
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise DatasetError(f"{spec.path}: cannot be read as a dataset: {reason[0]}") from error


def _load_file(path: Path, spec: DatasetSpec) -> Source:
    ending = text_files.file_ending(path)
    if ending in _TEXT_FILES:
        return text_files.read_delimited(path, spec)
    if ending in _JSON_FILES:
        return json_files.read_json(path, spec)
    if ending in _PARQUET_FILES and path.suffix.lower() == ending:
        if not path.stat().st_size:
            raise DatasetError(f"{path}: expected rows, got an empty file")
        return arrow_tables.read_parquet(path)
    raise DatasetError(
        f"{path}: expected a file of type {', '.join(ENDINGS)} (text also as .gz), got "
        f"{path.suffix or 'no ending'!r}"
    )


def _load_folder(path: Path, spec: DatasetSpec) -> Source:
    if arrow_tables.is_saved(path):
        return arrow_tables.read_saved(path)
    files = _split_files(path, spec)
    return _load_split_files(files, spec) if files else _image_folder(path)


def _split_files(path: Path, spec: DatasetSpec) -> dict[str, list[Path]]:
    """Return split -> files of rows in a folder, as the repositories of the hub have them.

    They lie in the folder itself, in ``data``, or in a folder with the name of the configuration,
    and their names begin with the split: ``train.csv``, ``test-00000-of-00002.parquet``.
    """
    for folder in (path / spec.config if spec.config else path, path / "data"):
        files: dict[str, list[Path]] = {}
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            split = file.name.partition(".")[0].partition("-")[0]
            if (
                text_files.file_ending(file) in ENDINGS
                and _is_split(split, spec)
                and _is_inside(file, path)
            ):
                files.setdefault(split, []).append(file)
        if files:
            return files
    return {}


def _is_inside(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def _is_split(name: str, spec: DatasetSpec) -> bool:
    known = find_known(spec)
    return find_split(name) is not None or (known is not None and name in known.splits)


def _load_split_files(files: Mapping[str, Sequence[Path]], spec: DatasetSpec) -> Source:
    """Return the rows of files that hold a split each, or a part of one."""
    sources = {}
    for split, parts in files.items():
        if len(parts) == 1:
            sources[split] = _load_file(parts[0], spec)
        elif all(text_files.file_ending(part) in _PARQUET_FILES for part in parts):
            sources[split] = arrow_tables.read_parquet(*parts)
        else:
            raise DatasetError(
                f"{parts[0].parent}: expected one file of the {split} split, got "
                f"{join_names(part.name for part in parts)}: only Parquet files are parts of one"
            )
    left_out = LeftOut()
    for source in sources.values():
        left_out.extend(source.left_out)
    return Source(
        tables={split: source.tables["train"] for split, source in sources.items()},
        left_out=left_out,
        reading=tuple(dict.fromkeys(line for s in sources.values() for line in s.reading)),
    )


def _image_folder(path: Path) -> Source:
    """Return the pictures of a folder as rows with the columns ``image`` and ``label``."""
    listing = list_image_folder(path)
    root = path.resolve()
    left_out = LeftOut()
    for reason, files in listing.left_out.items():
        for file in files:
            left_out.add(reason, str(file.relative_to(root)))
    return Source(
        tables={split: _picture_table(rows, root) for split, rows in listing.splits.items()},
        left_out=left_out,
        classes_left_out=dict.fromkeys(listing.empty_classes, "no picture that is read"),
        reading=listing.notes,
        unit="file",
    )


def _picture_table(rows: Sequence[tuple[Path, str]], root: Path) -> Table:
    return Table(
        columns={
            "image": [{"path": file} for file, _ in rows],
            "label": [label for _, label in rows],
        },
        texts=(),
        images=("image",),
        folder=root,
        place=lambda row: str(rows[row][0].relative_to(root)),
    )


def _looks_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or text_files.file_ending(Path(path)) in ENDINGS


def _declared_tables(source: Source, spec: DatasetSpec) -> dict[str, Table]:
    """Return the tables by the split that they stand for; one without a split's name is train."""
    tables: dict[str, Table] = {}
    names: dict[str, str] = {}
    known = find_known(spec)
    for name, table in source.tables.items():
        split = find_split(known.splits.get(name, name) if known else name)
        if split is None and len(source.tables) == 1:
            split = "train"
        if split is None:
            source.left_out.add(f"split {name!r} is not used", count=len(table))
        elif split in tables:
            raise DatasetError(
                f"{spec.title}: expected every split once, got {names[split]!r} and {name!r} as "
                f"{split}: rename or merge them"
            )
        else:
            tables[split], names[split] = table, name
    if not tables:
        raise DatasetError(
            f"{spec.title}: expected splits named train, validation or test, got "
            f"{join_names(source.tables)}"
        )
    return tables


def _choose_columns(tables: Mapping[str, Table], spec: DatasetSpec) -> Columns:
    """Return the columns of a specification, or those that can be no others."""
    first = next(iter(tables.values()))
    names = [name for name in first.columns if name]
    are_letters = _are_all_texts(first)
    kind, inputs = _input_columns(first, names if are_letters else first.texts, spec)
    label = _label_column(spec, names, inputs)
    split = _split_column(spec, names) if len(tables) == 1 else None
    if split in (*inputs, label):
        raise DatasetError(
            f"{spec.title}: expected different columns for inputs, label and split, got {split!r} "
            "twice"
        )
    if label in inputs:
        raise DatasetError(
            f"{spec.title}: expected different columns for input and label, got {label!r} for both"
        )
    for name, table in tables.items():
        if lacking := {*inputs, label} - {*table.columns}:
            raise DatasetError(
                f"{spec.title}: the {name} split has no column {min(lacking)!r}: expected the "
                f"columns of all splits to be the same, got {', '.join(table.columns)}"
            )
    reading = []
    if not (spec.text or spec.image or kind == "image"):
        others = [c for c in first.texts if c not in (*inputs, label, split)]
        unread = f" (not {', '.join(others)})" if others else ""
        reading.append(f"text from {inputs[0]!r}{unread}")
    if not spec.label and (len(names) > 2 or label.lower() not in _LABEL_COLUMNS):
        reading.append(f"label from {label!r}")
    return Columns(
        kind=kind,
        inputs=inputs,
        label=label,
        split=split,
        are_letters=are_letters,
        reading=tuple(reading),
    )


def _split_column(spec: DatasetSpec, columns: Sequence[str]) -> str | None:
    """Return the column that names the split of each row; by default that with the usual name."""
    if spec.split in columns:
        return spec.split
    if spec.split != DatasetSpec.split:
        raise DatasetError(_no_column(spec, "split", spec.split, columns, columns))
    similar = [column for column in columns if column.lower() == spec.split]
    if len(similar) > 1:
        raise DatasetError(_which(spec, "split", similar))
    return similar[0] if similar else None


def _input_columns(
    table: Table, texts: Sequence[str], spec: DatasetSpec
) -> tuple[str, tuple[str, ...]]:
    """Return modality and names of the columns that a model reads."""
    names = [name for name in table.columns if name]
    given = (("image", spec.image, table.images), ("text", spec.text, texts))
    for kind, column, usable in (*given, ("text", spec.text_pair, texts)):
        if column and column not in usable:
            raise DatasetError(_no_column(spec, kind, column, usable, names))
    if spec.text_pair and (not spec.text or spec.text == spec.text_pair):
        raise DatasetError(
            f"{spec.title}: text: expected two columns of a pair, got {spec.text_pair!r} alone"
        )
    if spec.image:
        return "image", (spec.image,)
    if spec.text:
        return "text", tuple(filter(None, (spec.text, spec.text_pair)))
    if len(table.images) == 1:
        return "image", (table.images[0],)
    if table.images:
        raise DatasetError(_which(spec, "image", table.images))
    labels = [spec.label] if spec.label else _usual(_LABEL_COLUMNS, names)
    likely = [c for c in table.texts if c not in labels and c.lower() != spec.split.lower()]
    usual = _usual(_TEXT_COLUMNS, likely)
    if len(usual) == 1:
        return "text", (usual[0],)
    if len(likely) == 1:
        return "text", (likely[0],)
    if not likely:
        raise DatasetError(
            f"{spec.title}: expected a column of texts or pictures, got none among "
            f"{join_names(names)}: name it with --text COLUMN"
        )
    raise DatasetError(_which(spec, "text", usual or names))


def _are_all_texts(table: Table) -> bool:
    """Return whether the file has texts alone, so that a column of digits can be one."""
    return all(isinstance(next(iter(cells), None), str) for cells in table.columns.values())


def _label_column(spec: DatasetSpec, columns: Sequence[str], inputs: Sequence[str]) -> str:
    """Return the name of the column with the labels."""
    if spec.label:
        if spec.label not in columns:
            raise DatasetError(_no_column(spec, "label", spec.label, columns, columns))
        return spec.label
    others = [c for c in columns if c not in inputs and c.lower() != spec.split.lower()]
    usual = _usual(_LABEL_COLUMNS, others)
    if len(usual) == 1:
        return usual[0]
    if len(others) == 1:
        return others[0]
    raise DatasetError(_which(spec, "label", usual or columns))


def _which(spec: DatasetSpec, kind: str, columns: Sequence[str]) -> str:
    pair = ", or both of a pair with --text FIRST,SECOND" if kind == "text" else ""
    return (
        f"{spec.title}: which column is the {kind}? got {join_names(columns)}: name it with "
        f"--{kind} COLUMN{pair}"
    )


def _no_column(
    spec: DatasetSpec, kind: str, column: str, usable: Sequence[str], columns: Sequence[str]
) -> str:
    expected = ", ".join(usable) or f"none among {', '.join(columns)}"
    return f"{spec.title}: no {kind} column {column!r}: expected one of {expected}"


def _usual(usual_names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns with a usual name, in any case."""
    return [column for column in columns if column.lower() in usual_names]


def _add_rows(
    splits: dict[str, LabeledRows], name: str, table: Table, columns: Columns, left_out: LeftOut
) -> _Findings:
    """Add the rows of a table that have an input, a label and a split to their splits."""
    declared = table.class_names.get(columns.label)
    is_image = columns.kind == "image"
    read_input = _read_image if is_image else _read_texts
    split_cells = table.columns[columns.split] if columns.split else [name] * len(table)
    values = zip(*(table.columns[name] for name in columns.inputs), strict=True)
    cells = zip(values, table.columns[columns.label], split_cells, strict=True)
    rows: list[_Row] = []
    classes_left_out: dict[str, str] = {}
    for i, (row_values, key, split_cell) in enumerate(cells):
        column, class_ = columns.label, None
        try:
            class_ = class_name(key, declared)
            column = columns.split or ""
            split = _read_split(split_cell)
            column = " and ".join(columns.inputs)
            rows.append(_Row(i, split, class_, read_input(row_values, table)))
        except RowLeftOut as reason:
            left_out.add(str(reason), table.place(i))
            if class_ is not None:
                classes_left_out.setdefault(class_, str(reason))
        except DatasetError as error:
            raise DatasetError(f"column {column!r}: {table.place(i)}: {error}") from None
    check = check_pictures([row.content for row in rows]) if is_image else None
    for position, row in enumerate(rows):
        if check and position in check.broken:
            place = f"{table.place(row.number)} ({check.broken[position]})"
            left_out.add(_BROKEN_PICTURE, place)
            classes_left_out.setdefault(row.class_, _BROKEN_PICTURE)
            continue
        part = splits.setdefault(row.split, LabeledRows([], []))
        part.inputs.append(row.content)
        part.labels.append(row.class_)
    return _Findings(classes_left_out, has_new_look=bool(check and check.changed))


def _read_split(cell: object) -> str:
    if cell is None or cell == "":
        raise RowLeftOut("no split")
    split = find_split(str(cell))
    if split is None:
        raise DatasetError(
            f"expected train, validation or test, got {str(cell)!r}: name the column of the splits "
            "with --split"
        )
    return split


def _read_texts(values: Sequence[object], _: Table) -> str | tuple[str, ...]:
    """Return a text, or both texts of a pair."""
    texts = tuple(_read_text(value) for value in values)
    return texts if len(texts) > 1 else texts[0]


def _read_text(value: object) -> str:
    if value is None or value == "":
        raise RowLeftOut("no text")
    if not isinstance(value, str):
        raise DatasetError(f"expected a text, got {type(value).__name__}")
    if len(value) > MAX_CELL:
        raise DatasetError(
            f"expected texts of at most {MAX_CELL} characters, got one of {len(value)}"
        )
    if not is_unicode(value):
        raise RowLeftOut("text that is not Unicode")
    return value


def _read_image(values: Sequence[Any], table: Table) -> bytes:
    """Return the bytes of an encoded image, from the cell or from a file of the dataset's."""
    (value,) = values
    content = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None
    if content is None and path:
        content = _read_file(str(path), table.folder)
    if not content:
        raise RowLeftOut("no picture")
    if not isinstance(content, bytes):
        raise DatasetError(f"expected an encoded picture, got {type(content).__name__}")
    if len(content) > MAX_PICTURE:
        raise RowLeftOut(f"picture of over {MAX_PICTURE // 10**6} MB")
    return content


def _read_file(path: str, folder: Path | None) -> bytes:
    """Return the content of a file that a cell names; only those of the dataset's folder count."""
    if folder is None or not _is_inside(folder / path, folder):
        raise DatasetError(
            f"expected a picture in the dataset's own folder, got the path {path!r}: save the "
            "dataset with its pictures in it"
        )
    try:
        return (folder / path).read_bytes()
    except OSError:
        raise RowLeftOut("file that cannot be read") from None


def _classes(splits: Mapping[str, LabeledRows], spec: DatasetSpec) -> tuple[str, ...]:
    """Return the classes of train in their order."""
    classes = set(splits["train"].labels)
    for split, rows in splits.items():
        if unknown := sorted(set(rows.labels) - classes):
            raise DatasetError(
                f"{spec.title}: label {unknown[0]!r} of the {split} split never occurs in train: "
                f"expected one of {', '.join(sorted(classes)[:10])}"
            )
    total = sum(len(rows.labels) for rows in splits.values())
    if len(classes) < 2:
        raise DatasetError(f"{spec.title}: expected two classes or more, got {sorted(classes)}")
    if total < 3 * len(classes):
        raise DatasetError(
            f"{spec.title}: expected at least 3 rows a class, got {total} rows of {len(classes)} "
            "classes: is that column really the label?"
        )
    if len(classes) > MAX_CLASSES:
        raise DatasetError(
            f"{spec.title}: expected at most {MAX_CLASSES} classes, got {len(classes)}: is that "
            "column really the label?"
        )
    return sort_classes(classes)
