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
#: largest factor by which a recorded gap is stretched or shrunk for another place in the ranking
_CHANGE = 5.0


@dataclass(frozen=True, eq=False)
class PredictedGaps:
    """Gap to the best model, summarized over datasets; NaN: nothing is known."""

    models: tuple[str, ...]
    mean: FloatArray  # (m,)
    low: FloatArray  # (m,) lower end of the interval
    high: FloatArray  # (m,) upper end; NaN where too few datasets were recorded to promise one
    #: (m,) mean score, dominated by how hard the datasets were
    predicted: FloatArray
    p_within: FloatArray  # (m,) probability that the gap is within the tolerance
    joint_gaps: FloatArray  # (m, d) one joint outcome a recorded dataset
    tolerance: float
    #: hits and misses supposed before any was counted: a few datasets are no certainty
    prior_count: float = 0.0
    #: of the recorded datasets, which had no part in it, as of the target: the columns of
    datasets: tuple[str, ...] = ()
    #: (m, d) mean gap that was expected there; None: nobody was asked
    held_out_expected: FloatArray | None = None

    def p_holds_best(self, chosen: Sequence[str]) -> float:
        """Probability that the *set* holds a model within the tolerance of the best.

        Joint: the best member is taken dataset by dataset. NaN without a common dataset.
        """
        rows = [i for i, model in enumerate(self.models) if model in chosen]
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
    """The first of a ranking that are to be trained."""

    models: tuple[str, ...]
    #: probability that they hold a model within the tolerance, as far as the history can tell
    p_holds_best: float
    #: whether enough datasets are recorded to promise the confidence that was asked for
    is_promised: bool


def empirical_gaps(matrix: PerformanceMatrix, tolerance: float = 0.01) -> PredictedGaps:
    """Empirical gaps of every model to the best of each recorded dataset.

    The interval is that between the 10 % and the 90 % quantile over the recorded datasets.

    Args:
        matrix: (m, d) history, higher is better.
        tolerance: gap that does not matter, in the unit of the scores.
    """
    values = matrix.values
    best = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    gaps = np.where(np.isnan(values), np.nan, best - values)
    low, high = np.full((2, len(matrix.models)), np.nan)
    measured = ~np.isnan(gaps).all(axis=1) if gaps.size else np.zeros(len(gaps), dtype=bool)
    if measured.any():
        low[measured], high[measured] = np.nanquantile(gaps[measured], [0.1, 0.9], axis=1)
    within = nan_mean(np.where(np.isnan(gaps), np.nan, is_within(gaps, tolerance)), axis=1)
    return PredictedGaps(
        matrix.models, nan_mean(gaps, axis=1), low, high, matrix.mean_score, within, gaps, tolerance
    )


def predict_gaps(
    ranking: Ranking,
    matrix: PerformanceMatrix,
    past: HeldOutRankings,
    *,
    tolerance: float = 0.01,
    coverage: float = 0.8,
) -> PredictedGaps:
    """Gaps on the target, predicted from a model's place in the ranking, with intervals.

    The mean gap at each place is an increasing function (isotonic regression) of what the same
    recommender's places were worth on the recorded datasets; so is the usual error, by which
    errors are scaled. Intervals are conformal over whole datasets (hierarchical conformal
    prediction, Lee, Barber and Willett 2023, arXiv:2306.06342): each recorded dataset weighs the
    same, its errors are those of a prediction that it had no part in, and the target's unknown
    errors count as one more dataset that could be arbitrarily bad. Of new datasets like the
    recorded ones, ``coverage`` of the gaps lie within. With fewer than coverage / (1 - coverage)
    datasets nothing can be promised, and ``high`` is NaN. Joint outcomes, for ``within`` and for
    sets, are the gaps of one whole recorded dataset at a time, each in proportion to what is
    predicted of the model now and was predicted of it then.

    Args:
        ranking: for the target.
        matrix: (m, d) history, for the models' order and the mean best score.
        past: what the same recommender said of recorded datasets.
        tolerance: gap that does not matter, in the unit of the scores.
        coverage: share of gaps that the interval shall hold, in (0, 1).
    """
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage: expected a share between 0 and 1, got {coverage:g}")
    models = matrix.models
    places = _places(ranking, models)
    nothing = np.full(len(models), np.nan)
    count = len(past.datasets)
    if not count:
        none = np.empty((len(models), 0))
        return PredictedGaps(
            models, nothing, nothing, nothing, nothing, nothing, none, tolerance, 0.5
        )
    expected = np.full(past.rank_shares.shape, np.nan)
    scale = np.full(past.rank_shares.shape, np.nan)
    points = _Points.of(past)
    for left in range(count):
        without = left if count > 1 else -1  # the only one has no other to be judged by
        expected[:, left], scale[:, left] = points.curve(past.rank_shares[:, left], without)
    errors = past.gaps - expected
    mean, usual = points.curve(places)
    reach = _conformal(np.abs(errors) / scale, coverage) * usual
    # a joint outcome: a dataset's gaps, as much larger as each model is now expected further off
    floor = 1e-3 * float(np.nanmean(past.gaps)) + 1e-12
    rows = indices_of(past.models, models)
    change = (mean[:, None] + floor) / (expected[rows] + floor)
    joint = past.gaps[rows] * np.clip(change, 1.0 / _CHANGE, _CHANGE)
    hits = nan_mean(np.where(np.isnan(joint), np.nan, is_within(joint, tolerance)), axis=1)
    known = (~np.isnan(joint)).sum(axis=1)
    within = np.where(
        known > 0, (np.where(known > 0, hits, 0.0) * known + 0.5) / (known + 1), np.nan
    )
    top = np.where(np.isnan(matrix.values), -np.inf, matrix.values).max(axis=0, initial=-np.inf)
    predicted = (top[np.isfinite(top)].mean() if np.isfinite(top).any() else np.nan) - mean
    high = np.where(np.isfinite(reach), mean + reach, np.nan)
    low = np.where(np.isnan(mean), np.nan, np.maximum(0.0, mean - reach))
    return PredictedGaps(
        models,
        mean,
        low,
        high,
        predicted,
        within,
        joint,
        tolerance,
        0.5,
        past.datasets,
        expected[rows],
    )


def find_smallest_set(
    ranking: Ranking,
    past: HeldOutRankings,
    *,
    tolerance: float = 0.01,
    confidence: float = 0.9,
) -> SmallestSet:
    """The fewest of the ranking's first that hold a near-best model with ``confidence``.

    Conformal: on each recorded dataset, which had no part in its ranking, so and so many were
    needed. Of d such counts the ⌈(d + 1) confidence⌉-th smallest suffices for a new dataset of
    their kind with at least that probability, jointly for the set. With too few datasets for the
    confidence it is the largest count, and ``promised`` is False.

    Args:
        ranking: for the target.
        past: what the same recommender said of recorded datasets.
        tolerance: gap that does not matter, in the unit of the scores.
        confidence: probability in (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence: expected a share between 0 and 1, got {confidence:g}")
    ranked = [m for m, s in zip(ranking.models, ranking.scores, strict=True) if not np.isnan(s)]
    counts = np.sort(past.count_needed(tolerance))
    d = len(counts)
    if not d:
        return SmallestSet(tuple(ranked), float("nan"), False)
    wanted = int(np.ceil((d + 1) * confidence - _ROUNDING))
    size = int(counts[min(wanted, d) - 1])
    held = float((counts <= size).sum() / (d + 1))
    return SmallestSet(tuple(ranked[:size]), held, wanted <= d)


def _places(ranking: Ranking, models: tuple[str, ...]) -> FloatArray:
    known = ~np.isnan(ranking.scores)
    share = (np.arange(len(ranking.models)) + 0.5) / max(1, int(known.sum()))
    of = {m: p for m, p, k in zip(ranking.models, share.tolist(), known, strict=True) if k}
    return np.array([of.get(model, np.nan) for model in models])


@dataclass(frozen=True, eq=False)
class _Points:
    """The n measured places and gaps of recorded datasets, each dataset weighing 1 in all."""

    levels: FloatArray  # (u,) different places, ascending
    level: IntArray  # (n,) which of them
    dataset: IntArray  # (n,)
    gaps: FloatArray  # (n,)
    weight: FloatArray  # (n,)

    @classmethod
    def of(cls, past: HeldOutRankings) -> _Points:
        known = ~np.isnan(past.rank_shares)
        levels, level = np.unique(past.rank_shares[known], return_inverse=True)
        dataset = np.nonzero(known)[1]
        weight = 1.0 / np.maximum(known.sum(axis=0), 1)[dataset]
        return cls(levels, level.astype(np.intp), dataset, past.gaps[known], weight)

    def curve(self, places: FloatArray, without: int = -1) -> tuple[FloatArray, FloatArray]:
        """Mean gap and mean absolute error at ``places``, both increasing, without one dataset."""
        used = self.dataset != without
        level, gaps, weight = self.level[used], self.gaps[used], self.weight[used]
        found, spread = np.full((2, *places.shape), np.nan)
        if not len(level):
            return found, spread
        asked = ~np.isnan(places)
        mean = self._increasing(level, gaps, weight)
        error = np.abs(gaps - mean[level])
        usual = self._increasing(level, error, weight)
        floor = 0.1 * float(np.average(error, weights=weight)) + 1e-12
        found[asked] = np.interp(places[asked], self.levels, mean)
        spread[asked] = np.maximum(np.interp(places[asked], self.levels, usual), floor)
        return found, spread

    def _increasing(self, level: IntArray, values: FloatArray, weight: FloatArray) -> FloatArray:
        """(u,) isotonic regression; levels without a point lie between their neighbors."""
        total = np.bincount(level, weights=weight, minlength=len(self.levels))
        sums = np.bincount(level, weights=weight * values, minlength=len(self.levels))
        some = total > 0
        fit = isotonic_regression(sums[some] / total[some], weights=total[some]).x
        found: FloatArray = np.interp(self.levels, self.levels[some], fit)
        return found


def _conformal(scores: FloatArray, coverage: float) -> float:
    """Quantile of (m, d) errors over d datasets and the target itself; inf: too few datasets."""
    known = ~np.isnan(scores)
    used = known.any(axis=0)
    weight = (known / np.maximum(known.sum(axis=0), 1))[known] / (used.sum() + 1)
    order = np.argsort(scores[known])
    reached = np.cumsum(weight[order]) >= coverage - _ROUNDING
    return float(scores[known][order][np.argmax(reached)]) if reached.any() else float("inf")
