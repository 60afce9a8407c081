"""The example's pairs, numbers and labels, read from archives in the layout of the real ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mlflow_recall.adapters.data.preparation import prepare
from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
from mlflow_recall_example import build, other_tasks
from mlflow_recall_example.draw import Row, write_texts
from mlflow_recall_example.packages import Package
from mlflow_recall_example.texts import WORDNET

NOUNS = """\
  1 This software and database is being provided to you, the LICENSEE
00000001 05 n 01 mole 0 000 | a small burrowing animal; "it digs"
00000002 23 n 01 mole 1 000 | a unit of the amount of a substance
00000003 05 n 02 otter 0 river_dog 0 000 | a mammal that swims after fish; "an otter"
00000004 05 n 01 heron 0 000 | a wading bird with a long neck
00000005 05 n 01 adder 0 000 | a small venomous snake of Europe
"""
GCIDE = """\
Otter \\Ot"ter\\, n. [AS. otor; akin to [a b].] (Zool.)
   Any carnivorous animal of the genus {Lutra}, fond of water. See
   {Lutra}.
   [1913 Webster]

Heron \\Her"on\\, n. [OE. heiroun.]
   1. Any wading bird of the genus {Ardea} and allied genera.
   [1913 Webster]

Adder \\Ad"der\\, n.
   1. One who, or that which, adds up the numbers.
      [1913 Webster]

   2. A machine.
      [1913 Webster]

Mole \\Mole\\, n.
   Any insectivore of the family {Talpidae}, which burrows.
   [1913 Webster]
"""


def place(cache: Path, package: Package, files: Mapping[str, bytes]) -> None:
    """Put an archive where `Package.fetch` finds it."""
    content = packed(files)
    (cache / f"{package.sha256[:16]}-{package.name.rpartition('/')[2]}").write_bytes(content)


def packed(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_a_couple_gives_two_pairs_that_match_and_two_that_do_not() -> None:
    rows = list(other_tasks.couple({"k": [("a", "A"), ("b", "B"), ("c", "C")], "l": [("d", "D")]}))

    assert Counter(row.label for row in rows) == {"match": 2, "mismatch": 2}
    assert len({row.group for row in rows}) == 1
    for row in rows:
        first, second = row.content
        assert (first.upper() == second) == (row.label == "match")
    assert all(len({row.content[i] for row in rows}) == 2 for i in (0, 1))


def test_definitions_are_of_words_with_one_sense_in_both_dictionaries(tmp_path: Path) -> None:
    """`mole` has two in one of them and `adder` in the other."""
    place(tmp_path, WORDNET, {"usr/share/wordnet/data.noun": NOUNS.encode()})
    place(
        tmp_path,
        other_tasks.GCIDE,
        {"usr/share/dictd/gcide.dict.dz": gzip.compress(GCIDE.encode())},
    )

    rows = {row.content: row.label for row in other_tasks.definitions(tmp_path)}

    otter = "Any carnivorous animal of the genus Lutra, fond of water"
    heron = "Any wading bird of the genus Ardea and allied genera"
    mammal, bird = "a mammal that swims after fish", "a wading bird with a long neck"
    assert rows == {
        (otter, mammal): "match",
        (heron, bird): "match",
        (otter, bird): "mismatch",
        (heron, mammal): "mismatch",
    }


def test_translations_are_exchanged_within_a_part_of_speech_and_initial(tmp_path: Path) -> None:
    entries = (
        "heavy /h/ <adj>\npesado, forte\nhollow /h/ <adj>\n1. oco\n2. vazio\n"
        "happy /h/ <adj>\n1. feliz\n2. contente\nhelp /h/ <s>\najuda\nhotel /h/ <s>\nhotel\n"
    )
    files = {"usr/share/dictd/freedict-eng-por.dict.dz": gzip.compress(entries.encode())}
    place(tmp_path, other_tasks.ENGLISH_PORTUGUESE, files)

    rows = {row.content: row.label for row in other_tasks.translations(tmp_path)}

    assert rows == {
        ("heavy", "pesado"): "match",
        ("happy", "feliz"): "match",
        ("heavy", "feliz"): "mismatch",
        ("happy", "pesado"): "mismatch",
    }


def test_function_summaries_exchange_the_functions_of_one_module(tmp_path: Path) -> None:
    module = '''
def shortest_path(graph):
    """Return the nodes between two others, as few as there are."""

def countEdges(graph):
    """Return how many connections the network has.

    More is said here.
    """

def _hidden_one(graph):
    """Return something that nobody may call from outside."""

def plain(graph):
    """Return something whose name is but a single word."""
'''
    for package in other_tasks.DOCUMENTED:
        shown = {
            f"{package.name}/graphs.py": module,
            f"{package.name}/tests/test_graphs.py": module,
        }
        files = shown if package.name == "networkx" else {}
        place(tmp_path, package, {name: text.encode() for name, text in files.items()})

    rows = {row.content: row.label for row in other_tasks.function_summaries(tmp_path)}

    few, many = (
        "Return the nodes between two others, as few as there are.",
        "Return how many connections the network has.",
    )
    assert rows == {
        ("shortest path", few): "match",
        ("count edges", many): "match",
        ("shortest path", many): "mismatch",
        ("count edges", few): "mismatch",
    }


def test_ratings_are_numbers_and_sentences_of_one_document_are_a_group(tmp_path: Path) -> None:
    lines = "1_1\t-0.15\tthe battery &amp; the lid broke\r\n1_2\t2\tstill a very good buy\r\n"
    tables = {"hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt": lines.encode()}
    files = {"vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz": packed(tables)}
    place(tmp_path, other_tasks.VADER, files)

    rows = list(other_tasks.valence_reviews(tmp_path))

    assert rows == [
        Row("the battery & the lid broke", -0.15, "1"),
        Row("still a very good buy", 2.0, "1"),
    ]


def test_the_yaml_file_says_what_the_product_needs_to_know(tmp_path: Path) -> None:
    """Both columns of a pair, and the tasks that cells alone do not tell."""
    pairs = [Row((f"a {i}", f"b {i}"), ("match", "mismatch")[i % 2]) for i in range(60)]
    numbers = [Row(f"text {i}", float(i % 4)) for i in range(60)]
    sizes = {"train": 30, "validation": 15, "test": 15}
    write_texts(pairs, sizes, tmp_path / "definitions.csv", other_tasks.PAIR)
    write_texts(numbers, sizes, tmp_path / "valence_tweets.csv")
    build.write("debian_tags", tmp_path, tmp_path)

    build.describe(tmp_path)

    prepared = {
        spec.name: prepare(spec) for spec in read_benchmarks(tmp_path / "benchmarks-text.yaml")
    }
    assert {name: dataset.task for name, dataset in prepared.items()} == {
        "definitions": "classification",
        "valence_tweets": "regression",
        "debian_tags": "multilabel",
    }
    assert set(prepared["debian_tags"].classes) == other_tasks.TAGS
    spec = read_benchmarks(tmp_path / "benchmarks-text.yaml")[0]
    assert (spec.text, spec.text_pair) == other_tasks.PAIR
