"""Labeled rows of a dataset, split by split, from any source, with an account of every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_recall.adapters.data import arrow_tables, json_files, text_files
from mlflow_recall.adapters.data.image_folders import list_image_folder
from mlflow_recall.adapters.data.labels import is_unicode, sort_classes
from mlflow_recall.adapters.data.pictures import check_pictures
from mlflow_recall.adapters.data.split_names import find_split
from mlflow_recall.adapters.data.tables import RowLeftOut, Source, Table
from mlflow_recall.adapters.data.targets import RowTarget, TargetReader, make_reader, names_in
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.adapters.manifests.known_datasets import find_known, with_known_columns
from mlflow_recall.adapters.manifests.super_glue import Rewrite
from mlflow_recall.core.dataset_account import LeftOut
from mlflow_recall.core.formatting import join_names
from mlflow_recall.core.history.tasks import CLASSIFICATION, REGRESSION
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
    """Inputs (texts, pairs of texts, or encoded images) with their targets."""

    inputs: list[Any]
    targets: list[RowTarget]
    #: questions that the rows are answers to; empty where they are none
    groups: list[int] = field(default_factory=list)


class _Row(NamedTuple):
    """A row that has all it needs."""

    number: int
    split: str
    target: RowTarget
    group: int | None
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
    #: one column, or those of zeros and ones of a multi-label dataset
    labels: tuple[str, ...]
    #: column that names the split of each row; None: there is none
    split: str | None
    #: column of the question that a row is an answer to; None: there is none
    group: str | None
    #: whether all cells are texts, labels that look like numbers too
    are_letters: bool
    #: what was decided and not said, for people
    reading: tuple[str, ...]

    @property
    def label(self) -> str:
        """Names of the label columns, for people."""
        return join_names(self.labels, 3)

    @property
    def is_pair(self) -> bool:
        """Whether the inputs are pairs of texts."""
        return len(self.inputs) > 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Content:
    """All labeled rows of a source."""

    columns: Columns
    task: str
    #: declared splits; train is one of them
    splits: Mapping[str, LabeledRows]
    #: names of the classes or labels in their order; none of a regression
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
        DatasetError: It cannot be read, lacks a column, or its labels are none of a task.
    """
    known, spec = find_known(spec), with_known_columns(spec)
    source = _load(spec)
    tables = _declared_tables(source, spec)
    if known is not None and known.rewrite is not None:
        tables = {name: _rewrite(table, known.rewrite, spec) for name, table in tables.items()}
    columns = _choose_columns(tables, spec, has_groups=bool(known and known.rewrite))
    try:
        reader = make_reader(
            tables.values(),
            columns.labels,
            task=spec.task,
            are_letters=columns.are_letters,
            hidden=known.hidden if known else None,
        )
    except DatasetError as error:
        raise DatasetError(f"{spec.title}: column {columns.label!r}: {error}") from None
    read = sum(map(len, tables.values())) + sum(source.left_out.counts.values())
    splits: dict[str, LabeledRows] = {}
    classes_left_out, has_new_look = dict(source.classes_left_out), False
    notes = [*columns.reading, *reader.reading, *source.reading]
    for name, table in tables.items():
        try:
            findings = _add_rows(splits, name, table, columns, reader, source.left_out)
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
    classes = () if reader.task == REGRESSION else _classes(splits, columns, reader.task, spec)
    return Content(
        columns=columns,
        task=reader.task,
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
    parts = [f"{len(rows.targets)} in the {split} split" for split, rows in splits.items()]
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
        return _with_pictures(text_files.read_delimited(path, spec), spec, path)
    if ending in _JSON_FILES:
        return _with_pictures(json_files.read_json(path, spec), spec, path)
    if ending in _PARQUET_FILES and path.suffix.lower() == ending:
        if not path.stat().st_size:
            raise DatasetError(f"{path}: expected rows, got an empty file")
        return arrow_tables.read_parquet(path)
    raise DatasetError(
        f"{path}: expected a file of type {', '.join(ENDINGS)} (text also as .gz), got "
        f"{path.suffix or 'no ending'!r}"
    )


def _with_pictures(source: Source, spec: DatasetSpec, path: Path) -> Source:
    """Return a source whose image column, if one is named, says files beside it or below."""

    def read(table: Table) -> Table:
        if spec.image not in table.texts:
            return table
        pictures = [{"path": cell} for cell in table.columns[spec.image]]
        return replace(
            table,
            columns={**table.columns, spec.image: pictures},
            texts=tuple(name for name in table.texts if name != spec.image),
            images=(spec.image,),
            folder=path.resolve().parent,
        )

    return replace(source, tables={name: read(table) for name, table in source.tables.items()})


def _load_folder(path: Path, spec: DatasetSpec) -> Source:
    if arrow_tables.is_saved(path):
        return arrow_tables.read_saved(path)
    files = _split_files(path, spec)
    configurations = sorted(
        folder.name
        for folder in path.iterdir()
        if folder.is_dir() and _split_files(path, replace(spec, config=folder.name))
    )
    if configurations and not files:
        raise DatasetError(
            f"{path}: expected one of its configurations, {join_names(configurations)}, got "
            f"{spec.config or 'none'}: name it with --config"
        )
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


def _rewrite(table: Table, rewrite: Rewrite, spec: DatasetSpec) -> Table:
    """Return the rows of a known dataset as models read them.

    Raises:
        DatasetError: A column is missing.
    """
    try:
        rewritten = rewrite(table.columns)
    except DatasetError as error:
        raise DatasetError(f"{spec.title}: {error}") from None
    sources = rewritten.sources
    return replace(
        table,
        columns=rewritten.columns,
        texts=tuple(name for name in rewritten.columns if name not in ("label", "group")),
        class_names={**table.class_names, **rewritten.class_names},
        place=lambda row: table.place(sources[row]),
    )


def _choose_columns(tables: Mapping[str, Table], spec: DatasetSpec, *, has_groups: bool) -> Columns:
    """Return the columns of a specification, or those that can be no others."""
    first = next(iter(tables.values()))
    names = [name for name in first.columns if name]
    are_letters = _are_all_texts(first)
    kind, inputs = _input_columns(first, names if are_letters else first.texts, spec)
    labels = _label_columns(spec, names, inputs)
    split = _split_column(spec, names) if len(tables) == 1 else None
    if split in (*inputs, *labels):
        raise DatasetError(
            f"{spec.title}: expected different columns for inputs, label and split, got {split!r} "
            "twice"
        )
    if both := [*{*inputs} & {*labels}]:
        raise DatasetError(
            f"{spec.title}: expected different columns for input and label, got {both[0]!r} for "
            "both"
        )
    for name, table in tables.items():
        if lacking := {*inputs, *labels} - {*table.columns}:
            raise DatasetError(
                f"{spec.title}: the {name} split has no column {min(lacking)!r}: expected the "
                f"columns of all splits to be the same, got {', '.join(table.columns)}"
            )
    reading = []
    if not (spec.text or spec.image or kind == "image"):
        others = [c for c in first.texts if c not in (*inputs, *labels, split)]
        unread = f" (not {', '.join(others)})" if others else ""
        reading.append(f"text from {inputs[0]!r}{unread}")
    is_named = spec.label or spec.labels
    if not is_named and (len(names) > 2 or labels[0].lower() not in _LABEL_COLUMNS):
        reading.append(f"label from {labels[0]!r}")
    return Columns(
        kind=kind,
        inputs=inputs,
        labels=labels,
        split=split,
        group="group" if has_groups and "group" in first.columns else None,
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
    labels = [*filter(None, (*spec.labels, spec.label))] or _usual(_LABEL_COLUMNS, names)
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
    return all(
        isinstance(next(iter(cells), None), str)
        for name, cells in table.columns.items()
        if name not in table.images
    )


def _label_columns(
    spec: DatasetSpec, columns: Sequence[str], inputs: Sequence[str]
) -> tuple[str, ...]:
    """Return the names of the columns with the labels: one, or those of zeros and ones."""
    if named := spec.labels or tuple(filter(None, (spec.label,))):
        for name in named:
            if name not in columns:
                raise DatasetError(_no_column(spec, "label", name, columns, columns))
        if len(set(named)) < len(named):
            raise DatasetError(f"{spec.title}: expected every label once, got {join_names(named)}")
        return named
    others = [c for c in columns if c not in inputs and c.lower() != spec.split.lower()]
    usual = _usual(_LABEL_COLUMNS, others)
    if len(usual) == 1:
        return (usual[0],)
    if len(others) == 1:
        return (others[0],)
    raise DatasetError(_which(spec, "label", usual or columns))


def _which(spec: DatasetSpec, kind: str, columns: Sequence[str]) -> str:
    several = {
        "text": ", or both of a pair with --text FIRST,SECOND",
        "label": ", or all of zeros and ones with --label FIRST,SECOND,...",
    }
    return (
        f"{spec.title}: which column is the {kind}? got {join_names(columns)}: name it with "
        f"--{kind} COLUMN{several.get(kind, '')}"
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
    splits: dict[str, LabeledRows],
    name: str,
    table: Table,
    columns: Columns,
    reader: TargetReader,
    left_out: LeftOut,
) -> _Findings:
    """Add the rows of a table that have an input, a label and a split to their splits."""
    is_image = columns.kind == "image"
    read_input = _read_image if is_image else _read_texts
    split_cells = table.columns[columns.split] if columns.split else [name] * len(table)
    values = zip(*(table.columns[name] for name in columns.inputs), strict=True)
    labels = zip(*(table.columns[name] for name in columns.labels), strict=True)
    groups = table.columns[columns.group] if columns.group else [None] * len(table)
    cells = zip(values, labels, split_cells, groups, strict=True)
    rows: list[_Row] = []
    classes_left_out: dict[str, str] = {}
    for i, (row_values, label_cells, split_cell, group) in enumerate(cells):
        column, target = columns.label, None
        try:
            target = reader.read(label_cells)
            column = columns.split or ""
            split = _read_split(split_cell)
            column = " and ".join(columns.inputs)
            rows.append(_Row(i, split, target, group, read_input(row_values, table)))
        except RowLeftOut as reason:
            left_out.add(str(reason), table.place(i))
            for class_ in names_in(target) if target is not None else ():
                classes_left_out.setdefault(class_, str(reason))
        except DatasetError as error:
            raise DatasetError(f"column {column!r}: {table.place(i)}: {error}") from None
    check = check_pictures([row.content for row in rows]) if is_image else None
    for position, row in enumerate(rows):
        if check and position in check.broken:
            place = f"{table.place(row.number)} ({check.broken[position]})"
            left_out.add(_BROKEN_PICTURE, place)
            for class_ in names_in(row.target):
                classes_left_out.setdefault(class_, _BROKEN_PICTURE)
            continue
        part = splits.setdefault(row.split, LabeledRows([], []))
        part.inputs.append(row.content)
        part.targets.append(row.target)
        if row.group is not None:
            part.groups.append(row.group)
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


def _classes(
    splits: Mapping[str, LabeledRows], columns: Columns, task: str, spec: DatasetSpec
) -> tuple[str, ...]:
    """Return the classes or labels of train in their order."""
    named = {
        split: {name for target in rows.targets for name in names_in(target)}
        for split, rows in splits.items()
    }
    classes = {*named["train"], *(columns.labels if len(columns.labels) > 1 else ())}
    what, plural = ("class", "classes") if task == CLASSIFICATION else ("label", "labels")
    if not classes:
        raise DatasetError(f"{spec.title}: expected {plural} in the train split, got none")
    for split, names in named.items():
        if unknown := sorted(names - classes):
            raise DatasetError(
                f"{spec.title}: label {unknown[0]!r} of the {split} split never occurs in train: "
                f"expected one of {', '.join(sorted(classes)[:10])}"
            )
    total = sum(len(rows.targets) for rows in splits.values())
    if len(classes) < 2:
        raise DatasetError(f"{spec.title}: expected two {plural} or more, got {sorted(classes)}")
    if total < 3 * len(classes) and task == CLASSIFICATION:
        raise DatasetError(
            f"{spec.title}: expected at least 3 rows a {what}, got {total} rows of {len(classes)} "
            f"{plural}: is that column really the label? numbers need --task regression"
        )
    if len(classes) > MAX_CLASSES:
        raise DatasetError(
            f"{spec.title}: expected at most {MAX_CLASSES} {plural}, got {len(classes)}: is that "
            "column really the label?"
        )
    return columns.labels if len(columns.labels) > 1 else sort_classes(classes)
