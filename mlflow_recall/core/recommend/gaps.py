"""How far each model, or a set of models, will be from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from mlflow_recall.core.arrays import FloatArray, IntArray, is_within, nan_mean
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.core.recommend.evidence import Ranking
from mlflow_recall.core.recommend.held_out_rankings import HeldOutRankings
from mlflow_recall.errors import ConfigError

#: shares are counts of datasets: equal ones may differ in their last digits
_ROUNDING = 1e-9
#: largest factor by which a recorded gap is scaled for another rank
_MAX_SCALING = 5.0
#: hits and misses that are assumed before any is counted: a few datasets are no certainty
_PRIOR_COUNT = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictedGaps:
    """Gap of each of m models to the best model on the target; NaN where nothing is known."""

    models: tuple[str, ...]
    mean: FloatArray  # (m,)
    low: FloatArray  # (m,) lower end of the interval
    high: FloatArray  # (m,) upper end; NaN where too few datasets are recorded to promise one
    #: (m,) mean score, dominated by how hard the datasets are; NaN where they have no common unit
    predicted: FloatArray
    p_within: FloatArray  # (m,) probability that the gap is within the tolerance
    joint_gaps: FloatArray  # (m, d) one joint outcome a recorded dataset
    tolerance: float
    prior_count: float = 0.0
    #: names of the recorded datasets, the columns of ``held_out_expected``
    datasets: tuple[str, ...] = ()
    #: (m, d) mean gap that was predicted for each recorded dataset without it
    held_out_expected: FloatArray | None = None

    def p_holds_best(self, models: Sequence[str]) -> float:
        """Return the probability that a *set* holds a model within the tolerance of the best.

        It is joint: the best member is taken dataset by dataset. NaN without a common dataset.
        """
        rows = [i for i, model in enumerate(self.models) if model in models]
        if not rows or not self.joint_gaps.shape[1]:
            return float("nan")
        gaps = self.joint_gaps[rows]
        known = ~np.isnan(gaps).all(axis=0)
        if not known.any():
            return float("nan")
        hits = is_within(np.nanmin(gaps[:, known], axis=0), self.tolerance)
        return float((hits.sum() + self.prior_count) / (len(hits) + 2.0 * self.prior_count))


@dataclass(frozen=True)
class SmallestSet:
    """The first models of a ranking that are to be trained."""

    models: tuple[str, ...]
    #: probability that they hold a model within the tolerance, as far as the history can tell
    p_holds_best: float
    #: whether enough datasets are recorded to promise the requested confidence
    is_promised: bool


def empirical_gaps(matrix: PerformanceMatrix, tolerance: float = 0.01) -> PredictedGaps:
    """Return the gaps of every model to the best model of each recorded dataset.

    The interval is that between the 10 % and the 90 % quantile over the recorded datasets.

    Args:
        matrix: (m, d) history, higher is better.
        tolerance: Gap that is treated as zero, in the unit of the scores.
    """
    values = matrix.values
    best = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    gaps = np.where(np.isnan(values), np.nan, best - values)
    low, high = np.full((2, len(matrix.models)), np.nan)
    measured = ~np.isnan(gaps).all(axis=1) if gaps.size else np.zeros(len(gaps), dtype=bool)
    if measured.any():
        low[measured], high[measured] = np.nanquantile(gaps[measured], [0.1, 0.9], axis=1)
    return PredictedGaps(
        models=matrix.models,
        mean=nan_mean(gaps, axis=1),
        low=low,
        high=high,
        predicted=matrix.mean_score,
        p_within=_hit_rate(gaps, tolerance),
        joint_gaps=gaps,
        tolerance=tolerance,
    )


def predict_gaps(
    ranking: Ranking,
    matrix: PerformanceMatrix,
    held_out: HeldOutRankings,
    *,
    tolerance: float = 0.01,
    coverage: float = 0.8,
) -> PredictedGaps:
    """Predict gaps on the target from a model's rank, with intervals.

    The mean gap at each rank is an increasing function (isotonic regression) of the gaps that the
    same recommender's ranks had on the recorded datasets. So is the usual error, by which errors
    are scaled. Intervals are conformal over whole datasets (hierarchical conformal prediction, Lee,
    Barber and Willett 2023, arXiv:2306.06342): each recorded dataset has the same weight, its
    errors are those of a prediction that it had no part in, and the target's unknown errors count
    as one more dataset that could be arbitrarily bad. Of new datasets like the recorded ones,
    ``coverage`` of the gaps lie within. With fewer than coverage / (1 - coverage) datasets nothing
    can be promised, and ``high`` is NaN. The joint outcomes, for ``p_within`` and for sets, are the
    gaps of one whole recorded dataset at a time, scaled by what is predicted for the model now over
    what was predicted for it then.

    Args:
        ranking: Ranking for the target.
        matrix: (m, d) history, for the order of the models and the mean best score.
        held_out: Rankings of the same recommender for the recorded datasets.
        tolerance: Gap that is treated as zero, in the unit of the scores.
        coverage: Share of gaps that the interval shall hold, in (0, 1).

    Raises:
        ConfigError: ``coverage`` is not in (0, 1).
    """
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage: expected a share between 0 and 1, got {coverage:g}")
    models = matrix.models
    count = len(held_out.datasets)
    if not count:
        unknown = np.full(len(models), np.nan)
        return PredictedGaps(
            models=models,
            mean=unknown,
            low=unknown,
            high=unknown,
            predicted=unknown,
            p_within=unknown,
            joint_gaps=np.empty((len(models), 0)),
            tolerance=tolerance,
            prior_count=_PRIOR_COUNT,
        )
    expected = np.full(held_out.rank_shares.shape, np.nan)
    scale = np.full(held_out.rank_shares.shape, np.nan)
    points = _Points.from_rankings(held_out)
    for dataset in range(count):
        without = dataset if count > 1 else -1  # a single dataset has no other to be judged by
        expected[:, dataset], scale[:, dataset] = points.curve(
            held_out.rank_shares[:, dataset], without
        )
    errors = held_out.gaps - expected
    mean, usual = points.curve(_rank_shares(ranking, models))
    width = _conformal_quantile(np.abs(errors) / scale, coverage) * usual
    # a joint outcome is a dataset's gaps, scaled by how much worse each model is expected to be now
    floor = 1e-3 * float(np.nanmean(held_out.gaps)) + 1e-12
    rows = indices_of(held_out.models, models)
    scaling = (mean[:, None] + floor) / (expected[rows] + floor)
    joint = held_out.gaps[rows] * np.clip(scaling, 1.0 / _MAX_SCALING, _MAX_SCALING)
    hits = _hit_rate(joint, tolerance)
    known = (~np.isnan(joint)).sum(axis=1)
    hit_counts = np.where(known > 0, hits, 0.0) * known
    p_within = np.where(known > 0, (hit_counts + _PRIOR_COUNT) / (known + 1), np.nan)
    best = np.where(np.isnan(matrix.values), -np.inf, matrix.values).max(axis=0, initial=-np.inf)
    mean_best = best[np.isfinite(best)].mean() if np.isfinite(best).any() else np.nan
    return PredictedGaps(
        models=models,
        mean=mean,
        low=np.where(np.isnan(mean), np.nan, np.maximum(0.0, mean - width)),
        high=np.where(np.isfinite(width), mean + width, np.nan),
        predicted=mean_best - mean,
        p_within=p_within,
        joint_gaps=joint,
        tolerance=tolerance,
        prior_count=_PRIOR_COUNT,
        datasets=held_out.datasets,
        held_out_expected=expected[rows],
    )


def find_smallest_set(
    ranking: Ranking,
    held_out: HeldOutRankings,
    *,
    tolerance: float = 0.01,
    confidence: float = 0.9,
) -> SmallestSet:
    """Find the fewest first models that hold a near-best one with probability ``confidence``.

    It is conformal: on each recorded dataset, which had no part in its ranking, a number of first
    models was needed. Of d such numbers the ⌈(d + 1) confidence⌉-th smallest suffices for a new
    dataset of their kind with at least that probability, jointly for the set. With too few datasets
    for the confidence the largest number is taken, and ``is_promised`` is False.

    Args:
        ranking: Ranking for the target.
        held_out: Rankings of the same recommender for the recorded datasets.
        tolerance: Gap that is treated as zero, in the unit of the scores.
        confidence: Probability in (0, 1).

    Raises:
        ConfigError: ``confidence`` is not in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: expected a share between 0 and 1, got {confidence:g}")
    ranked = [m for m, s in zip(ranking.models, ranking.scores, strict=True) if not np.isnan(s)]
    counts = np.sort(held_out.count_needed(tolerance))
    d = len(counts)
    if not d:
        return SmallestSet(tuple(ranked), float("nan"), is_promised=False)
    needed = int(np.ceil((d + 1) * confidence - _ROUNDING))
    size = int(counts[min(needed, d) - 1])
    p_holds_best = float((counts <= size).sum() / (d + 1))
    return SmallestSet(tuple(ranked[:size]), p_holds_best, is_promised=needed <= d)


def _hit_rate(gaps: FloatArray, tolerance: float) -> FloatArray:
    """Return (m,) share of known gaps within the tolerance; NaN without any."""
    return nan_mean(np.where(np.isnan(gaps), np.nan, is_within(gaps, tolerance)), axis=1)


def _rank_shares(ranking: Ranking, models: tuple[str, ...]) -> FloatArray:
    """Return (m,) rank of each model as a share, in (0, 1); NaN for models without a score."""
    known = ~np.isnan(ranking.scores)
    shares = (np.arange(len(ranking.models)) + 0.5) / max(1, int(known.sum()))
    share_of = {m: p for m, p, k in zip(ranking.models, shares.tolist(), known, strict=True) if k}
    return np.array([share_of.get(model, np.nan) for model in models])


@dataclass(frozen=True, eq=False, kw_only=True)
class _Points:
    """The n measured ranks and gaps of recorded datasets; each dataset weighs 1 in all."""

    levels: FloatArray  # (u,) distinct ranks as shares, ascending
    level: IntArray  # (n,) index of each point's level
    dataset: IntArray  # (n,) index of each point's dataset
    gaps: FloatArray  # (n,)
    weight: FloatArray  # (n,)

    @classmethod
    def from_rankings(cls, held_out: HeldOutRankings) -> _Points:
        known = ~np.isnan(held_out.rank_shares)
        levels, level = np.unique(held_out.rank_shares[known], return_inverse=True)
        dataset = np.nonzero(known)[1]
        return cls(
            levels=levels,
            level=level.astype(np.intp),
            dataset=dataset,
            gaps=held_out.gaps[known],
            weight=1.0 / np.maximum(known.sum(axis=0), 1)[dataset],
        )

    def curve(self, rank_shares: FloatArray, without: int = -1) -> tuple[FloatArray, FloatArray]:
        """Return the mean gap and the mean absolute error at is_used ranks, both increasing.

        Args:
            rank_shares: Ranks as shares; NaN stays NaN.
            without: Index of a dataset that has no part in them; -1: all have.
        """
        used = self.dataset != without
        level, gaps, weight = self.level[used], self.gaps[used], self.weight[used]
        mean, spread = np.full((2, *rank_shares.shape), np.nan)
        if not len(level):
            return mean, spread
        known = ~np.isnan(rank_shares)
        gap_at_level = self._fit_increasing(level, gaps, weight)
        error = np.abs(gaps - gap_at_level[level])
        error_at_level = self._fit_increasing(level, error, weight)
        floor = 0.1 * float(np.average(error, weights=weight)) + 1e-12
        mean[known] = np.interp(rank_shares[known], self.levels, gap_at_level)
        spread[known] = np.maximum(
            np.interp(rank_shares[known], self.levels, error_at_level), floor
        )
        return mean, spread

    def _fit_increasing(
        self, level: IntArray, values: FloatArray, weight: FloatArray
    ) -> FloatArray:
        """Return (u,) isotonic regression; levels without a point lie between their neighbors."""
        total = np.bincount(level, weights=weight, minlength=len(self.levels))
        sums = np.bincount(level, weights=weight * values, minlength=len(self.levels))
        is_used = total > 0
        fit = isotonic_regression(sums[is_used] / total[is_used], weights=total[is_used]).x
        fitted: FloatArray = np.interp(self.levels, self.levels[is_used], fit)
        return fitted


def _conformal_quantile(errors: FloatArray, coverage: float) -> float:
    """Return the quantile of (m, d) errors over d datasets and the target; inf: too few."""
    known = ~np.isnan(errors)
    used = known.any(axis=0)
    weight = (known / np.maximum(known.sum(axis=0), 1))[known] / (used.sum() + 1)
    order = np.argsort(errors[known])
    reached = np.cumsum(weight[order]) >= coverage - _ROUNDING
    return float(errors[known][order][np.argmax(reached)]) if reached.any() else float("inf")
