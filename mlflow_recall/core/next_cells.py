"""What to benchmark next: the cells that teach most, and the datasets that suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import weightedtau

from mlflow_recall.core.arrays import FloatArray, IntArray, frozen, means
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.recommend.standard import neutral, z_scores
from mlflow_recall.errors import HistoryError

#: measured datasets that weigh as much as the supposition that models are unrelated
_UNRELATED = 5.0
#: cells of a dataset that weigh as much as the spread of all datasets
_SPREAD = 3.0
#: share of the models' variance that is kept as independent noise, where repeats tell of less
_NUGGET = 1e-3
#: share by which two cells must differ to be told apart
_ROUNDING = 1e-9
#: a dataset's mean is unknown: its variance, in that of the models on a dataset
_LEVEL = 1e4
#: sets of a ranking's first whose best is judged
_FIRST = (1, 3, 5)
#: parts of the datasets that are left out in turn
_FOLDS = 10


@dataclass(frozen=True)
class NextCell:
    """A fine-tuning that was not made yet."""

    model: str
    dataset: str
    #: share of the uncertainty about the models that it removes, in [0, 1]
    value: float


@dataclass(frozen=True, eq=False)
class Belief:
    """What m models' strength is taken to be, jointly normal, in standard deviations."""

    mean: FloatArray  # (m,)
    covariance: FloatArray  # (m, m) of the strengths
    #: (m, m) of what models deviate by on one dataset, noise included
    deviation: FloatArray
    known: NDArray[np.bool_]  # (m, d) measured

    @property
    def uncertainty(self) -> float:
        """Mean variance of the strengths about their common mean, which orders nobody."""
        return _uncertainty(self.covariance)


def believe(matrix: PerformanceMatrix, noise: float = 0.0) -> Belief:
    """Strength of every model as a normal belief.

    A score is the dataset's level, plus its spread times the model's strength and a deviation.
    Deviations are normal and independent between datasets; between models they have the recorded
    covariance, drawn to compound symmetry (unrelated models of one variance) by five datasets'
    worth and by every dataset that a model misses. Strengths are unrelated beforehand, with the
    variance that the recorded ones have beyond chance. Levels are unknown, so that a dataset with
    one measured model says nothing.

    Args:
        matrix: (m, d) scores, NaN where not measured.
        noise: standard deviation of one score between repeats; 0 where nobody knows.

    Raises:
        HistoryError: no dataset has two measured models.
    """
    known = ~np.isnan(matrix.values)
    if not (known.sum(axis=0) >= 2).any():
        raise HistoryError(
            "next: expected a dataset with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    count = known.sum(axis=1)
    strength, level = _additive(matrix.values)
    spread = _spreads(matrix.values - level)
    scaled = matrix.values / spread
    strength, level = _additive(scaled)
    residual = neutral(scaled - level - strength[:, None])
    freedom = max(1, int(known.sum() - known.any(axis=1).sum() - known.any(axis=0).sum() + 1))
    variance = max(float((residual**2).sum()) / freedom, 1e-12)
    deviation = _shrunk(residual, count, variance)
    deviation += max(_NUGGET * variance, noise**2 / float(np.mean(spread**2))) * np.eye(len(count))
    raw = means(scaled - level, axis=1)[count > 0]
    beyond = float(np.var(raw) - np.mean(variance / count[count > 0]))
    mean, covariance = _posterior(scaled, deviation, max(0.1 * variance, beyond))
    return Belief(mean, covariance, deviation, known)


def next_cells(
    matrix: PerformanceMatrix,
    count: int,
    *,
    noise: float = 0.0,
    available: Sequence[str] | None = None,
) -> list[NextCell]:
    """The cells whose measurement leaves least uncertainty about who is stronger than whom.

    Chosen one by one: each is the one that lowers the mean posterior variance of the strengths
    about their common mean the most (A-optimal design), given those before it. The variance of a
    normal belief does not depend on what a cell will turn out to be, so this is exact under the
    model of ``believe``, and closed-form. A model without history is proposed on the datasets where
    the others are best known.

    Args:
        matrix: (m, d) history; a row of NaN is a new model.
        count: cells that are wished, at least 1; fewer where fewer are missing.
        noise: see ``believe``.
        available: models that can be trained; None: all.
    """
    belief = believe(matrix, noise)
    able = np.array([available is None or model in available for model in matrix.models])
    known, covariance = belief.known.copy(), np.array(belief.covariance)
    missing = [
        _Open(belief.deviation, known[:, j], able, covariance) for j in range(known.shape[1])
    ]
    total, chosen = belief.uncertainty, list[NextCell]()
    while len(chosen) < count and any(len(each.rows) for each in missing):
        gains = [each.gains() for each in missing]
        top = max(float(some.max(initial=0.0)) for some in gains)
        # equals by name, so that neither order nor rounding decides
        model, dataset, j, best = min(
            (matrix.models[missing[j].rows[k]], matrix.datasets[j], j, k)
            for j, some in enumerate(gains)
            for k in np.flatnonzero(some >= top * (1.0 - _ROUNDING)).tolist()
        )
        update = missing[j].update(best)
        chosen.append(NextCell(model, dataset, float(gains[j][best]) / total))
        covariance -= np.outer(update, update)
        known[missing[j].rows[best], j] = True
        for each in missing:
            each.learn(update)
        missing[j] = _Open(belief.deviation, known[:, j], able, covariance)
    return chosen


class _Open:
    """The c missing cells of one dataset, and what each would teach.

    A cell observes the model's own strength less what the dataset's measured models foretell.

    Args:
        deviation: (m, m) of models on one dataset.
        known: (m,) models that were measured on it.
        able: (m,) models that can be trained.
        covariance: (m, m) of the strengths.
    """

    def __init__(
        self,
        deviation: FloatArray,
        known: NDArray[np.bool_],
        able: NDArray[np.bool_],
        covariance: FloatArray,
    ) -> None:
        rows, there = np.flatnonzero(~known & able), np.flatnonzero(known)
        seen = np.zeros((len(known), len(rows)))
        seen[rows, np.arange(len(rows))] = 1.0
        total = deviation + _LEVEL * float(np.mean(np.diag(deviation)))
        noise = np.diag(total)[rows].copy()
        if len(there) and len(rows):
            across = total[np.ix_(there, rows)]
            weights = np.linalg.solve(total[np.ix_(there, there)], across)
            seen[there] = -weights
            noise -= (across * weights).sum(axis=0)
        #: (c,) models of the cells
        self.rows: IntArray = rows
        self._seen = seen  # (m, c) weights of the strengths
        self._noise = np.maximum(noise, 1e-12)  # (c,) variance that strengths do not explain
        self._across = covariance @ seen  # (m, c) covariance with the strengths

    def gains(self) -> FloatArray:
        """(c,) drop of the mean variance of the strengths about their common mean."""
        return cast(FloatArray, self._across.var(axis=0) / self._variance)

    def update(self, cell: int) -> FloatArray:
        """(m,) what one standard deviation of the cell's surprise moves the strengths by."""
        return cast(FloatArray, self._across[:, cell] / np.sqrt(self._variance[cell]))

    def learn(self, update: FloatArray) -> None:
        """A cell was chosen that moves the strengths so."""
        self._across -= np.outer(update, update @ self._seen)

    @property
    def _variance(self) -> FloatArray:
        """(c,) of what each cell will turn out to be."""
        return cast(FloatArray, (self._seen * self._across).sum(axis=0) + self._noise)


def _additive(values: FloatArray, rounds: int = 30) -> tuple[FloatArray, FloatArray]:
    """Models' effects (m,), drawn to 0 by half a dataset's worth, and datasets' levels (d,)."""
    count = (~np.isnan(values)).sum(axis=1)
    effect = np.zeros(len(values))
    for _ in range(rounds):
        level = means(values - effect[:, None], axis=0)
        effect = neutral(means(values - level, axis=1)) * count / (count + 0.5)
    return effect, level


def _spreads(centred: FloatArray) -> FloatArray:
    """(d,) standard deviation between models, drawn to that of all datasets."""
    count = (~np.isnan(centred)).sum(axis=0)
    squares = neutral(centred**2).sum(axis=0)
    pooled = float(squares.sum() / max(1, count.sum()))
    spreads: FloatArray = np.sqrt(
        np.maximum((squares + _SPREAD * pooled) / (count + _SPREAD), 1e-24)
    )
    return spreads


def _shrunk(residual: FloatArray, count: IntArray, variance: float) -> FloatArray:
    """(m, m) covariance of models, positive semi-definite however many cells are missing."""
    size = np.sqrt(np.maximum(count, 1))
    trust = np.sqrt(count / (count + _UNRELATED))
    some = residual * (trust / size)[:, None]
    return some @ some.T + np.diag((1.0 - trust**2) * variance)


def _posterior(
    scaled: FloatArray, deviation: FloatArray, prior: float
) -> tuple[FloatArray, FloatArray]:
    """Mean (m,) and covariance (m, m) of the strengths, levels integrated out."""
    precision = np.eye(len(scaled)) / prior
    told = np.zeros(len(scaled))
    for column in scaled.T:
        there = np.flatnonzero(~np.isnan(column))
        if len(there) < 2:
            continue
        inverse = np.linalg.inv(deviation[np.ix_(there, there)])
        sums = inverse.sum(axis=0)
        inverse -= np.outer(sums, sums) / sums.sum()
        precision[np.ix_(there, there)] += inverse
        told[there] += inverse @ column[there]
    covariance = np.linalg.inv(precision)
    return frozen(covariance @ told), frozen(covariance)


def _uncertainty(covariance: FloatArray) -> float:
    return float(np.diag(covariance).mean() - covariance.mean())


@dataclass(frozen=True, eq=False)
class Subset:
    """The fewest datasets whose ranking serves as that of all, and every other size beside it."""

    #: in the order chosen
    datasets: tuple[str, ...]
    #: every dataset with two measured models, in the order in which a growing subset takes it
    order: tuple[str, ...]
    #: (d,) weighted Kendall correlation of the ranking by 1, 2, ... datasets with that by all
    kept: FloatArray
    #: (d,) regret on left-out datasets beyond that of all the others, in the unit of the scores
    loss: FloatArray
    error: FloatArray  # (d,) standard error of the loss over datasets

    @property
    def size(self) -> int:
        """Datasets that are needed."""
        return len(self.datasets)


def smallest_subset(matrix: PerformanceMatrix, tolerance: float = 0.01) -> Subset:
    """The smallest subset of datasets whose ranking costs no more than ``tolerance``.

    Greedy: each next dataset is the one whose mean z-scores, with those chosen before, correlate
    best with the mean over all. Judged by cross-validation: a tenth of the datasets at a time is
    left out of choosing, and the loss is the regret on it of the subset's first 1, 3 and 5 models
    (the best of each, averaged) beyond that of the first of all datasets that were not left out.
    The smallest subset is taken from which on the mean loss is within the tolerance or one standard
    error.

    Args:
        matrix: (m, d) scores; missing cells do not count.
        tolerance: loss that does not matter, in the unit of the scores.

    Raises:
        HistoryError: fewer than three datasets or models.
    """
    useful = (~np.isnan(matrix.values)).sum(axis=0) >= 2
    values = matrix.values[:, useful]
    models, datasets = values.shape
    if models < 3 or datasets < 3:
        raise HistoryError(
            f"subset: expected at least 3 models and 3 datasets that two of them were measured on, "
            f"got {models} and {datasets}"
        )
    scaled = z_scores(values)
    full = neutral(means(scaled, axis=1))
    kept, losses = np.full((2, datasets, datasets), np.nan)  # by size and left-out dataset
    for fold in range(min(_FOLDS, datasets)):
        out = np.arange(datasets) % min(_FOLDS, datasets) == fold
        judged = _ranked(scaled[:, ~out], _order(scaled[:, ~out]))
        regrets = _regrets(judged, values[:, out])
        losses[: len(judged), out] = regrets - regrets[-1]
        kept[: len(judged), out] = [[_tau(mean, full)] for mean in judged]
    # the largest subset that a fold can choose from is all it has; all datasets lose nothing
    loss, agreed = means(losses, axis=1), means(kept, axis=1)
    count = (~np.isnan(losses)).sum(axis=1)
    spread = np.sqrt(means((losses - loss[:, None]) ** 2, axis=1))
    error = np.divide(spread, np.sqrt(np.maximum(count - 1, 1)))
    short = np.isnan(loss)
    loss[short], error[short], agreed[short] = 0.0, 0.0, 1.0
    enough = loss <= np.maximum(tolerance, error) + 1e-12
    size = len(enough) - int(np.argmin([*enough[::-1], False])) + 1  # the end of the last run
    names = [name for name, use in zip(matrix.datasets, useful, strict=True) if use]
    order = tuple(names[j] for j in _order(scaled))
    return Subset(order[:size], order, frozen(agreed), frozen(loss), frozen(error))


def _order(scaled: FloatArray) -> list[int]:
    """All datasets, each next one bringing the mean of those so far nearest to that of all."""
    full = neutral(means(scaled, axis=1))
    full = full - full.mean()
    filled, known = neutral(scaled), ~np.isnan(scaled)
    total, count = np.zeros(len(scaled)), np.zeros(len(scaled))
    order: list[int] = []
    while len(order) < scaled.shape[1]:
        sums, counts = total[:, None] + filled, count[:, None] + known
        mean = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        mean -= mean.mean(axis=0)
        size = np.linalg.norm(mean, axis=0)
        fit = np.divide(full @ mean, size, out=np.full(len(size), -np.inf), where=size > 0)
        fit[order] = -np.inf
        left = [j for j in range(scaled.shape[1]) if j not in set(order)]
        pick = left[int(np.argmax(fit[left]))]
        order.append(pick)
        total, count = sums[:, pick], counts[:, pick]
    return order


def _ranked(scaled: FloatArray, order: list[int]) -> FloatArray:
    """(d, m) mean z-scores by the first 1, 2, ... datasets of the order; unknown models as 0."""
    some = scaled[:, order]
    count = np.cumsum(~np.isnan(some), axis=1)
    total = np.cumsum(neutral(some), axis=1)
    ranked: FloatArray = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return ranked.T


def _regrets(judged: FloatArray, values: FloatArray) -> FloatArray:
    """(s, e) mean regret of the best of the first 1, 3 and 5 of s rankings on e datasets."""
    gaps = np.where(np.isnan(values), -np.inf, values)
    gaps = gaps.max(axis=0) - values
    order = np.argsort(-judged, axis=1, kind="stable")
    found = []
    for first in _FIRST:
        some = gaps[order[:, :first]]  # (s, first, e)
        worst = np.nanmax(gaps, axis=0)
        best = np.where(np.isnan(some), np.inf, some).min(axis=1)
        found.append(np.where(np.isinf(best), worst, best))
    mean: FloatArray = np.mean(found, axis=0)
    return mean


def _tau(one: FloatArray, other: FloatArray) -> float:
    return float(np.nan_to_num(weightedtau(one, other).statistic))
