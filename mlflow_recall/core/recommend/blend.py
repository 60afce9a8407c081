"""Blend: the history and the scores added, each on a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import BoolArray, FloatArray
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.standardize import fill_zero, normal_scores, z_scores

#: weights of the history and of the scores together, where no recorded scores tell better ones;
#: fitted weights are close to them on the records of docs/recall.md, and only their ratio matters
DEFAULT_WEIGHTS = (0.6, 0.3)
#: recorded datasets that the default counts as: the best weights of one dataset scatter by 0.2
_PRIOR_DATASETS = 16.0
#: scored models that a recorded dataset needs before weights are fitted to it
_MIN_SCORED_MODELS = 5


@dataclass(frozen=True, eq=False)
class Components:
    """The standardized components of m candidates on the target."""

    prior: FloatArray  # (m,) 0 where unknown
    #: score -> (m,) 0 where unknown
    scores: dict[str, FloatArray]
    is_known: BoolArray  # (m,) whether anything is known of the model

    @property
    def mean_score(self) -> FloatArray:
        """(m,) mean of the scores; zeros without any."""
        return sum(self.scores.values(), np.zeros_like(self.prior)) / max(1, len(self.scores))

    @property
    def as_columns(self) -> FloatArray:
        """(m, 2) the history and the mean score."""
        return np.column_stack([self.prior, self.mean_score])


@dataclass(frozen=True, eq=False)
class DatasetFit:
    """The weights that fit one recorded dataset best, and the residuals."""

    #: (2,) weights of history and scores; None where the scores of this dataset are unknown
    weights: FloatArray | None
    residuals: FloatArray  # (m,) final score less fit, as normal scores; NaN where not measured


def blend(evidence: Evidence) -> Ranking:
    """Rank by w · prior + v · mean of the scores, each as normal scores.

    The prior is the mean z-score of the history. Each score is standardized on its own over the
    models that have it, or whose representative has it; for other models it is 0. The weights are
    the mean of those that fit the recorded datasets, each predicted from the others, as far as
    ``recorded_scores`` has their scores. The default counts as much as sixteen such datasets, so a
    small history, or one without recorded scores, stays near 2 : 1. A model of which nothing is
    known comes last.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> scores = {"logme": np.array([0.1, 0.9, 0.2])}
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix), scores=scores
        ... )
        >>> blend(evidence).models
        ('a', 'b', 'c')
    """
    return blend_with_fits(evidence, fit_datasets(evidence) if evidence.recorded_scores else [])


def blend_with_fits(evidence: Evidence, fits: Sequence[DatasetFit]) -> Ranking:
    """Rank as ``blend`` with fits of the recorded datasets that were made already."""
    components = standardized_components(evidence)
    prior_weight, score_weight = blend_weights([fit.weights for fit in fits])
    parts = {"prior": prior_weight * components.prior}
    share = score_weight / max(1, len(components.scores))
    parts |= {name: share * values for name, values in components.scores.items()}
    total = sum(parts.values(), np.zeros_like(components.prior))
    scores = np.where(components.is_known, total, np.nan)
    return Ranking.from_scores(evidence.matrix.models, scores, parts)


def standardized_components(evidence: Evidence) -> Components:
    """Return the standardized components of every candidate on the target."""
    history = evidence.mean_z_score
    scores = evidence.propagated_scores()
    known = [~np.isnan(values) for values in (history, *scores.values())]
    return Components(
        fill_zero(normal_scores(history)),
        {name: fill_zero(normal_scores(values)) for name, values in scores.items()},
        np.any(known, axis=0),
    )


def fit_datasets(evidence: Evidence) -> list[DatasetFit]:
    """Fit every recorded dataset that at least two models were measured on.

    The dataset is predicted from the others by least squares on normal scores.
    """
    if not evidence.recorded_scores:
        return _fit_by_history(evidence)
    fits = []
    for dataset in range(len(evidence.matrix.datasets)):
        held_out = evidence.hold_out(dataset)
        outcome = normal_scores(evidence.matrix.values[:, dataset])
        components = standardized_components(held_out)
        known = ~np.isnan(outcome) & components.is_known
        if known.sum() < 2:
            continue
        columns = components.as_columns
        counts = [int((~np.isnan(values[known])).sum()) for values in held_out.scores.values()]
        is_scored = bool(components.scores) and max(counts) >= _MIN_SCORED_MODELS
        used = columns[known] if is_scored else columns[known, :1]
        solution = np.linalg.lstsq(used, outcome[known], rcond=None)[0]
        weights: FloatArray = solution.astype(np.float64)
        fitted = columns[:, : len(weights)] @ weights
        residuals = np.where(known, outcome - fitted, np.nan)
        fits.append(DatasetFit(weights if is_scored else None, residuals))
    return fits


def _fit_by_history(evidence: Evidence) -> list[DatasetFit]:
    """Fit all recorded datasets at once, as ``fit_datasets`` where no score is recorded."""
    z = z_scores(evidence.matrix.values)
    measured = ~np.isnan(z)
    count = measured.sum(axis=1, keepdims=True) - measured
    total = np.nansum(z, axis=1, keepdims=True) - fill_zero(z)
    estimates = [evidence.estimated_z_scores.get(m, np.nan) for m in evidence.matrix.models]
    default = np.broadcast_to(np.array(estimates)[:, None], z.shape)
    history = np.divide(total, count, out=default.copy(), where=count > 0)  # (m, d)
    known = measured & ~np.isnan(history)
    prior, outcome = fill_zero(normal_scores(history)), normal_scores(evidence.matrix.values)
    x, y = np.where(known, prior, 0.0), np.where(known, outcome, 0.0)
    square = (x * x).sum(axis=0)
    slope = np.divide((x * y).sum(axis=0), square, out=np.zeros_like(square), where=square > 0)
    residuals = np.where(known, outcome - slope * prior, np.nan)
    return [DatasetFit(None, residuals[:, j]) for j in np.flatnonzero(known.sum(axis=0) >= 2)]


def blend_weights(fitted: Sequence[FloatArray | None]) -> tuple[float, float]:
    """Return the mean of the fitted weights and the default, none below 0.

    Args:
        fitted: (2,) best weights of each recorded dataset; None where unknown.
    """
    known = [weights for weights in fitted if weights is not None]
    total = _PRIOR_DATASETS * np.array(DEFAULT_WEIGHTS) + sum(known, np.zeros(2))
    mean = np.maximum(total / (_PRIOR_DATASETS + len(known)), 0.0)
    prior_weight, score_weight = mean.tolist()
    return prior_weight, score_weight
