"""History and scores added, each on a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.standard import neutral, normal_scores, z_scores

#: weights of the history and of the scores together, where nothing tells better ones; fitted ones
#: lie around them on the records of docs/recall.md, and only their proportion orders models
DEFAULT = (0.6, 0.3)
#: recorded datasets that weigh as much as the default: their own best weights scatter by 0.2
_WORTH = 16.0
#: scored models that a recorded dataset needs to teach weights
_LEAST = 5


@dataclass(frozen=True, eq=False)
class Parts:
    """The standardised parts of m candidates on the target."""

    prior: FloatArray  # (m,) 0 where unknown
    #: score -> (m,) 0 where unknown
    scores: dict[str, FloatArray]
    known: NDArray[np.bool_]  # (m,) anything is known at all

    @property
    def score(self) -> FloatArray:
        """(m,) mean of the scores; zeros without any."""
        return sum(self.scores.values(), np.zeros_like(self.prior)) / max(1, len(self.scores))

    @property
    def columns(self) -> FloatArray:
        """(m, 2) the history and the scores."""
        return np.column_stack([self.prior, self.score])


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one recorded dataset teaches: the weights that fit it best, and what they leave."""

    #: history and scores; None where the scores of this dataset are unknown
    weights: FloatArray | None
    residuals: FloatArray  # (m,) outcome less fit, as normal scores; NaN where never measured


def blend(evidence: Evidence) -> Ranking:
    """Rank by w · prior + v · mean of the scores, each as normal scores.

    The prior is the mean z-score of the history, and each score is standardised on its own over
    the models that have it, or whose representative has it; to others it is neutral. Weights are
    those that fit the recorded datasets, each predicted from the others, where their scores are
    ``past``; the default counts as much as sixteen such datasets, so a small history or one
    without past scores stays near 2 : 1. Scores without past ones of the same name are trusted
    with the default. A model of which nothing is known comes last.
    """
    return blended(evidence, lessons(evidence) if evidence.past else [])


def blended(evidence: Evidence, learned: list[Lesson]) -> Ranking:
    """``blend`` with the lessons of its history."""
    parts = parts_of(evidence)
    first, second = weights([lesson.weights for lesson in learned])
    told = {"prior": first * parts.prior}
    share = second / max(1, len(parts.scores))
    told |= {name: share * values for name, values in parts.scores.items()}
    total = sum(told.values(), np.zeros_like(parts.prior))
    return Ranking.by(evidence.matrix.models, np.where(parts.known, total, np.nan), told)


def parts_of(evidence: Evidence) -> Parts:
    """The standardised parts of every candidate on the target."""
    history = evidence.strength
    signals = evidence.signals()
    seen = [~np.isnan(values) for values in (history, *signals.values())]
    return Parts(
        neutral(normal_scores(history)),
        {name: neutral(normal_scores(values)) for name, values in signals.items()},
        np.any(seen, axis=0),
    )


def lessons(evidence: Evidence) -> list[Lesson]:
    """One for every recorded dataset that at least two models were measured on.

    The dataset is predicted from the others by least squares on normal scores.
    """
    if not evidence.past:
        return _by_history(evidence)
    taught = []
    for dataset in range(len(evidence.matrix.datasets)):
        before = evidence.leaving(dataset)
        outcome = normal_scores(evidence.matrix.values[:, dataset])
        parts = parts_of(before)
        known = ~np.isnan(outcome) & parts.known
        if known.sum() < 2:
            continue
        columns = parts.columns
        counts = [int((~np.isnan(values[known])).sum()) for values in before.scores.values()]
        scored = bool(parts.scores) and max(counts) >= _LEAST
        used = columns[known] if scored else columns[known, :1]
        fitted: FloatArray = np.linalg.lstsq(used, outcome[known], rcond=None)[0].astype(np.float64)
        residuals = np.where(known, outcome - columns[:, : len(fitted)] @ fitted, np.nan)
        taught.append(Lesson(fitted if scored else None, residuals))
    return taught


def _by_history(evidence: Evidence) -> list[Lesson]:
    """``lessons`` where no past score is known, for all recorded datasets at once."""
    z = z_scores(evidence.matrix.values)
    measured = ~np.isnan(z)
    count = measured.sum(axis=1, keepdims=True) - measured
    total = np.nansum(z, axis=1, keepdims=True) - neutral(z)
    expected = np.array([evidence.provisional.get(m, np.nan) for m in evidence.matrix.models])
    unknown = np.broadcast_to(expected[:, None], z.shape)
    before = np.divide(total, count, out=unknown.copy(), where=count > 0)  # (m, d) strength
    known = measured & ~np.isnan(before)
    prior, outcome = neutral(normal_scores(before)), normal_scores(evidence.matrix.values)
    x, y = np.where(known, prior, 0.0), np.where(known, outcome, 0.0)
    square = (x * x).sum(axis=0)
    slope = np.divide((x * y).sum(axis=0), square, out=np.zeros_like(square), where=square > 0)
    residuals = np.where(known, outcome - slope * prior, np.nan)
    return [Lesson(None, residuals[:, j]) for j in np.flatnonzero(known.sum(axis=0) >= 2)]


def weights(fitted: list[FloatArray | None]) -> tuple[float, float]:
    """Mean of the fitted weights and of the default, none below 0.

    Args:
        fitted: (2,) best weights of recorded datasets; None where unknown.
    """
    known = [pair for pair in fitted if pair is not None]
    total = _WORTH * np.array(DEFAULT) + sum(known, np.zeros(2))
    first, second = np.maximum(total / (_WORTH + len(known)), 0.0).tolist()
    return first, second
