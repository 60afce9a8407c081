"""The table of scores, and several scores of one model on one decomposition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite
from typing import Literal

import numpy as np

from mlflow_recall.core.arrays import AnyArray, FloatArray, IntArray
from mlflow_recall.core.history.tasks import CLASSIFICATION, REGRESSION, TASKS
from mlflow_recall.core.plugins import PluginTable
from mlflow_recall.core.scores.features import Features
from mlflow_recall.core.scores.gbc import gbc, gbc_of
from mlflow_recall.core.scores.hscore import hscore, hscore_of
from mlflow_recall.core.scores.inputs import why_not_served
from mlflow_recall.core.scores.knn import knn, knn_of
from mlflow_recall.core.scores.leep import leep
from mlflow_recall.core.scores.lfc import lfc, lfc_of
from mlflow_recall.core.scores.linear_probe import linear_probe, linear_probe_of
from mlflow_recall.core.scores.logme import logme, logme_of
from mlflow_recall.core.scores.nce import nce
from mlflow_recall.core.scores.nleep import nleep, nleep_of
from mlflow_recall.core.scores.parc import parc, parc_of
from mlflow_recall.core.scores.targets import CLASS_TASKS
from mlflow_recall.core.scores.transrate import transrate, transrate_of
from mlflow_recall.errors import ScoreInputError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Score:
    """A row of ``SCORES``: the function, its input, its tasks, its range and its cost.

    Example:
        A score of another package::

            SPREAD = Score(
                compute=spread, needs="embeddings", low=0.0, high=math.inf, cost="O(n d)"
            )
    """

    #: (rows, labels) -> the score; higher transfers better. It takes the keyword ``task`` if it
    #: serves others than classification
    compute: Callable[..., float]
    #: ``embeddings`` (n, d) or ``probabilities`` (n, z) of a real source head
    needs: Literal["embeddings", "probabilities"]
    #: smallest and largest possible value, for the tasks that ``ranges`` does not name
    low: float
    high: float
    #: order of the time of a classification with n samples, d dimensions, z source classes and c
    #: target classes
    cost: str
    #: the same on labeled embeddings whose decomposition several scores share; None: it has none
    shared: Callable[[Features], float] | None = None
    #: whether rows are scaled to length one, which ranks models better (docs/reference.md)
    unit: bool = False
    #: tasks of the datasets that it is defined for
    tasks: tuple[str, ...] = (CLASSIFICATION,)
    #: task -> smallest and largest possible value
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def range_of(self, task: str) -> tuple[float, float]:
        """Return the smallest and the largest possible value for a task."""
        return self.ranges.get(task, (self.low, self.high))

    def why_not_served(self, task: str) -> str:
        """Return why it has no value for a task; empty if it serves the task."""
        return why_not_served(task, self.tasks)


#: range of the scores that are a rank correlation for a regression
_SPEARMAN = {REGRESSION: (-1.0, 1.0)}

#: scores by name; the entry-point group ``mlflow_recall.scores`` adds to them
SCORES: PluginTable[Score] = PluginTable(
    "score",
    "mlflow_recall.scores",
    {
        "leep": Score(compute=leep, needs="probabilities", low=-inf, high=0.0, cost="O(n z)"),
        "nce": Score(compute=nce, needs="probabilities", low=-inf, high=0.0, cost="O(n z)"),
        "nleep": Score(
            compute=nleep,
            needs="embeddings",
            low=-inf,
            high=0.0,
            cost="O(n d min(n, d)), then 50 passes of O(n d min(5 c, n / 20))",
            shared=nleep_of,
            tasks=CLASS_TASKS,
        ),
        "logme": Score(
            compute=logme,
            needs="embeddings",
            low=-inf,
            high=inf,
            cost="O(n d min(n, d) + c min(n, d))",
            shared=logme_of,
            tasks=TASKS,
        ),
        "hscore": Score(
            compute=hscore,
            needs="embeddings",
            low=0.0,
            high=inf,
            cost="O(n d min(n, d))",
            shared=hscore_of,
            tasks=CLASS_TASKS,
        ),
        "parc": Score(
            compute=parc,
            needs="embeddings",
            low=-100.0,
            high=100.0,
            cost="O(n d min(n, d) + m² log m), m = min(n, 2000)",
            shared=parc_of,
            tasks=TASKS,
            unit=True,
        ),
        "lfc": Score(
            compute=lfc,
            needs="embeddings",
            low=0.0,
            high=1.0,
            cost="O(n d min(n, d))",
            shared=lfc_of,
            tasks=TASKS,
        ),
        "knn": Score(
            compute=knn,
            needs="embeddings",
            low=0.0,
            high=1.0,
            cost="O(n d m), m = min(n, 2000)",
            shared=knn_of,
            tasks=TASKS,
            ranges=_SPEARMAN,
            unit=True,
        ),
        "linear_probe": Score(
            compute=linear_probe,
            needs="embeddings",
            low=0.0,
            high=1.0,
            cost="O(n (d + c) min(n, d))",
            shared=linear_probe_of,
            tasks=TASKS,
            ranges=_SPEARMAN,
        ),
        "transrate": Score(
            compute=transrate,
            needs="embeddings",
            low=0.0,
            high=inf,
            cost="O(n d min(n, d))",
            shared=transrate_of,
            tasks=CLASS_TASKS,
            unit=True,
        ),
        "gbc": Score(
            compute=gbc,
            needs="embeddings",
            low=-inf,
            high=0.0,
            cost="O(n d min(n, d) + c²)",
            shared=gbc_of,
            tasks=CLASS_TASKS,
        ),
    },
    Score,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ForwardPass:
    """Output of one model for the samples of the target."""

    #: (n,) target classes; (n, c) zeros and ones of a multi-label dataset; (n,) numbers of a
    #: regression
    labels: AnyArray
    #: (n, d) features of the samples; None: unknown
    embeddings: FloatArray | None = None
    #: (n, z) source-class probabilities of a real source head; None: it has none
    probabilities: FloatArray | None = None
    #: whether rows are scaled to length one for all scores; None: as each row of the table says
    normalize: bool | None = None
    #: task of the dataset
    task: str = CLASSIFICATION
    #: (whether rows have length one) -> features that are derived from another forward pass
    _derived: Callable[[bool], Features] | None = field(default=None, repr=False)

    @cached_property
    def plain(self) -> Features:
        """The embeddings unscaled, checked and centered, decomposed at most once."""
        return self._features(unit=False)

    @cached_property
    def unit(self) -> Features:
        """The embeddings at length one, checked and centered, decomposed at most once."""
        return self._features(unit=True)

    def features(self, *, unit: bool) -> Features:
        """Return the features for a score that scales rows to length one, or does not."""
        return self.unit if (unit if self.normalize is None else self.normalize) else self.plain

    def _features(self, *, unit: bool) -> Features:
        if self._derived is not None:
            return self._derived(unit)
        if self.embeddings is None:
            raise ScoreInputError("expected embeddings, got none")
        return Features.from_embeddings(
            self.embeddings, self.labels, task=self.task, normalize=unit
        )

    def select_rows(self, index: IntArray) -> ForwardPass:
        """Return the forward pass of some samples; what is known of all is reused if possible."""
        return ForwardPass(
            labels=np.asarray(self.labels)[index],
            embeddings=None if self.embeddings is None else self.embeddings[index],
            probabilities=None if self.probabilities is None else self.probabilities[index],
            normalize=self.normalize,
            task=self.task,
            _derived=lambda unit: (self.unit if unit else self.plain).select_rows(index),
        )

    def with_labels(self, labels: AnyArray) -> ForwardPass:
        """Return the same samples with other labels; what does not depend on labels is reused."""
        return replace(
            self,
            labels=labels,
            _derived=lambda unit: (self.unit if unit else self.plain).with_labels(labels),
        )


@dataclass(frozen=True)
class Scored:
    """Scores of one model, and why the others are not defined."""

    values: Mapping[str, float]
    #: score -> why it is not defined
    left_out: Mapping[str, str]


def compute_all(
    names: Iterable[str], forward: ForwardPass, *, table: Mapping[str, Score] = SCORES
) -> Scored:
    """Compute several scores of one model; its embeddings are decomposed once for all of them.

    Args:
        names: Names of rows of the table.
        forward: Output of the model for the target.
        table: Known scores.

    Raises:
        ScoreInputError: The table does not have a name.

    Example:
        >>> embeddings = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
        >>> forward = ForwardPass(labels=np.array([0, 0, 1, 1]), embeddings=embeddings)
        >>> scored = compute_all(["hscore", "leep"], forward)
        >>> sorted(scored.values), scored.left_out
        (['hscore'], {'leep': 'expected probabilities, got none'})
    """
    values: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in names:
        if name not in table:
            raise ScoreInputError(unknown_name("score", name, table))
        try:
            value = _compute(table[name], forward)
        except ScoreInputError as error:
            left_out[name] = str(error)
        else:
            if isfinite(value):
                values[name] = value
            else:
                left_out[name] = f"it is {value}"
    return Scored(values, left_out)


def _compute(score: Score, forward: ForwardPass) -> float:
    if reason := score.why_not_served(forward.task):
        raise ScoreInputError(reason)
    if score.needs == "embeddings" and score.shared is not None:
        return score.shared(forward.features(unit=score.unit))
    rows = forward.probabilities if score.needs == "probabilities" else forward.embeddings
    if rows is None:
        raise ScoreInputError(f"expected {score.needs}, got none")
    if score.tasks == (CLASSIFICATION,):
        return score.compute(rows, forward.labels)
    return score.compute(rows, forward.labels, task=forward.task)
