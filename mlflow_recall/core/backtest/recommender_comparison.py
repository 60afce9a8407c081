"""Comparison of recommenders on datasets that are held out from their history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import comb
from scipy.stats import rankdata, weightedtau

from mlflow_recall.core.arrays import FloatArray, read_only
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.holdout import HeldOutTarget
from mlflow_recall.core.recommend import RECOMMENDERS, Ranking
from mlflow_recall.errors import RecallError

#: numbers of first models that are trained
SIZES = (1, 3, 5, 10)
#: what is measured on every target: regret of the best of the first k, lift of their mean over
#: that of k at random (the paper's Fig. 5), agreement of predicted and true scores
MEASURES = (
    *(f"regret@{k}" for k in SIZES),
    *(f"lift@{k}" for k in SIZES),
    "spearman",
    "pearson",
    "kendall",
)
#: name of the row of chance
RANDOM = "random"


@dataclass(frozen=True)
class Estimate:
    """A mean over datasets and its standard error; NaN where there are too few of them."""

    mean: float
    standard_error: float
    #: datasets where it is defined
    count: int

    @classmethod
    def from_values(cls, values: FloatArray) -> Estimate:
        """Estimate from (d,) values by dataset; NaN is left out."""
        known = values[~np.isnan(values)]
        mean, standard_error = paired(known, np.zeros_like(known))
        return cls(mean, standard_error, len(known))


@dataclass(frozen=True, eq=False)
class RecommenderResult:
    """How well one recommender ranked, target by target."""

    name: str
    datasets: tuple[str, ...]
    #: measure -> (d,) in the order of ``datasets``, read-only; NaN where undefined
    measures: Mapping[str, FloatArray]

    @property
    def summary(self) -> dict[str, Estimate]:
        """Every measure over the targets."""
        return {name: Estimate.from_values(values) for name, values in self.measures.items()}

    @property
    def rows(self) -> list[dict[str, float]]:
        """Every measure of each target."""
        columns = [values.tolist() for values in self.measures.values()]
        return [dict(zip(self.measures, row, strict=True)) for row in zip(*columns, strict=True)]

    def paired_difference(self, other: RecommenderResult, measure: str) -> tuple[float, float]:
        """Return the mean of this minus the other and its standard error, over common targets."""
        index = {dataset: i for i, dataset in enumerate(other.datasets)}
        common = [(i, index[d]) for i, d in enumerate(self.datasets) if d in index]
        rows = np.array(common, dtype=np.intp).reshape(-1, 2)
        one, two = self.measures[measure][rows[:, 0]], other.measures[measure][rows[:, 1]]
        known = ~np.isnan(one - two)
        return paired(one[known], two[known])


@dataclass(frozen=True, eq=False)
class RecommenderComparison:
    """Recommenders on the same targets, chance first."""

    #: by name, in the requested order; a recommender may have results for some targets only
    results: Mapping[str, RecommenderResult]
    #: recommender -> why it can rank for no target
    left_out: Mapping[str, str]

    @property
    def misleading_datasets(self) -> tuple[str, ...]:
        """Targets on which the history points the wrong way: the prior is worse than chance.

        There the regret of the prior's best of five is above that of five at random, and its
        Spearman correlation is below 0. Empty without the ``prior``.
        """
        if "prior" not in self.results:
            return ()
        prior, chance = self.results["prior"], self.results[RANDOM]
        is_worse = prior.measures["regret@5"] > chance.measures["regret@5"]
        misleads = is_worse & (prior.measures["spearman"] < 0)
        return tuple(d for d, m in zip(prior.datasets, misleads, strict=True) if m)


def compare_recommenders(
    targets: Sequence[HeldOutTarget],
    names: Iterable[str],
    *,
    on_done: Callable[[str], None] = lambda _: None,
) -> RecommenderComparison:
    """Let every recommender rank for every target.

    Args:
        targets: The targets.
        names: Recommenders, built in or installed.
        on_done: Called with the name of each recommender after it.

    Raises:
        ConfigError: There is no such recommender.
    """
    chance = [(target.dataset, measure_chance(target.final_scores)) for target in targets]
    results = {RANDOM: _result(RANDOM, chance)}
    left_out = {}
    for name in names:
        spec = RECOMMENDERS[name]
        rows, reason = [], "no target to rank for"
        for target in targets:
            evidence = target.evidence
            try:
                ranking = spec.rank(spec.select_evidence(evidence))
            except RecallError as error:
                reason = str(error)
                continue
            measures = measure_ranking(ranking, evidence.matrix.models, target.final_scores)
            rows.append((target.dataset, measures))
        if rows:
            results[name] = _result(name, rows)
        else:
            left_out[name] = reason
        on_done(name)
    return RecommenderComparison(results, left_out)


def measure_ranking(
    ranking: Ranking, models: Sequence[str], final_scores: FloatArray
) -> dict[str, float]:
    """Return every measure of one ranking.

    A model without a predicted score counts as the last. With fewer than k models, k is all.

    Args:
        ranking: A ranking of all ``models``.
        models: m names.
        final_scores: (m,) what they reached, higher is better; NaN: not judged.
    """
    score = dict(zip(models, final_scores.tolist(), strict=True))
    true = np.array([score[model] for model in ranking.models])
    judged = ~np.isnan(true)
    true, scores = true[judged], ranking.scores[judged]
    known = np.isfinite(scores)
    predicted = np.where(known, scores, scores[known].min() if known.any() else 0.0)
    tau = np.nan
    if np.ptp(predicted) > 0 and np.ptp(true) > 0:
        tau = float(weightedtau(predicted, true).statistic)
    return {
        **{f"regret@{k}": float(true.max() - true[:k].max()) for k in SIZES},
        **{f"lift@{k}": float(true[:k].mean() - true.mean()) for k in SIZES},
        "spearman": correlation(rankdata(predicted), rankdata(true)),
        "pearson": correlation(predicted, true),
        "kendall": tau,
    }


def measure_chance(final_scores: FloatArray) -> dict[str, float]:
    """Return the exact expectation of every measure of a random order of (m,) models.

    Agreements of a random order are NaN.
    """
    true = final_scores[~np.isnan(final_scores)]
    gaps = np.sort(true.max() - true)
    return {
        **{f"regret@{k}": float(best_of_random(len(gaps), k) @ gaps) for k in SIZES},
        **{f"lift@{k}": 0.0 for k in SIZES},
        **dict.fromkeys(("spearman", "pearson", "kendall"), float("nan")),
    }


def best_of_random(m: int, k: int) -> FloatArray:
    """Return (m,) probability of each rank, from the first, to be the best of k drawn of m."""
    k = min(k, m)
    behind = np.arange(m)[::-1]
    return np.asarray(comb(behind, k - 1) / comb(m, k), dtype=np.float64)


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Pearson's correlation of two (n,) arrays; NaN where one of them does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _result(name: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> RecommenderResult:
    return RecommenderResult(
        name,
        tuple(dataset for dataset, _ in rows),
        {measure: read_only([row[measure] for _, row in rows]) for measure in MEASURES},
    )
