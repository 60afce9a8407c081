"""Tasks of SuperGLUE whose rows are no texts or pairs yet (Wang et al. 2019, arXiv:1905.00537).

Words that a question is about are marked in the text. Questions with several answers become a pair
for each, which are judged together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mlflow_recall.errors import DatasetError

Columns: TypeAlias = Mapping[str, Sequence[Any]]

#: what a label of an answer means; -1 is hidden
ANSWERS = ("False", "True")
#: what COPA asks -> what a model reads
_QUESTIONS = {"cause": "What was the cause?", "effect": "What happened as a result?"}
_HIDDEN = -1


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """Rows as models read them."""

    columns: Columns
    #: n numbers of the rows that they were made of
    sources: Sequence[int]
    #: column -> names of its classes, where they are others than the source declares
    class_names: Mapping[str, Sequence[str]]


Rewrite: TypeAlias = Callable[[Columns], Rewritten]


def mark_words(columns: Columns) -> Rewritten:
    """Mark the word of WiC in both sentences: is it used in the same sense?

    Example:
        >>> row = {"sentence1": ["a cold bed"], "start1": [7], "end1": [10],
        ...        "sentence2": ["bed of roses"], "start2": [0], "end2": [3], "label": [0]}
        >>> mark_words(row).columns["sentence1"], mark_words(row).columns["sentence2"]
        (['a cold * bed *'], ['* bed * of roses'])
    """
    marked = {
        f"sentence{i}": [
            f"{text[:start]}* {text[start:end]} *{text[end:]}"
            for text, start, end in _rows(columns, f"sentence{i}", f"start{i}", f"end{i}")
        ]
        for i in (1, 2)
    }
    return _same_rows({**marked, "label": columns["label"]})


def mark_mentions(columns: Columns) -> Rewritten:
    """Mark the noun and the pronoun of WSC, by their places among the words: are they the same?

    Example:
        >>> row = {"text": ["Ann met Eve , who smiled"], "span1_text": ["Eve"], "span1_index": [2],
        ...        "span2_text": ["who"], "span2_index": [4], "label": [1]}
        >>> mark_mentions(row).columns["text"]
        ['Ann met * Eve * , # who # smiled']
    """
    names = ("text", "span1_index", "span1_text", "span2_index", "span2_text")
    texts = []
    for text, first, noun, second, pronoun in _rows(columns, *names):
        words = text.split(" ")
        # from the end, so that the places before it hold
        for start, span, mark in sorted(((first, noun, "*"), (second, pronoun, "#")), reverse=True):
            end = start + len(span.split(" "))
            words[start:end] = [mark, *words[start:end], mark]
        texts.append(" ".join(words))
    return _same_rows({"text": texts, "label": columns["label"]})


def expand_choices(columns: Columns) -> Rewritten:
    """Return a pair for each of the two choices of COPA; the right one is ``True``.

    Example:
        >>> row = {"premise": ["It rained."], "question": ["effect"], "choice1": ["We got wet."],
        ...        "choice2": ["We got rich."], "label": [0]}
        >>> expand_choices(row).columns["text"][0]
        'It rained. What happened as a result?'
        >>> expand_choices(row).columns["text_pair"], expand_choices(row).columns["label"]
        (['We got wet.', 'We got rich.'], [1, 0])
    """
    rows = [
        (f"{premise} {_QUESTIONS[question]}", choice, _HIDDEN if label == _HIDDEN else label == i)
        for premise, question, first, second, label in _rows(
            columns, "premise", "question", "choice1", "choice2", "label"
        )
        for i, choice in enumerate((first, second))
    ]
    sources = [number // 2 for number in range(len(rows))]
    return Rewritten(
        columns={
            "text": [text for text, _, _ in rows],
            "text_pair": [choice for _, choice, _ in rows],
            "label": [int(label) for _, _, label in rows],
            "group": sources,
        },
        sources=sources,
        class_names={"label": ANSWERS},
    )


def expand_answers(columns: Columns) -> Rewritten:
    """Return MultiRC as pairs of a paragraph, and a question with one of its answers."""
    numbers: dict[tuple[str, str], int] = {}
    questions = list(_rows(columns, "paragraph", "question"))
    return _same_rows(
        {
            "text": columns["paragraph"],
            "text_pair": [f"{q} {answer}" for q, answer in _rows(columns, "question", "answer")],
            "label": columns["label"],
            "group": [numbers.setdefault(question, len(numbers)) for question in questions],
        }
    )


def _same_rows(columns: Columns) -> Rewritten:
    rows = range(len(next(iter(columns.values()))))
    return Rewritten(columns=columns, sources=rows, class_names={})


def _rows(columns: Columns, *names: str) -> Any:
    """Return the rows of some columns.

    Raises:
        DatasetError: One is missing.
    """
    if missing := [name for name in names if name not in columns]:
        raise DatasetError(
            f"expected the column {missing[0]!r}, as the repository of this dataset has it, got "
            f"{', '.join(columns)}"
        )
    return zip(*(columns[name] for name in names), strict=True)
