"""History and scores added, each on a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.recommend.standardize import fill_zero, normal_scores, z_scores

#: weights of the history and of the scores together, where nothing tells better ones; fitted ones
#: lie around them on the records of docs/recall.md, and only their proportion orders models
DEFAULT_WEIGHTS = (0.6, 0.3)
#: recorded datasets that weigh as much as the default: their own best weights scatter by 0.2
_WORTH = 16.0
#: scored models that a recorded dataset needs to teach weights
_LEAST = 5


@dataclass(frozen=True, eq=False)
class Components:
    """The standardized parts of m candidates on the target."""

    prior: FloatArray  # (m,) 0 where unknown
    #: score -> (m,) 0 where unknown
    scores: dict[str, FloatArray]
    is_known: NDArray[np.bool_]  # (m,) anything is known at all

    @property
    def mean_score(self) -> FloatArray:
        """(m,) mean of the scores; zeros without any."""
        return sum(self.scores.values(), np.zeros_like(self.prior)) / max(1, len(self.scores))

    @property
    def as_columns(self) -> FloatArray:
        """(m, 2) the history and the scores."""
        return np.column_stack([self.prior, self.mean_score])


@dataclass(frozen=True, eq=False)
class DatasetFit:
    """What one recorded dataset teaches: the weights that fit it best, and what they leave."""

    #: history and scores; None where the scores of this dataset are unknown
    weights: FloatArray | None
    residuals: FloatArray  # (m,) outcome less fit, as normal scores; NaN where never measured


def blend(evidence: Evidence) -> Ranking:
    """Rank by w · prior + v · mean of the scores, each as normal scores.

    The prior is the mean z-score of the history, and each score is standardized on its own over
    the models that have it, or whose representative has it; to others it is neutral. Weights are
    those that fit the recorded datasets, each predicted from the others, where their scores are
    ``past``; the default counts as much as sixteen such datasets, so a small history or one
    without past scores stays near 2 : 1. Scores without past ones of the same name are trusted
    with the default. A model of which nothing is known comes last.
    """
    return blend_with_fits(evidence, fit_datasets(evidence) if evidence.recorded_scores else [])


def blend_with_fits(evidence: Evidence, learned: list[DatasetFit]) -> Ranking:
    """``blend`` with the lessons of its history."""
    parts = standardized_components(evidence)
    first, second = blend_weights([fit.weights for fit in learned])
    told = {"prior": first * parts.prior}
    share = second / max(1, len(parts.scores))
    told |= {name: share * values for name, values in parts.scores.items()}
    total = sum(told.values(), np.zeros_like(parts.prior))
    return Ranking.from_scores(
        evidence.matrix.models, np.where(parts.is_known, total, np.nan), told
    )


def standardized_components(evidence: Evidence) -> Components:
    """The standardized parts of every candidate on the target."""
    history = evidence.mean_z_score
    signals = evidence.propagated_scores()
    seen = [~np.isnan(values) for values in (history, *signals.values())]
    return Components(
        fill_zero(normal_scores(history)),
        {name: fill_zero(normal_scores(values)) for name, values in signals.items()},
        np.any(seen, axis=0),
    )


def fit_datasets(evidence: Evidence) -> list[DatasetFit]:
    """One for every recorded dataset that at least two models were measured on.

    The dataset is predicted from the others by least squares on normal scores.
    """
    if not evidence.recorded_scores:
        return _by_history(evidence)
    taught = []
    for dataset in range(len(evidence.matrix.datasets)):
        before = evidence.hold_out(dataset)
        outcome = normal_scores(evidence.matrix.values[:, dataset])
        parts = standardized_components(before)
        known = ~np.isnan(outcome) & parts.is_known
        if known.sum() < 2:
            continue
        columns = parts.as_columns
        counts = [int((~np.isnan(values[known])).sum()) for values in before.scores.values()]
        scored = bool(parts.scores) and max(counts) >= _LEAST
        used = columns[known] if scored else columns[known, :1]
        fitted: FloatArray = np.linalg.lstsq(used, outcome[known], rcond=None)[0].astype(np.float64)
        residuals = np.where(known, outcome - columns[:, : len(fitted)] @ fitted, np.nan)
        taught.append(DatasetFit(fitted if scored else None, residuals))
    return taught


def _by_history(evidence: Evidence) -> list[DatasetFit]:
    """``lessons`` where no past score is known, for all recorded datasets at once."""
    z = z_scores(evidence.matrix.values)
    measured = ~np.isnan(z)
    count = measured.sum(axis=1, keepdims=True) - measured
    total = np.nansum(z, axis=1, keepdims=True) - fill_zero(z)
    expected = np.array(
        [evidence.estimated_z_scores.get(m, np.nan) for m in evidence.matrix.models]
    )
    unknown = np.broadcast_to(expected[:, None], z.shape)
    before = np.divide(total, count, out=unknown.copy(), where=count > 0)  # (m, d) strength
    known = measured & ~np.isnan(before)
    prior, outcome = fill_zero(normal_scores(before)), normal_scores(evidence.matrix.values)
    x, y = np.where(known, prior, 0.0), np.where(known, outcome, 0.0)
    square = (x * x).sum(axis=0)
    slope = np.divide((x * y).sum(axis=0), square, out=np.zeros_like(square), where=square > 0)
    residuals = np.where(known, outcome - slope * prior, np.nan)
    return [DatasetFit(None, residuals[:, j]) for j in np.flatnonzero(known.sum(axis=0) >= 2)]


def blend_weights(fitted: list[FloatArray | None]) -> tuple[float, float]:
    """Mean of the fitted weights and of the default, none below 0.

    Args:
        fitted: (2,) best weights of recorded datasets; None where unknown.
    """
    known = [pair for pair in fitted if pair is not None]
    total = _WORTH * np.array(DEFAULT_WEIGHTS) + sum(known, np.zeros(2))
    first, second = np.maximum(total / (_WORTH + len(known)), 0.0).tolist()
    return first, second
