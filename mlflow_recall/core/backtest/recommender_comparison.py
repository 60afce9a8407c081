"""Which recommender would have picked best? Judged on datasets that it was not told of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import comb
from scipy.stats import rankdata, weightedtau

from mlflow_recall.core.arrays import FloatArray, read_only
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.holdout import Case
from mlflow_recall.core.recommend import Evidence, Ranking, get_recommender
from mlflow_recall.errors import RecallError

#: how many of the first picks are trained
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
        """Of (d,) values by dataset; NaN is left out."""
        known = values[~np.isnan(values)]
        mean, error = paired(known, np.zeros_like(known))
        return cls(mean, error, len(known))


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
        """Mean of this less the other and its paired standard error, over common targets."""
        place = {dataset: i for i, dataset in enumerate(other.datasets)}
        common = [(i, place[d]) for i, d in enumerate(self.datasets) if d in place]
        rows = np.array(common, dtype=np.intp).reshape(-1, 2)
        one, two = self.measures[measure][rows[:, 0]], other.measures[measure][rows[:, 1]]
        known = ~np.isnan(one - two)
        return paired(one[known], two[known])


@dataclass(frozen=True, eq=False)
class RecommenderComparison:
    """Recommenders on the same targets, chance first."""

    #: by name, in the order asked for; one that can rank for some targets only has only those
    results: Mapping[str, RecommenderResult]
    #: recommender -> why it can rank for none
    left_out: Mapping[str, str]

    @property
    def misleading_datasets(self) -> tuple[str, ...]:
        """Targets on which the history points the wrong way: the prior is worse than chance.

        There the regret of the prior's best of five is above that of five at random, and its
        Spearman is below 0. Empty without the ``prior``.
        """
        if "prior" not in self.results:
            return ()
        prior, chance = self.results["prior"], self.results[RANDOM]
        lost = prior.measures["regret@5"] > chance.measures["regret@5"]
        wrong = lost & (prior.measures["spearman"] < 0)
        return tuple(d for d, w in zip(prior.datasets, wrong, strict=True) if w)


def compare_recommenders(
    given: Sequence[Case], names: Iterable[str], *, done: Callable[[str], None] = lambda _: None
) -> RecommenderComparison:
    """Let every recommender rank for every target.

    Recommenders whose name starts with ``paper`` get one score, LogME or else the first by name,
    without its past: they know no other.

    Args:
        given: the targets.
        names: of recommenders, built in or installed.
        done: told the name of each recommender after it.

    Raises:
        SettingError: no such recommender.
    """
    judged = {
        RANDOM: _judged(RANDOM, [(case.dataset, measure_chance(case.truth)) for case in given])
    }
    left_out = {}
    for name in names:
        recommend = get_recommender(name)
        rows, reason = [], "no target to rank for"
        for case in given:
            try:
                ranking = recommend(visible_evidence(name, case.evidence))
            except RecallError as error:
                reason = str(error)
                continue
            rows.append(
                (case.dataset, measure_ranking(ranking, case.evidence.matrix.models, case.truth))
            )
        if rows:
            judged[name] = _judged(name, rows)
        else:
            left_out[name] = reason
        done(name)
    return RecommenderComparison(judged, left_out)


def visible_evidence(name: str, evidence: Evidence) -> Evidence:
    """What of the evidence a recommender of that name is given."""
    if not name.startswith("paper"):
        return evidence
    first = main_score(evidence.scores)
    return replace(
        evidence, scores={first: evidence.scores[first]} if first else {}, recorded_scores={}
    )


def main_score(scores: Mapping[str, object]) -> str:
    """The score to use where only one can be: LogME, else the first by name; empty of none."""
    return next((n for n in sorted(scores) if n.lower() == "logme"), min(scores, default=""))


def measure_ranking(ranking: Ranking, models: Sequence[str], truth: FloatArray) -> dict[str, float]:
    """Every measure of one ranking.

    A model without a predicted score counts as the last. With fewer than k models, k is all.

    Args:
        ranking: of all ``models``.
        models: m names.
        truth: (m,) what they reached, higher is better; NaN: not judged.
    """
    of = dict(zip(models, truth.tolist(), strict=True))
    true = np.array([of[model] for model in ranking.models])
    asked = ~np.isnan(true)
    true, scores = true[asked], ranking.scores[asked]
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


def measure_chance(truth: FloatArray) -> dict[str, float]:
    """Every measure of a random order of (m,) models: exact expectations; NaN of agreements."""
    truth = truth[~np.isnan(truth)]
    gaps = np.sort(truth.max() - truth)
    return {
        **{f"regret@{k}": float(best_of_random(len(gaps), k) @ gaps) for k in SIZES},
        **{f"lift@{k}": 0.0 for k in SIZES},
        **dict.fromkeys(("spearman", "pearson", "kendall"), float("nan")),
    }


def best_of_random(m: int, k: int) -> FloatArray:
    """(m,) chance of each place, from the first, to be the best of k of m drawn at random."""
    k = min(k, m)
    behind = np.arange(m)[::-1]
    return np.asarray(comb(behind, k - 1) / comb(m, k), dtype=np.float64)


def correlation(a: FloatArray, b: FloatArray) -> float:
    """Pearson's of two (n,) arrays; NaN where one of them does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _judged(name: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> RecommenderResult:
    return RecommenderResult(
        name,
        tuple(dataset for dataset, _ in rows),
        {measure: read_only([row[measure] for _, row in rows]) for measure in MEASURES},
    )
