"""Joint samples of the candidates' final scores, from what they reached on recorded datasets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtr

from mlflow_recall.core.arrays import BoolArray, FloatArray
from mlflow_recall.core.policies.policy_history import PolicyHistory

#: recorded datasets of a full sample: so many neighbors count, so many suffice where they have
#: every candidate, and fewer do not show which models complement each other
FULL_SAMPLE = 16
#: share of the recorded datasets that count as neighbors where there are not many
NEIGHBOR_FRACTION = 2 / 3
#: recorded datasets below which nothing is predicted
MIN_DATASETS = 4
#: records below which a candidate is assumed to converge like the others
_MIN_OWN_RECORDS = 2
#: weight of a difference in the cohort's level, relative to one of its gaps
_LEVEL_WEIGHT = 0.5
#: error of a model's mean final score over a few datasets, in standard errors
_MEAN_ERROR = 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreSamples:
    """Joint samples of the final test scores of n candidates, one for each of s datasets."""

    final_scores: FloatArray  # (n, s) NaN where a candidate has no record
    weights: FloatArray  # (n, s) each row sums to 1, or to 0 where nothing is known
    std: FloatArray  # (n,) standard deviation by which a whole row may be off
    has_history: BoolArray  # (n,) whether the candidate's own records were used
    #: largest difference of a sample of one candidate from its mean that counts
    clip: float = math.inf

    @cached_property
    def expected(self) -> FloatArray:
        """(n,) mean final score; -inf for candidates without a sample."""
        mean = (self.weights * np.nan_to_num(self.final_scores)).sum(axis=1)
        return np.where(self.weights.sum(axis=1) > 0, mean, -np.inf)

    @cached_property
    def clipped(self) -> FloatArray:
        """(n, s) final scores whose surprises are at most ``clip``.

        A surprise is the difference of one candidate's sample from its mean, beyond the difference
        that the sample has for all candidates. So one recorded collapse does not promise a gain.
        """
        known = self.weights > 0
        mean = np.where(known, self.expected[:, None], 0.0)
        difference = np.where(known, self.final_scores - mean, 0.0)
        level = difference.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        surprise = np.clip(np.where(known, difference - level, 0.0), -self.clip, self.clip)
        clipped: FloatArray = np.where(known, mean + level + surprise, np.nan)
        return clipped

    def quantile(self, share: float) -> FloatArray:
        """Return (n,) final scores that ``share`` of the samples do not exceed; NaN without any."""
        order = np.argsort(self.final_scores, axis=1, kind="stable")  # NaN last
        cumulative = np.take_along_axis(self.weights, order, axis=1).cumsum(axis=1)
        index = np.take_along_axis(
            order, (cumulative >= share - 1e-12).argmax(axis=1)[:, None], axis=1
        )
        quantile: FloatArray = np.take_along_axis(self.final_scores, index, axis=1)[:, 0]
        return quantile

    def expected_improvement(self, best: FloatArray) -> FloatArray:
        """Return (n,) by how much each candidate is expected to raise the best final score.

        Args:
            best: (s,) highest clipped final score of the chosen candidates; NaN where unknown.
        """
        lead = self.clipped - best
        known = ~np.isnan(lead)
        weights = np.where(known, self.weights, 0.0)
        total = weights.sum(axis=1)
        lead = np.where(known, lead, 0.0)
        std = np.maximum(self.std, 1e-12)[:, None]
        # the mean of max(0, lead + std x normal)
        density = np.exp(-0.5 * (lead / std) ** 2) / np.sqrt(2 * np.pi)
        gain = (weights * (lead * ndtr(lead / std) + std * density)).sum(axis=1)
        improvement: FloatArray = np.divide(gain, total, out=np.zeros_like(gain), where=total > 0)
        return improvement


def sample_recorded_scores(history: PolicyHistory, models: tuple[str, ...]) -> ScoreSamples | None:
    """Return the recorded final scores of ``models``, every dataset with the same weight.

    Datasets that have all models are used alone where there are enough of them; otherwise those of
    the first model that has at least four.

    Returns:
        None where the history has fewer than four datasets of these models.
    """
    final_scores = history.rows_of(models, history.curves.final_scores)
    measured = ~np.isnan(final_scores)
    used = measured.all(axis=0)
    if used.sum() < FULL_SAMPLE:
        used = measured[(measured.sum(axis=1) >= MIN_DATASETS).argmax()]
    if used.sum() < MIN_DATASETS:
        return None
    final_scores, measured = final_scores[:, used], measured[:, used]
    has_history: BoolArray = measured.sum(axis=1) > 0
    return ScoreSamples(
        final_scores=final_scores,
        weights=_normalize(measured.astype(np.float64)),
        std=np.zeros(len(final_scores)),
        has_history=has_history,
    )


def sample_final_scores(
    history: PolicyHistory, models: tuple[str, ...], scores: FloatArray, stage: int
) -> ScoreSamples | None:
    """Sample the final scores of ``models`` from their validation ``scores`` after ``stage``.

    A sample has the final scores of the same models on one recorded dataset, moved to their present
    scores: by the whole difference of the cohort's level, and by a share of the difference of a
    model's gap to that level. This is the share that has lasted to the end in the history (least
    squares, pooled over models, in [0, 1]). Where a recommender has scores of the target, its
    predictions for the target and for the recorded dataset differ; the share of such differences
    that came true in the history, fitted in the same way, is added. Where repeats show the noise of
    one score, the lasting share of the noise is added to the standard deviation.

    The weight of a dataset decreases with the difference of the cohort's scores at this stage
    (Epanechnikov's kernel up to the 16th nearest dataset, or over the nearer two thirds of fewer
    than 24). Datasets that have every candidate are used alone where there are enough. Candidates
    with fewer than two records are assumed to converge like the cohort's average, with the standard
    deviation of the others.

    Args:
        history: Recorded curves.
        models: n names.
        scores: (n,) finite validation scores after the stage.
        stage: From 1.

    Returns:
        None where the history has fewer than four datasets of these models, or no such stage.
    """
    if stage > history.curves.stages:
        return None
    recorded = history.rows_of(models, history.curves.scores[:, :, stage - 1])
    final_scores = history.rows_of(models, history.curves.final_scores)
    measured = ~np.isnan(recorded) & ~np.isnan(final_scores)
    measured &= (measured.sum(axis=1) >= _MIN_OWN_RECORDS)[:, None]
    used = _usable_datasets(measured)
    if used.sum() < MIN_DATASETS:
        return None
    measured, recorded, final_scores = measured[:, used], recorded[:, used], final_scores[:, used]
    count = measured.sum(axis=0)

    difference = np.where(measured, recorded - scores[:, None], 0.0)
    level = difference.sum(axis=0) / count
    gaps = np.where(measured, difference - level, 0.0)
    distance = (gaps**2).sum(axis=0) / count + _LEVEL_WEIGHT * level**2
    weights = _normalize(measured * (_kernel(distance) * count / len(models)))
    moved = np.where(measured, final_scores - level, np.nan)
    shift = history.gap_shift(models)
    shift = np.zeros_like(gaps) if shift is None else np.where(measured, shift[:, used], 0.0)
    lasting, true = _fit_shares(gaps, shift, np.where(measured, moved, 0.0), measured)
    # noise of the difference between one score and the mean of its cohort
    noise = float(history.curves.noise[stage - 1]) * math.sqrt(1.0 - 1.0 / len(models))
    samples = moved - lasting * gaps + true * shift
    return _fill_unknown(samples, weights, scores, known_noise=lasting * noise, unknown_noise=noise)


def _usable_datasets(measured: BoolArray) -> BoolArray:
    """Return (d,) datasets with every candidate that has a history; if too few, those with two."""
    count = measured.sum(axis=0)
    known = int(measured.any(axis=1).sum())
    complete: BoolArray = (count == known) & (count > 0)
    partial: BoolArray = count >= max(1, min(2, known))
    return complete if complete.sum() >= FULL_SAMPLE else partial


def _kernel(distance: FloatArray) -> FloatArray:
    """Return (s,) weights of datasets at these squared distances."""
    last = min(FULL_SAMPLE, math.ceil(NEIGHBOR_FRACTION * len(distance))) - 1
    bandwidth = np.partition(distance, last)[last] + 1e-18
    # with a weight above 0 a candidate's only sample counts
    kernel: FloatArray = np.maximum(0.0, 1.0 - distance / bandwidth) + 1e-9
    return kernel


def _fit_shares(
    gaps: FloatArray, shift: FloatArray, moved: FloatArray, measured: BoolArray
) -> tuple[float, float]:
    """Return the shares in [0, 1] of unusual gaps that last, and of predicted ones that come true.

    Predicted gaps are distances to the best, so final scores are lower where they are larger.
    """
    count = np.maximum(measured.sum(axis=1, keepdims=True), 1)

    def unusual(values: FloatArray) -> FloatArray:
        mean = values.sum(axis=1, keepdims=True) / count
        return np.where(measured, values - mean, 0.0).ravel()

    mean = moved.sum(axis=0) / measured.sum(axis=0)
    final_gaps = np.where(measured, moved - mean, 0.0)
    predictors = np.column_stack([unusual(gaps), -unusual(shift)])
    varies = predictors.any(axis=0)
    shares = np.array([1.0, 0.0])  # gaps that never differ last entirely
    if varies.any():
        shares[varies] = nnls(predictors[:, varies], unusual(final_gaps))[0]
    lasting, true = np.minimum(shares, 1.0).tolist()
    return lasting, true


def _fill_unknown(
    samples: FloatArray,
    weights: FloatArray,
    scores: FloatArray,
    *,
    known_noise: float,
    unknown_noise: float,
) -> ScoreSamples:
    """Give the cohort's average to candidates without a sample of their own.

    Args:
        samples: (n, s) samples; NaN where a candidate has no record.
        weights: (n, s) weights; rows sum to 1, or to 0 without a record.
        scores: (n,) present scores.
        known_noise: Standard deviation of a final score, from the noise of its present score, of a
            candidate with records of its own.
        unknown_noise: The same of a candidate without records.
    """
    known = weights > 0
    has_history: BoolArray = known.sum(axis=1) > 0
    count = known.sum(axis=0)
    level = np.where(known, samples, 0.0).sum(axis=0) / count
    spread = _gap_spread(np.where(known, samples - level, 0.0), weights)
    effective_size = 1.0 / np.maximum((weights**2).sum(axis=1), 1e-12)
    std = _MEAN_ERROR * spread / np.sqrt(np.maximum(effective_size, 2.0))
    std[~has_history] = np.sqrt((spread[has_history] ** 2).mean())
    lead = scores[:, None] - (known * scores[:, None]).sum(axis=0) / count
    average_weights = _normalize(weights.sum(axis=0)[None, :])
    return ScoreSamples(
        final_scores=np.where(has_history[:, None], samples, level + lead),
        weights=np.where(has_history[:, None], weights, average_weights),
        std=np.hypot(std, np.where(has_history, known_noise, unknown_noise)),
        has_history=has_history,
        clip=float(np.median(spread[has_history])),
    )


def _gap_spread(gaps: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (n,) standard deviation of a candidate's gap to the level of the sample."""
    centered = gaps - (weights * gaps).sum(axis=1, keepdims=True)
    spread: FloatArray = np.sqrt((weights * centered**2).sum(axis=1))
    return spread


def _normalize(weights: FloatArray) -> FloatArray:
    """Return rows that sum to 1; rows of zeros stay."""
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return shares
