"""The text datasets of other tasks: sentence pairs, numbers, and several labels."""

from __future__ import annotations

import ast
import gzip
import html
import io
import math
import re
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlflow_recall_example.draw import Dataset, Row
from mlflow_recall_example.packages import Package, file, files
from mlflow_recall_example.texts import ADULT, SECTIONS, SUPERSENSES, WORDNET, apt_index

GCIDE = Package(
    "debian",
    "dict-gcide",
    "0.48.5+nmu2",
    "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
)
ENGLISH_PORTUGUESE = Package(
    "debian",
    "dict-freedict-eng-por",
    "2022.04.21-1",
    "ef942ae345dda5f504b256a9df131993350737f70a1e55c58f49e4ae3196ec3f",
)
VADER = Package(
    "pypi-source",
    "vaderSentiment",
    "2.5",
    "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
)
#: packages of many documented functions, none of them one of `texts.DOCUMENTED`
DOCUMENTED = (
    Package(
        "pypi",
        "django",
        "5.2.19",
        "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
    ),
    Package(
        "pypi",
        "networkx",
        "3.6.1",
        "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762",
    ),
    Package(
        "pypi", "nltk", "3.10.4", "769ba5413f265b7d3e87cd163cc28efa01e29eeef8bb6080bc907949d9fcfb51"
    ),
    Package(
        "pypi",
        "sympy",
        "1.14.0",
        "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5",
    ),
)
#: the most frequent of Debian's package tags that say what for, and with what
TAGS = {
    "use::checking",
    "use::converting",
    "use::editing",
    "use::gameplaying",
    "use::monitor",
    "use::viewing",
    "works-with::audio",
    "works-with::db",
    "works-with::image",
    "works-with::mail",
    "works-with::software:source",
    "works-with::text",
}
#: characters, so that two definitions fit into 48 tokens
MAX_DEFINITION = 120


# --- Sentence pairs -----------------------------------------------------------------------------


def couple(known: Mapping[str, Sequence[tuple[str, str]]]) -> Iterator[Row]:
    """Rows of two texts that match, and of two that do not.

    Args:
        known: Kind -> pairs that match. Two pairs of one kind are a couple: it gives the two
            pairs, and the two that come of exchanging their second texts. A couple is a group, so
            no text stands on two sides of a split.
    """
    for kind, pairs in sorted(known.items()):
        mixed = sorted(pairs, key=lambda pair: (zlib.crc32(pair[0].encode()), pair))
        for number, (one, other) in enumerate(zip(mixed[::2], mixed[1::2], strict=False)):
            for first, second in ((one, one), (other, other), (one, other), (other, one)):
                label = "match" if first is second else "mismatch"
                yield Row((first[0], second[1]), label, f"{kind} {number}")


def definitions(cache: Path) -> Iterator[Row]:
    """Definitions of a noun in GCIDE and in WordNet -> of one word, or of two of one supersense."""
    defined = _gcide_nouns(cache)
    known = defaultdict(list)
    for word, (kind, gloss) in _wordnet_nouns(cache).items():
        text = defined.get(word, "")
        if text and not ADULT.search(f"{text} {gloss}"):
            known[kind].append((text, gloss))
    return couple(known)


def _wordnet_nouns(cache: Path) -> dict[str, tuple[str, str]]:
    """Return supersense and gloss of the nouns of one sense."""
    found = {}
    senses: Counter[str] = Counter()
    for line in file(WORDNET.fetch(cache), "*/wordnet/data.noun").decode().splitlines():
        if line.startswith("  "):  # the license
            continue
        synset, _, gloss = line.partition(" | ")
        _, number, _, count, *rest = synset.split()
        words = [word.casefold() for word in rest[: 2 * int(count, 16) : 2]]
        senses.update(words)
        text = gloss.partition(";")[0].strip()
        if int(number) in SUPERSENSES and len(text) >= 15:
            found.update(dict.fromkeys(words, (SUPERSENSES[int(number)], text)))
    return {word: sense for word, sense in found.items() if senses[word] == 1}


def _gcide_nouns(cache: Path) -> dict[str, str]:
    """Return the only definition of the nouns of one sense in Webster's dictionary of 1913."""
    packed = file(GCIDE.fetch(cache), "*/dictd/gcide.dict.dz")
    entries = re.split(r"\n\n(?=\S)", gzip.decompress(packed).decode(errors="replace"))
    senses: Counter[str] = Counter()
    found = {}
    for entry in entries:
        head = re.match(r"([A-Za-z][a-z-]+)\s+\\[^\\]*\\,\s+n\.(.*)", entry, re.DOTALL)
        if head is None:
            continue
        word, text = head[1].casefold(), head[2]
        senses[word] += 1
        text, marked, _ = text.partition("[1913 Webster]")  # others took theirs from WordNet
        text = _plain(text)
        if marked and "\n   2. " not in entry and 30 <= len(text) <= MAX_DEFINITION:
            found[word] = text
    return {word: text for word, text in found.items() if senses[word] == 1}


def _plain(text: str) -> str:
    """Return a definition without its etymology, field, source and marks; "" if it only refers."""
    while (less := re.sub(r"\[[^][]*\]", " ", text)) != text:
        text = less
    text = re.sub(r"\([A-Z][\w.,& ]*\.\)|--\s*[A-Z].*|\bSee\s.*", " ", text, flags=re.DOTALL)
    text = re.sub(r"[{}]", "", text)
    text = " ".join(text.split()).removeprefix("1. ").strip(" ;,.")
    refers = re.match(r"(The same|Same) as\b", text)
    return text if text[:1].isupper() and not refers and "?" not in text else ""


def translations(cache: Path) -> Iterator[Row]:
    """English word, Portuguese word -> its translation, or that of another like it."""
    packed = file(ENGLISH_PORTUGUESE.fetch(cache), "*/dictd/freedict-eng-por.dict.dz")
    known = defaultdict(list)
    for entry in re.split(r"\n(?=\S.* /)", gzip.decompress(packed).decode()):
        head = re.match(r"([a-z]{4,}) /[^/]*/ <(\w+)>\n(?:1\. )?([^,;\n]+)", entry)
        if head is None or ADULT.search(entry):
            continue
        word, part, translation = head[1], head[2], head[3].strip()
        if re.fullmatch(r"\w{4,}", translation) and translation.casefold() != word:
            known[f"{part} {word[0]}"].append((word, translation))
    return couple(known)


def function_summaries(cache: Path) -> Iterator[Row]:
    """Words of a Python function's name, first line of its docstring -> its own, or another's."""
    known: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for package in DOCUMENTED:
        for path, source in files(package.fetch(cache), f"{package.name}/*.py"):
            if not re.search(r"/(tests?|_?vendor|externals?|testing)/", path):
                known[path] += _summarized(source)
    return couple(known)


def _summarized(source: bytes) -> list[tuple[str, str]]:
    """Return the distinct public functions of a module that have a name of several words."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+|\d+", node.name)
            text = (ast.get_docstring(node) or "").partition("\n")[0].strip()
            if len(words) >= 2 and 20 <= len(text) <= 150 and node.name not in text:
                found[text] = " ".join(words).lower()
    return sorted((name, text) for text, name in found.items())


# --- Numbers ------------------------------------------------------------------------------------


def valence_tweets(cache: Path) -> Iterator[Row]:
    """Tweet -> how positive it is, from -4 to 4: the mean of twenty people."""
    return _rated(cache, "tweets")


def valence_reviews(cache: Path) -> Iterator[Row]:
    """Sentence of a product review -> how positive it is; reviews are groups."""
    return _rated(cache, "amazonReviewSnippets")


def _rated(cache: Path, name: str) -> Iterator[Row]:
    packed = io.BytesIO(file(VADER.fetch(cache), "*/hutto_ICWSM_2014.tar.gz"))
    with tarfile.open(fileobj=packed) as tar:
        table = tar.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
        lines = table.read().decode().splitlines() if table else []
    for line in lines:
        number, rating, text = line.split("\t")
        document, part_of, _ = number.partition("_")
        text = html.unescape(text)
        if len(text) >= 15 and not ADULT.search(text):
            yield Row(text, float(rating), document if part_of else "")


def debian_size(cache: Path) -> Iterator[Row]:
    """One-line description of a package -> decimal logarithm of its installed size in KiB."""
    yield from apt_index(cache, _size)


def _size(fields: Mapping[str, str]) -> float | None:
    size = int(fields.get("Installed-Size", "0"))
    in_section = fields.get("Section", "").rpartition("/")[2] in SECTIONS
    return round(math.log10(size), 3) if size and in_section else None


# --- Several labels -----------------------------------------------------------------------------


def debian_tags(cache: Path) -> Iterator[Row]:
    """One-line description of a package -> what it is for and works with, from Debian's tags."""
    yield from apt_index(cache, _tags)


def _tags(fields: Mapping[str, str]) -> tuple[str, ...] | None:
    found = set(re.findall(r"[\w-]+::[^\s,]+", fields.get("Tag", ""))) & TAGS
    return tuple(sorted(found)) or None


_RATED_BY = "ratings of C. J. Hutto and E. Gilbert (ICWSM 2014) in PyPI vaderSentiment 2.5 (source)"
PAIR = ("text", "text_pair")
DATASETS = {
    dataset.read.__name__: dataset
    for dataset in (
        Dataset(
            license="GPL-2+ (GCIDE), WordNet-3.0",
            origin="Debian dict-gcide 0.48.5 and wordnet-base 3.0-37",
            read=definitions,
            texts=PAIR,
        ),
        Dataset(
            license="GPL-2+",
            origin="Debian dict-freedict-eng-por 2022.04.21",
            read=translations,
            texts=PAIR,
        ),
        Dataset(license="MIT", origin=_RATED_BY, read=valence_tweets, task="regression"),
        Dataset(license="MIT", origin=_RATED_BY, read=valence_reviews, task="regression"),
        Dataset(
            license="package metadata",
            origin="package index and tags of apt, see frozen/README.md",
            read=debian_tags,
            task="multilabel",
            frozen=True,
        ),
        Dataset(
            license="BSD-3-Clause, Apache-2.0 (nltk)",
            origin="docstrings in PyPI django 5.2.19, networkx 3.6.1, nltk 3.10.4, sympy 1.14.0",
            read=function_summaries,
            texts=PAIR,
            target=True,
        ),
        Dataset(
            license="package metadata",
            origin="package index of apt, see targets/README.md",
            read=debian_size,
            task="regression",
            target=True,
            frozen=True,
        ),
    )
}
