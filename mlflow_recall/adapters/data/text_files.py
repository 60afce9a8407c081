"""Files of delimited text (CSV and its relatives): every cell is text, letter by letter.

Encoding, delimiter and quoting are found out from the content where they are not given. What the
content cannot decide is refused with the option that decides it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlflow_recall.adapters.data.tables import Source, Table
from mlflow_recall.adapters.manifests.dataset_spec import DatasetSpec
from mlflow_recall.core.dataset_account import LeftOut
from mlflow_recall.errors import DatasetError
from mlflow_recall.limits import MAX_BYTES, MAX_CELL, MAX_COLUMNS, MAX_ROWS

#: delimiter -> its name for people, and for an option
DELIMITERS: Mapping[str, str] = MappingProxyType(
    {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
)
#: name of a quoting -> settings of ``csv``; the first that fits is taken
QUOTINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "double": {"quotechar": '"', "doublequote": True, "strict": True},
        "backslash": {
            "quotechar": '"', "doublequote": False, "escapechar": "\\", "strict": True,
        },
        "none": {"quoting": csv.QUOTE_NONE, "quotechar": None},
    }
)  # fmt: skip
#: byte order mark -> encoding; those of UTF-32 begin like those of UTF-16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
#: bytes that tell UTF-16 without a mark, by the zeros of its Latin letters
_SAMPLE = 4096
_ZEROS = 0.3
#: characters that no text has, and those that a text in cp1252 does not have either
_NO_TEXT = re.compile(r"\x00")
_NO_CP1252 = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_NUMBER = re.compile(
    r"\s*[-+]?(\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|nan|inf(inity)?)\s*", re.IGNORECASE
)
#: first line by which Excel is told the delimiter
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
#: a quoted cell over so many lines that each look like a row is one that a lone mark opened
_SWALLOWED_LINES = 4


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzip.

    Raises:
        DatasetError: It cannot be read, is empty, or is larger than ``MAX_BYTES``.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _too_large(path)
        data = path.read_bytes()
        if data.startswith(_GZIP):
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read as a dataset: {error}") from None
    if len(data) > MAX_BYTES:
        raise _too_large(path)
    if not data:
        raise DatasetError(f"{path}: expected rows, got an empty file")
    return data


def _too_large(path: Path) -> DatasetError:
    return DatasetError(
        f"{path}: expected at most {MAX_BYTES // 2**30} GiB, unpacked: sample its rows first"
    )


def decode_text(data: bytes, path: Path, encoding: str | None) -> tuple[str, str]:
    """Return a text and the name of its encoding.

    Args:
        data: Content of a file.
        path: Its path, for messages.
        encoding: Name of the encoding; None: it is found out. UTF-8, UTF-16 and UTF-32 are
            recognized by their mark or their form; what is none of them is read as cp1252.

    Raises:
        DatasetError: The content has another encoding, or is no text.
    """
    name = encoding or ""
    try:
        name = name or _guess_encoding(data)
        text = data.decode(name)
    except LookupError:
        raise DatasetError(
            f"{path}: encoding: expected one that Python knows, such as utf-8, utf-16 or cp1252, "
            f"got {name!r}"
        ) from None
    except UnicodeError as error:
        kind = f"{name} text" if encoding else "text"
        raise DatasetError(
            f"{path}: cannot be read as a dataset: expected {kind}, got {error}: save it as UTF-8, "
            "or name its encoding with --encoding"
        ) from None
    is_guess = not encoding and name == "cp1252"  # which decodes nearly everything
    if binary := (_NO_CP1252 if is_guess else _NO_TEXT).search(text):
        line = text.count("\n", 0, binary.start()) + 1
        raise DatasetError(
            f"{path}: cannot be read as a dataset: expected text, got the control character "
            f"{binary.group()!r} in line {line}: save it as UTF-8, or name its encoding with "
            "--encoding"
        )
    return text.removeprefix("\ufeff"), name


def _guess_encoding(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLE]
    even, odd = (sample[start::2] for start in (0, 1))
    for zeros, others, name in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros.count(0) > _ZEROS * len(zeros) and not others.count(0):
            return name
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", errors="replace")
        damaged = text.count("\ufffd")
        # letters of another encoding are hardly ever UTF-8 by chance
        if sum(character > "\x7f" for character in text) - damaged > damaged:
            line = data.count(b"\n", 0, error.start) + 1
            raise UnicodeError(
                f"a byte that is no UTF-8 in line {line} of a file that otherwise is UTF-8"
            ) from None
        return "cp1252"
    return "utf-8"


@dataclass(frozen=True, eq=False, kw_only=True)
class _Reading:
    """The rows of a text by one delimiter and one quoting."""

    delimiter: str
    quoting: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    #: first and last line of every row, from 1
    lines: Sequence[tuple[int, int]]
    #: what is wrong with it; None: it fits
    problem: str | None

    @property
    def short_rows(self) -> int:
        """Number of rows with too few cells."""
        return sum(len(row) < len(self.header) for row in self.rows)


def read_delimited(path: Path, spec: DatasetSpec) -> Source:
    """Read a file of delimited text.

    Raises:
        DatasetError: It is no such file, or its dialect cannot be decided.
    """
    text, encoding = decode_text(read_bytes(path), path, spec.encoding or None)
    lines = list(io.StringIO(text, newline=""))
    if lines and (separator := _SEPARATOR_LINE.fullmatch(lines[0].strip("\r\n"))):
        lines[0] = "\n"  # an empty line, so that the others keep their numbers
        spec = replace(spec, delimiter=spec.delimiter or separator[1])
    reading = _choose_reading(lines, path, spec)
    if not reading.rows:
        raise DatasetError(f"{path}: expected labeled rows under its header, got none")
    left_out = LeftOut()
    width = len(reading.header)
    full = [i for i, row in enumerate(reading.rows) if len(row) >= width]
    for i, row in enumerate(reading.rows):
        if len(row) < width:
            left_out.add("too few cells", _place(i, reading.lines[i]))
    columns = {
        name: [reading.rows[i][column] for i in full] for column, name in enumerate(reading.header)
    }
    table = Table(
        columns=columns,
        texts=tuple(name for name, cells in columns.items() if name and not _are_numbers(cells)),
        place=lambda row: _place(full[row], reading.lines[full[row]]),
    )
    usual = "\t" if file_ending(path) == ".tsv" else ","
    described = []
    if not spec.encoding and not encoding.startswith("utf-8"):
        described.append(f"read as {encoding}")
    if not spec.delimiter and reading.delimiter != usual:
        described.append(f"delimited by {DELIMITERS[reading.delimiter]}s")
    if not spec.quoting and reading.quoting != "double":
        described.append(
            "quotation marks are text" if reading.quoting == "none" else "quoted with backslashes"
        )
    return Source(tables={"train": table}, left_out=left_out, reading=tuple(described))


def file_ending(path: Path) -> str:
    """Return the ending of a file in lower case, without that of gzip."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _place(row: int, lines: tuple[int, int]) -> str:
    return f"row {row + 1} (line {lines[0]})"


def _are_numbers(cells: Sequence[str]) -> bool:
    return all(not cell or _NUMBER.fullmatch(cell) for cell in cells)


def _choose_reading(lines: Sequence[str], path: Path, spec: DatasetSpec) -> _Reading:
    header = next((line for line in lines if line.strip()), "")
    delimiters = _given_delimiter(spec) or [d for d in DELIMITERS if d in header] or [","]
    by_delimiter = [_first_that_fits(lines, delimiter, path, spec) for delimiter in delimiters]
    fitting = [reading for reading in by_delimiter if reading.problem is None]
    named = {name for name in (spec.text, spec.text_pair, spec.label, *spec.labels) if name}
    if len(fitting) > 1 and named:
        fitting = [reading for reading in fitting if named <= {*reading.header}] or fitting
    if len(fitting) > 1:
        least = min(reading.short_rows for reading in fitting)
        fitting = [reading for reading in fitting if reading.short_rows == least]
    if len(fitting) > 1 and file_ending(path) == ".tsv":
        fitting = [reading for reading in fitting if reading.delimiter == "\t"] or fitting
    if len(fitting) > 1:
        names = " and ".join(DELIMITERS[reading.delimiter] for reading in fitting)
        raise DatasetError(
            f"{path}: row 1 (line 1): which character delimits the columns? {names} both fit: "
            "name it with --delimiter"
        )
    if not fitting:
        furthest = max(by_delimiter, key=lambda reading: len(reading.rows))
        raise DatasetError(f"{path}: {furthest.problem}")
    return fitting[0]


def _given_delimiter(spec: DatasetSpec) -> list[str]:
    """Return the delimiter of a specification as a list; empty without one.

    Raises:
        DatasetError: It is neither one character nor a name.
    """
    given = spec.delimiter
    if not given:
        return []
    by_name = {name: delimiter for delimiter, name in DELIMITERS.items()} | {"\\t": "\t"}
    delimiter = by_name.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise DatasetError(
            f"{spec.title}: delimiter: expected one character or one of "
            f"{', '.join(DELIMITERS.values())}, got {given!r}"
        )
    return [delimiter]


def _first_that_fits(
    lines: Sequence[str], delimiter: str, path: Path, spec: DatasetSpec
) -> _Reading:
    """Return the first quoting without a problem; without one, the first quoting."""
    if spec.quoting and spec.quoting not in QUOTINGS:
        raise DatasetError(
            f"{spec.title}: quoting: expected one of {', '.join(QUOTINGS)}, got {spec.quoting!r}"
        )
    names = [spec.quoting] if spec.quoting else list(QUOTINGS)
    readings: list[_Reading] = []
    for name in names:
        if not spec.quoting and name == "backslash" and not any('\\"' in line for line in lines):
            continue
        reading = _read(lines, delimiter, name)
        if reading.problem is None:
            if not spec.quoting and name != "none":
                _check_lone_marks(reading, lines, path)
            return reading
        readings.append(reading)
    return readings[0]


def _read(lines: Sequence[str], delimiter: str, quoting: str) -> _Reading:
    """Read lines by one dialect, up to the first problem."""
    header: tuple[str, ...] = ()
    rows: list[Sequence[str]] = []
    spans: list[tuple[int, int]] = []
    problem = None
    start = 1
    settings: Mapping[str, Any] = QUOTINGS[quoting]
    with _cell_limit():
        reader = csv.reader(lines, delimiter=delimiter, **settings)
        try:
            for row in reader:
                span, start = (start, reader.line_num), reader.line_num + 1
                if not row:
                    continue
                if not header:
                    header = _strip_header(row)
                    problem = _header_problem(header)
                else:
                    rows.append(row)
                    spans.append(span)
                    problem = _row_problem(rows, span, len(header), delimiter, quoting)
                if problem:
                    break
        except csv.Error as error:
            problem = f"{_place(len(rows), (start, start))}: {_describe(error)}"
    return _Reading(
        delimiter=delimiter, quoting=quoting, header=header, rows=rows, lines=spans, problem=problem
    )


def _describe(error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"expected cells of at most {MAX_CELL} characters"
    return (
        f"quotation marks do not pair up ({str(error).rstrip('.')}): say how the file is written "
        f"with --quoting ({', '.join(QUOTINGS)})"
    )


def _row_problem(
    rows: Sequence[Sequence[str]], span: tuple[int, int], width: int, delimiter: str, quoting: str
) -> str | None:
    """Return what is wrong with the last row; None if nothing is.

    A row with too few cells is left out later. Where quotation marks are not read as CSV reads
    them, it shows that they should be.
    """
    row = rows[-1]
    if len(rows) > MAX_ROWS:
        return f"expected at most {MAX_ROWS} rows: sample them first"
    is_short = len(row) < width and quoting != "double"
    if not is_short and not any(row[width:]):
        return None
    name = DELIMITERS.get(delimiter, repr(delimiter))
    return (
        f"{_place(len(rows) - 1, span)}: expected {width} cells delimited by {name}s, got "
        f"{len(row)}: put cells that hold the delimiter in quotation marks, or say how the file is "
        "written with --delimiter and --quoting"
    )


@contextmanager
def _cell_limit() -> Iterator[None]:
    """Let ``csv`` read cells of ``MAX_CELL`` characters; its limit is one of the process."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _strip_header(row: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns without blanks around them, and without empty last ones."""
    header = [name.strip() for name in row]
    while header and not header[-1]:
        header.pop()
    return tuple(header)


def _header_problem(header: Sequence[str]) -> str | None:
    if not header:
        return "header: expected names of columns, got none"
    if len(header) > MAX_COLUMNS:
        return f"header: expected at most {MAX_COLUMNS} columns, got {len(header)}"
    if repeated := [name for name in header if name and header.count(name) > 1]:
        return f"header: expected every column once, got {repeated[0]!r} twice"
    return None


def _check_lone_marks(reading: _Reading, lines: Sequence[str], path: Path) -> None:
    """Refuse a reading where lone quotation marks may have swallowed rows.

    A cell over several lines is one that people wrote, unless its lines look like rows of their
    own, and so do all lines of the file, or those of the cell are many.
    """
    swallowed = [
        span
        for span in reading.lines
        if span[1] > span[0] and _look_like_rows(reading, lines[span[0] - 1 : span[1]])
    ]
    if not swallowed:
        return
    if not _look_like_rows(reading, [line for line in lines if line.strip()]):
        swallowed = [span for span in swallowed if span[1] - span[0] + 1 >= _SWALLOWED_LINES]
    if swallowed:
        first, last = swallowed[0]
        row = reading.lines.index((first, last))
        raise DatasetError(
            f"{path}: {_place(row, (first, last))}: a quotation mark that opens here closes in "
            f"line {last}, and the lines between look like rows of their own: say --quoting double "
            "if that is one cell, or --quoting none if quotation marks are text"
        )


def _look_like_rows(reading: _Reading, lines: Sequence[str]) -> bool:
    delimiters = len(reading.header) - 1
    return delimiters > 0 and all(line.count(reading.delimiter) == delimiters for line in lines)
