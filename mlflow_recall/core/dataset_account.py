"""What a dataset's source holds, what is used of it, and what its user should look at."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlflow_recall.core.formatting import count_of, join_names
from mlflow_recall.core.history.recipes import default_recipe
from mlflow_recall.core.history.tasks import MULTILABEL, REGRESSION

#: places that are kept for each reason, and those that the summary names
_KEPT_PLACES = 1000
_NAMED_PLACES = 3
#: classes with fewer rows are never cut
MIN_ROWS_TO_SPLIT = 3
#: the largest class has more rows than so many times the smallest: said
_IMBALANCE = 10
#: share of all rows with one and the same input: said
_CONSTANT_SHARE = 0.5
#: share of texts that are longer than a recipe reads: said
_LONG_SHARE = 0.05
#: tokens that a recipe of texts reads by default; a word has at least one
_TOKENS_READ = default_recipe("text").input_size
#: what may stand between the labels that a text file has in one cell
LABEL_DELIMITERS = "|;,"
#: share of texts that name their own class, and how many times those that name another: said
_LEAK_SHARE, _LEAK_RATIO = 0.3, 5
#: names with fewer characters are too short to be looked for in a text
_MIN_NAME_LENGTH = 2
#: a number with a decimal comma, a sign of percent or a currency
_NUMBER_WITH_MARK = re.compile(
    r"[$€£]?\s?[+-]?[0-9]+(?:,[0-9]+|(?:[.,][0-9]+)?\s?[%$€£])|[$€£]\s?[0-9]+(?:[.,][0-9]+)?"
)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LIST = re.compile(r"\s*(?:\[.*\]|\{.*\}|\(['\"].*\))\s*")
_PICTURE = re.compile(r".+\.(?:png|jpe?g|gif|bmp|webp|tiff?)", re.IGNORECASE)
_WORD = re.compile(r"\w+")


class LeftOut:
    """Rows or files that are not used, by reason, with the first places of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}

    def add(self, reason: str, place: str = "", count: int = 1) -> None:
        """Count rows or files that are left out.

        Args:
            reason: Why, such as ``no label``.
            place: Where, such as ``row 17`` or a file; empty where that says nothing.
            count: Number of rows.
        """
        self._counts[reason] += count
        places = self._places.setdefault(reason, [])
        if place and len(places) < _KEPT_PLACES:
            places.append(place)

    def extend(self, other: LeftOut) -> None:
        """Add what is left out of another part of the source."""
        for reason, count in other._counts.items():
            self.add(reason, count=count)
            self._places[reason] = [*self._places[reason], *other._places[reason]][:_KEPT_PLACES]

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of rows or files."""
        return dict(self._counts)

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """Reason -> the first places."""
        return {reason: tuple(places) for reason, places in self._places.items() if places}


@dataclass(frozen=True, kw_only=True)
class DatasetAccount:
    """An account of every row or file of a dataset's source."""

    #: what one row is called: ``row`` or ``file``
    unit: str = "row"
    task: str = "classification"
    #: ``text`` or ``image``
    modality: str
    #: columns that the model reads, in order
    inputs: tuple[str, ...]
    #: column of the labels; ``label`` where folders are the classes
    label: str
    read: int
    #: reason -> number of rows or files
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: reason -> the first places
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: class or label -> number of rows; none of a regression
    classes: Mapping[str, int]
    #: range, mean and standard deviation of the numbers of a regression
    numbers: Mapping[str, float] = field(default_factory=dict)
    #: rows with at least one label; None: as many as are used
    labeled: int | None = None
    #: class without any usable row -> why
    classes_left_out: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, int]
    #: rows whose input also stands in another split, before they are moved together
    duplicates: int = 0
    #: how the source was read where that was decided and not said, for people
    reading: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def used(self) -> int:
        """Number of rows or files that are used."""
        return sum(self.splits.values())

    @property
    def class_words(self) -> tuple[str, str]:
        """What a class is called, and several of them."""
        return ("label", "labels") if self.task == MULTILABEL else ("class", "classes")

    @property
    def summary(self) -> str:
        """The account in one line."""
        parts = [f"{self.used} of {count_of(self.read, self.unit)} used"]
        if self.left_out:
            parts[0] += f" (left out: {', '.join(self._reasons())})"
        parts.append(self._targets())
        if self.classes_left_out:
            reasons = (f"{name!r}: {reason}" for name, reason in self.classes_left_out.items())
            parts[-1] += f" (left out {join_names(reasons, 3)})"
        parts.append(", ".join(f"{count} {split}" for split, count in self.splits.items()))
        parts += self.reading
        return "; ".join(parts)

    def _targets(self) -> str:
        """Return what the labels are, for people."""
        if self.task == REGRESSION:
            low, high, mean, std = (self.numbers[name] for name in ("min", "max", "mean", "std"))
            decimals = max(0, 1 - math.floor(math.log10(std))) if std > 0 else 0
            return f"numbers from {low:.10g} to {high:.10g}, mean {mean:.{min(decimals, 10)}f}"
        text = count_of(len(self.classes), *self.class_words)
        if self.task != MULTILABEL:
            return text
        text += f", {sum(self.classes.values()) / max(1, self.used):.2g} a row"
        bare = self.used - (self.used if self.labeled is None else self.labeled)
        return f"{text}, none in {count_of(bare, self.unit)}" if bare else text

    def _reasons(self) -> Iterator[str]:
        for reason, count in self.left_out.items():
            places = self.places.get(reason, ())
            named = f": {', '.join(places)}" if places and count <= _NAMED_PLACES else ""
            yield f"{count} {reason}{named}"

    def to_dict(self) -> dict[str, Any]:
        """Return the account for machines."""
        counts = {"read": self.read, "used": self.used, "left_out": dict(self.left_out)}
        data: dict[str, Any] = {
            "task": self.task,
            "modality": self.modality,
            "inputs": list(self.inputs),
            "label": self.label,
            "rows": counts,
            "places": {reason: list(places) for reason, places in self.places.items()},
            "classes": dict(self.classes),
            "numbers": dict(self.numbers),
            "classes_left_out": dict(self.classes_left_out),
            "splits": dict(self.splits),
            "duplicates": self.duplicates,
            "reading": list(self.reading),
            "warnings": list(self.warnings),
        }
        if self.unit == "file":
            data["files"] = {"used": self.used, "left_out": dict(self.left_out)}
        return data


def count_duplicates(splits: Mapping[str, Sequence[Hashable]]) -> int:
    """Return the number of rows whose input also stands in another split.

    Args:
        splits: Split -> inputs, or keys of them.

    Example:
        >>> count_duplicates({"train": ["a", "b", "b"], "test": ["b", "c"]})
        3
    """
    splits_of: dict[Hashable, set[str]] = {}
    for split, inputs in splits.items():
        for value in inputs:
            splits_of.setdefault(value, set()).add(split)
    return sum(
        len(splits_of[value]) > 1 for split_inputs in splits.values() for value in split_inputs
    )


def find_warnings(
    inputs: Sequence[Hashable],
    targets: Sequence[str | tuple[str, ...] | float],
    *,
    texts: Sequence[str] | None = None,
) -> list[str]:
    """Return what a user should know of the rows of a dataset, a line each.

    Args:
        inputs: n inputs, or keys that are equal for equal inputs.
        targets: n classes, tuples of labels, or numbers.
        texts: n texts, those of a pair as one; None: the inputs are images.
    """
    classes = [target for target in targets if isinstance(target, str)]
    labels = [name for target in targets if isinstance(target, tuple) for name in target]
    counts, label_counts = Counter(classes), Counter(labels)
    names = counts or label_counts
    warnings = [*_similar_names(names), *_blanks(names), *_mixed_names(counts)]
    warnings += [
        *_lists(counts),
        *_class_sizes(counts),
        *_rare_labels(label_counts),
        *_repeats(inputs, targets),
    ]
    if texts is not None:
        warnings += _lengths(texts)
        if texts and all(_PICTURE.fullmatch(text) for text in texts):
            warnings.append("texts look like names of pictures: --image COLUMN reads the files")
    if texts is not None and classes:
        warnings += _leaks(texts, classes, counts)
    return warnings


def _similar_names(counts: Mapping[str, int]) -> Iterator[str]:
    similar: dict[str, list[str]] = {}
    for name in counts:
        similar.setdefault(" ".join(name.split()).casefold(), []).append(name)
    for names in similar.values():
        if len(names) > 1:
            shown = " and ".join(f"{name!r} ({counts[name]})" for name in sorted(names))
            yield f"classes that differ by case or blanks alone: {shown}: are they one class?"


def _mixed_names(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning where most classes are numbers, and some are not."""
    others = sorted(name for name in counts if not _INTEGER.fullmatch(name.strip()))
    if 0 < len(others) < _CONSTANT_SHARE * len(counts):
        yield (
            f"classes are numbers, but for {join_names(map(repr, others), 3)}: leave the label "
            "empty where there is none"
        )


def _blanks(counts: Mapping[str, int]) -> Iterator[str]:
    names = sorted(name for name in counts if name != name.strip())
    if names:
        yield f"names of classes with blanks around them: {join_names(map(repr, names), 5)}"


def _lists(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning where names of classes look like lists of labels."""
    if numbers := [name for name in counts if _NUMBER_WITH_MARK.fullmatch(name)]:
        if len(numbers) > _CONSTANT_SHARE * len(counts):
            yield (
                f"classes such as {numbers[0]!r} look like numbers: plain ones with a decimal "
                "point are read by --task regression"
            )
        return
    if brackets := [name for name in counts if _LIST.fullmatch(name)]:
        yield (
            f"classes such as {brackets[0]!r:.60} look like lists of labels: --task multilabel "
            "reads them so"
        )
        return
    for mark in LABEL_DELIMITERS:
        lists = [name for name in counts if mark in name]
        parts = Counter(part.strip() for name in counts for part in name.split(mark))
        if len(lists) > 1 and all(parts[p.strip()] > 1 for name in lists for p in name.split(mark)):
            yield (
                f"classes such as {lists[0]!r} look like lists of labels: --task multilabel reads "
                "them so"
            )
            return


def _class_sizes(counts: Mapping[str, int]) -> Iterator[str]:
    rare = sorted(name for name, count in counts.items() if count < MIN_ROWS_TO_SPLIT)
    if rare:
        yield (
            f"{count_of(len(rare), 'class', 'classes')} with "
            f"fewer than {MIN_ROWS_TO_SPLIT} rows: {join_names(map(repr, rare), 5)}: a split that "
            "is cut has none of them"
        )
    sizes = [count for count in counts.values() if count >= MIN_ROWS_TO_SPLIT]
    if sizes and max(sizes) > _IMBALANCE * min(sizes):
        yield (
            f"imbalance: the largest class has {max(sizes)} rows, the smallest {min(sizes)}: "
            "accuracy says little of the small ones; consider --metric balanced_accuracy"
        )


def _rare_labels(counts: Mapping[str, int]) -> Iterator[str]:
    rare = sorted(name for name, count in counts.items() if count < MIN_ROWS_TO_SPLIT)
    if rare:
        yield (
            f"{count_of(len(rare), 'label')} in fewer than {MIN_ROWS_TO_SPLIT} rows: "
            f"{join_names(map(repr, rare), 5)}: a split that is cut may have none of them"
        )


def _repeats(inputs: Sequence[Hashable], targets: Sequence[Hashable]) -> Iterator[str]:
    counts = Counter(inputs)
    if not counts:
        return
    most = max(counts.values())
    if len(counts) == 1:
        yield "constant input: all rows have the same one, so that nothing can be learned from it"
    elif most > _CONSTANT_SHARE * len(inputs):
        yield f"nearly constant input: {most} of {len(inputs)} rows have the same one"
    targets_of: dict[Hashable, set[Hashable]] = {}
    for value, target in zip(inputs, targets, strict=True):
        targets_of.setdefault(value, set()).add(target)
    if mixed := sum(len(different) > 1 for different in targets_of.values()):
        yield f"{count_of(mixed, 'input')} with several labels: the same input has different ones"
    if repeated := len(inputs) - len(counts):
        yield f"duplicates: {count_of(repeated, 'row')} with the input of another row"


def _lengths(texts: Sequence[str]) -> Iterator[str]:
    if blank := sum(not text.strip() for text in texts):
        yield f"{count_of(blank, 'text')} of blanks alone"
    long = sum(len(text.split()) > _TOKENS_READ for text in texts)
    if long > _LONG_SHARE * len(texts):
        yield (
            f"{long} of {len(texts)} texts have more than {_TOKENS_READ} words: recipes read "
            f"{_TOKENS_READ} tokens by default, see --input-size"
        )


def _leaks(texts: Sequence[str], labels: Sequence[str], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a warning where texts name their own class far more often than another one."""
    names = {name: name.casefold() for name in counts if len(name) >= _MIN_NAME_LENGTH}
    words = {key for key in names.values() if _WORD.fullmatch(key)}
    own = other = rows = 0
    for text, label in zip(texts, labels, strict=True):
        if label not in names:
            continue
        rows += 1
        key, lowered = names[label], text.casefold()
        named = words.intersection(_WORD.findall(lowered))
        own += key in (named if key in words else lowered)
        other += len(named - {key})
    others = other / max(1, len(words) - 1)  # texts that name one of the other classes, on average
    if rows and own >= _LEAK_SHARE * rows and own > _LEAK_RATIO * others:
        yield (
            f"label in the text: {own} of {rows} texts name their own class: is the label part of "
            "the text column?"
        )
