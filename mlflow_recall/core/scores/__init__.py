"""Transferability scores: how well will a model fine-tune, judged from one forward pass?

One public function a file, arrays in, float out, higher transfers better. ``SCORES`` says what
each needs; the entry-point group ``mlflow_recall.scores`` adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from mlflow_recall.core.arrays import FloatArray, IntArray
from mlflow_recall.core.scores.leep import leep
from mlflow_recall.core.scores.logme import logme


@dataclass(frozen=True)
class Score:
    """A row of the table: the function, what it looks at, and its range."""

    compute: Callable[[FloatArray, IntArray], float]
    #: ``embeddings`` (n, d) or ``probabilities`` (n, z) of a real source head
    needs: Literal["embeddings", "probabilities"]
    low: float
    high: float


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "leep": Score(leep, "probabilities", float("-inf"), 0.0),
        "logme": Score(logme, "embeddings", float("-inf"), float("inf")),
    }
)

__all__ = ["SCORES", "Score", "leep", "logme"]
