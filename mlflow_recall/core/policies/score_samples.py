"""Joint draws of how candidates end: what the same models did on recorded datasets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import ndtr

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.policies.policy_history import PolicyHistory

#: recorded datasets that draws are taken from, that suffice when all have every candidate, and
#: below which nothing tells who complements whom
FULL_SAMPLE = 16
#: share of the recorded datasets that are near where there are not many: all would be no choice
NEIGHBOR_FRACTION = 2 / 3
#: recorded datasets below which nothing is foretold
MIN_DATASETS = 4
#: records below which a candidate is taken to converge like the others
_OWN = 2
#: how much a difference of the whole cohort's level counts beside one of its gaps
_LEVEL = 0.5
#: error of a model's mean end over a few datasets, in standard errors
_BLUR = 0.5


@dataclass(frozen=True, eq=False)
class ScoreSamples:
    """Final test scores of n candidates, jointly, as s recorded datasets suggest them."""

    final_scores: FloatArray  # (n, s) NaN where a candidate has no record
    weights: FloatArray  # (n, s) each row sums to 1, or to 0 where nothing is known
    #: (n,) how far a whole row may be off, one standard deviation
    std: FloatArray
    #: (n,) whether the candidate's own records were used, not the cohort's
    has_history: NDArray[np.bool_]
    #: how far a draw of one candidate, among the others, counts beside its mean
    clip: float = math.inf

    @cached_property
    def expected(self) -> FloatArray:
        """(n,) mean end; -inf of candidates without a draw."""
        mean = (self.weights * np.nan_to_num(self.final_scores)).sum(axis=1)
        return np.where(self.weights.sum(axis=1) > 0, mean, -np.inf)

    @cached_property
    def clipped(self) -> FloatArray:
        """(n, s) ends whose surprises are those that an epoch could find.

        A surprise is what a draw of one candidate differs by from its mean, beyond what the draw
        differs by for all. It is no larger than ``reach``: one collapse on record is no lottery
        ticket.
        """
        known = self.weights > 0
        mean = np.where(known, self.expected[:, None], 0.0)
        off = np.where(known, self.final_scores - mean, 0.0)
        level = off.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        surprise = np.clip(np.where(known, off - level, 0.0), -self.clip, self.clip)
        found: FloatArray = np.where(known, mean + level + surprise, np.nan)
        return found

    def quantile(self, share: float) -> FloatArray:
        """(n,) ends that ``share`` of the draws do not exceed; NaN without a draw."""
        order = np.argsort(self.final_scores, axis=1, kind="stable")  # NaN last
        reached = np.take_along_axis(self.weights, order, axis=1).cumsum(axis=1)
        place = np.take_along_axis(order, (reached >= share - 1e-12).argmax(axis=1)[:, None], 1)
        found: FloatArray = np.take_along_axis(self.final_scores, place, axis=1)[:, 0]
        return found

    def expected_improvement(self, best: FloatArray) -> FloatArray:
        """(n,) by how much each candidate is expected to raise the best end.

        Args:
            best: (s,) highest findable end of those chosen so far, draw by draw; NaN where unknown.
        """
        lead = self.clipped - best
        known = ~np.isnan(lead)
        weights = np.where(known, self.weights, 0.0)
        total = weights.sum(axis=1)
        lead = np.where(known, lead, 0.0)
        blur = np.maximum(self.std, 1e-12)[:, None]
        # expected improvement: the mean of max(0, lead + blur x normal)
        density = np.exp(-0.5 * (lead / blur) ** 2) / np.sqrt(2 * np.pi)
        gain = (weights * (lead * ndtr(lead / blur) + blur * density)).sum(axis=1)
        mean: FloatArray = np.divide(gain, total, out=np.zeros_like(gain), where=total > 0)
        return mean


def sample_recorded_scores(past: PolicyHistory, models: tuple[str, ...]) -> ScoreSamples | None:
    """Recorded final scores of ``models``, every dataset alike; None of too thin a history.

    Datasets that have all models are used alone where there are enough; else those of the first
    model that has at least four.
    """
    ends = past.rows_of(models, past.curves.final_scores)
    measured = ~np.isnan(ends)
    whole = measured.all(axis=0)
    if whole.sum() < FULL_SAMPLE:
        whole = measured[(measured.sum(axis=1) >= MIN_DATASETS).argmax()]
    if whole.sum() < MIN_DATASETS:
        return None
    ends, measured = ends[:, whole], measured[:, whole]
    weights = _shares(measured.astype(np.float64))
    own: NDArray[np.bool_] = measured.sum(axis=1) > 0
    return ScoreSamples(ends, weights, np.zeros(len(ends)), own)


def sample_final_scores(
    past: PolicyHistory, models: tuple[str, ...], now: FloatArray, stage: int
) -> ScoreSamples | None:
    """How ``models`` will end that stand at ``now`` after ``stage``; None of too thin a history.

    A draw is what the same models ended in on one recorded dataset, moved to where they stand now:
    by the whole difference of the cohort's level, and by the share of the difference of a model's
    gap to that level which has lasted to the end in the history (least squares, pooled over models,
    in [0, 1]). What a recommender that knows the target expects otherwise than it expected there is
    added by the share, found in the same way, of such differences that have come true. Where
    repeats tell what one score may be off by, as large a share of that is carried
    to the end. Datasets weigh the less the more the cohort's scores at this stage differ there
    (Epanechnikov's kernel to the 16th nearest, or over the nearer two thirds of fewer than 24);
    those that have every candidate are used alone where there are enough. Candidates with fewer
    than two records are taken to converge like the cohort's average, give or take what the others
    vary by.

    Args:
        past: recorded curves.
        models: n names.
        now: (n,) finite validation scores after the stage.
        stage: from 1.
    """
    if stage > past.curves.stages:
        return None
    then = past.rows_of(models, past.curves.scores[:, :, stage - 1])
    ends = past.rows_of(models, past.curves.final_scores)
    measured = ~np.isnan(then) & ~np.isnan(ends)
    measured &= (measured.sum(axis=1) >= _OWN)[:, None]
    used = _usable(measured)
    if used.sum() < MIN_DATASETS:
        return None
    measured, then, ends = measured[:, used], then[:, used], ends[:, used]
    count = measured.sum(axis=0)

    away = np.where(measured, then - now[:, None], 0.0)
    level = away.sum(axis=0) / count
    gaps = np.where(measured, away - level, 0.0)
    kernel = _kernel((gaps**2).sum(axis=0) / count + _LEVEL * level**2) * count / len(models)
    weights = _shares(measured * kernel)
    moved = np.where(measured, ends - level, np.nan)
    farther = past.gap_shift(models)
    told = np.zeros_like(gaps) if farther is None else np.where(measured, farther[:, used], 0.0)
    lasting, true = _shares_kept(gaps, told, np.where(measured, moved, 0.0), measured)
    # of one score beside the mean of its cohort
    noise = float(past.curves.noise[stage - 1]) * math.sqrt(1.0 - 1.0 / len(models))
    drawn = moved - lasting * gaps + true * told
    return _with_newcomers(drawn, weights, now, (lasting * noise, noise))


def _usable(measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(d,) datasets with every candidate that has a history; with two, where these are few."""
    count = measured.sum(axis=0)
    known = int(measured.any(axis=1).sum())
    whole = (count == known) & (count > 0)
    found: NDArray[np.bool_] = (
        whole if whole.sum() >= FULL_SAMPLE else count >= max(1, min(2, known))
    )
    return found


def _kernel(squared: FloatArray) -> FloatArray:
    """(s,) weights of datasets at these squared distances."""
    last = min(FULL_SAMPLE, math.ceil(NEIGHBOR_FRACTION * len(squared))) - 1
    reach = np.partition(squared, last)[last] + 1e-18
    # the floor lets a draw count that is the only one of its candidate
    kernel: FloatArray = np.maximum(0.0, 1.0 - squared / reach) + 1e-9
    return kernel


def _shares_kept(
    gaps: FloatArray, told: FloatArray, moved: FloatArray, measured: NDArray[np.bool_]
) -> tuple[float, float]:
    """Shares in [0, 1] of unusual gaps that last to the end, and of foretold ones that come true.

    Foretold are gaps to the best, so the ends are lower where more was foretold.
    """
    count = np.maximum(measured.sum(axis=1, keepdims=True), 1)

    def unusual(values: FloatArray) -> FloatArray:
        mean = values.sum(axis=1, keepdims=True) / count
        return np.where(measured, values - mean, 0.0).ravel()

    apart = np.where(measured, moved - moved.sum(axis=0) / measured.sum(axis=0), 0.0)
    seen = np.column_stack([unusual(gaps), -unusual(told)])
    some = seen.any(axis=0)
    kept = np.array([1.0, 0.0])  # of gaps that never differed everything lasts
    if some.any():
        kept[some] = nnls(seen[:, some], unusual(apart))[0]
    lasting, true = np.minimum(kept, 1.0).tolist()
    return lasting, true


def _with_newcomers(
    drawn: FloatArray, weights: FloatArray, now: FloatArray, off: tuple[float, float]
) -> ScoreSamples:
    """The draws, with the cohort's average for candidates that have none of their own.

    ``off`` is what noise in ``now`` makes of a row's end, with records of its own and without.
    """
    known = weights > 0
    own: NDArray[np.bool_] = known.sum(axis=1) > 0
    count = known.sum(axis=0)
    level = np.where(known, drawn, 0.0).sum(axis=0) / count
    spread = _spread(np.where(known, drawn - level, 0.0), weights)
    effective = 1.0 / np.maximum((weights**2).sum(axis=1), 1e-12)
    blur = _BLUR * spread / np.sqrt(np.maximum(effective, 2.0))
    blur[~own] = np.sqrt((spread[own] ** 2).mean())
    stand = now[:, None] - (known * now[:, None]).sum(axis=0) / count
    average = _shares(weights.sum(axis=0)[None, :])
    return ScoreSamples(
        np.where(own[:, None], drawn, level + stand),
        np.where(own[:, None], weights, average),
        np.hypot(blur, np.where(own, *off)),
        own,
        float(np.median(spread[own])),
    )


def _spread(gaps: FloatArray, weights: FloatArray) -> FloatArray:
    """(n,) standard deviation of a candidate's gap to the level of the draw."""
    apart = gaps - (weights * gaps).sum(axis=1, keepdims=True)
    spread: FloatArray = np.sqrt((weights * apart**2).sum(axis=1))
    return spread


def _shares(weights: FloatArray) -> FloatArray:
    """Rows that sum to 1; rows of zeros stay."""
    total = weights.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return shares
