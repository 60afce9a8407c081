"""The table of scores, and all scores of one model on one decomposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import entry_points
from math import inf, isfinite
from types import MappingProxyType
from typing import Literal

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.scores.features import Features
from mlflow_recall.core.scores.gbc import gbc, gbc_of
from mlflow_recall.core.scores.hscore import hscore, hscore_of
from mlflow_recall.core.scores.knn import knn, knn_of
from mlflow_recall.core.scores.leep import leep
from mlflow_recall.core.scores.lfc import lfc, lfc_of
from mlflow_recall.core.scores.linear_probe import linear_probe, linear_probe_of
from mlflow_recall.core.scores.logme import logme, logme_of
from mlflow_recall.core.scores.nce import nce
from mlflow_recall.core.scores.nleep import nleep, nleep_of
from mlflow_recall.core.scores.parc import parc, parc_of
from mlflow_recall.core.scores.transrate import transrate, transrate_of
from mlflow_recall.errors import ScoreInputError, unknown_name


@dataclass(frozen=True)
class Score:
    """A row of the table: the function, what it looks at, its range and its cost."""

    compute: Callable[[FloatArray, IntArray], float]
    #: ``embeddings`` (n, d) or ``probabilities`` (n, z) of a real source head
    needs: Literal["embeddings", "probabilities"]
    low: float
    high: float
    #: order of the time for n samples, d dimensions, z source classes and c target classes
    cost: str
    #: the same on labeled embeddings that share a decomposition with other scores
    shared: Callable[[Features], float] | None = None
    #: it sees embeddings at length one: models are ranked better so (docs/reference.md)
    unit: bool = False


SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "leep": Score(leep, "probabilities", -inf, 0.0, "O(n z)"),
        "nce": Score(nce, "probabilities", -inf, 0.0, "O(n z)"),
        "nleep": Score(
            nleep,
            "embeddings",
            -inf,
            0.0,
            "O(n d min(n, d)), then 50 passes of O(n d min(5 c, n / 20))",
            nleep_of,
        ),
        "logme": Score(logme, "embeddings", -inf, inf, "O(n d min(n, d) + c min(n, d))", logme_of),
        "hscore": Score(hscore, "embeddings", 0.0, inf, "O(n d min(n, d))", hscore_of),
        "parc": Score(
            parc,
            "embeddings",
            -100.0,
            100.0,
            "O(n d min(n, d) + m² log m), m = min(n, 2000)",
            parc_of,
            unit=True,
        ),
        "lfc": Score(lfc, "embeddings", 0.0, 1.0, "O(n d min(n, d))", lfc_of),
        "knn": Score(knn, "embeddings", 0.0, 1.0, "O(n d m), m = min(n, 2000)", knn_of, unit=True),
        "linear": Score(
            linear_probe, "embeddings", 0.0, 1.0, "O(n (d + c) min(n, d))", linear_probe_of
        ),
        "transrate": Score(
            transrate, "embeddings", 0.0, inf, "O(n d min(n, d))", transrate_of, unit=True
        ),
        "gbc": Score(gbc, "embeddings", -inf, 0.0, "O(n d min(n, d) + c²)", gbc_of),
    }
)


def known_scores() -> dict[str, Score]:
    """The table, and the rows that installed packages add in the group ``mlflow_recall.scores``."""
    installed = {entry.name: entry for entry in entry_points(group="mlflow_recall.scores")}
    return {**{name: entry.load() for name, entry in installed.items()}, **SCORES}


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What one model makes of the samples of the target."""

    #: (n,) target classes
    labels: AnyArray
    #: (n, d)
    embeddings: FloatArray | None = None
    #: (n, z) of a real source head
    probabilities: FloatArray | None = None
    #: scores see embeddings at length one, or as they are; None: as the table says of each
    normalize: bool | None = None
    _derived: Callable[[bool], Features] | None = field(default=None, repr=False)

    @cached_property
    def plain(self) -> Features:
        """The embeddings as they are, checked and centered, decomposed at most once."""
        return self._features(unit=False)

    @cached_property
    def unit(self) -> Features:
        """The embeddings at length one, likewise."""
        return self._features(unit=True)

    def features(self, *, unit: bool) -> Features:
        """What a score sees that asks for length one, or does not."""
        return self.unit if (unit if self.normalize is None else self.normalize) else self.plain

    def _features(self, *, unit: bool) -> Features:
        if self._derived is not None:
            return self._derived(unit)
        if self.embeddings is None:
            raise ScoreInputError("expected embeddings, got none")
        return Features.from_embeddings(self.embeddings, self.labels, normalize=unit)

    def select_rows(self, index: IntArray) -> ForwardPass:
        """Some of the samples; what is known of all is reused where it can be."""
        return ForwardPass(
            np.asarray(self.labels)[index],
            None if self.embeddings is None else self.embeddings[index],
            None if self.probabilities is None else self.probabilities[index],
            self.normalize,
            lambda unit: (self.unit if unit else self.plain).select_rows(index),
        )

    def with_labels(self, labels: AnyArray) -> ForwardPass:
        """The same samples under other labels; all that does not depend on labels is reused."""
        return replace(
            self,
            labels=labels,
            _derived=lambda unit: (self.unit if unit else self.plain).with_labels(labels),
        )


@dataclass(frozen=True)
class Scored:
    """Scores of one model: those that are defined, and why the others are not."""

    values: Mapping[str, float]
    left_out: Mapping[str, str]


def compute_all(
    names: Iterable[str], seen: ForwardPass, *, table: Mapping[str, Score] = SCORES
) -> Scored:
    """Several scores of one model; its embeddings are decomposed once for all that see them alike.

    Args:
        names: rows of the table.
        seen: what the model makes of the target.
        table: the scores known.

    Raises:
        ScoreInputError: a name that the table does not have.
    """
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if name not in table:
            raise ScoreInputError(unknown_name("score", name, table))
        try:
            value = _compute(table[name], seen)
        except ScoreInputError as error:
            left_out[name] = str(error)
        else:
            if isfinite(value):
                values[name] = value
            else:
                left_out[name] = f"it is {value}"
    return Scored(values, left_out)


def _compute(score: Score, seen: ForwardPass) -> float:
    if score.needs == "embeddings" and score.shared is not None:
        return score.shared(seen.features(unit=score.unit))
    rows = seen.probabilities if score.needs == "probabilities" else seen.embeddings
    if rows is None:
        raise ScoreInputError(f"expected {score.needs}, got none")
    return score.compute(rows, seen.labels)
