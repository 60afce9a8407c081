"""Facts of comparing recommenders with each other and with chance."""

from __future__ import annotations

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

from mlflow_recall.adapters.tables.folder_history import FolderHistory
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.holdout import hold_out_each
from mlflow_recall.core.backtest.recommender_comparison import (
    MEASURES,
    Estimate,
    best_of_random,
    compare_recommenders,
    measure_chance,
    measure_ranking,
)
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.recommend import Ranking
from mlflow_recall.errors import ConfigError

NAN = math.nan
RECORDS = Path(os.environ.get("RECALL_RECORDS", Path(__file__).parents[4] / "shared" / "data"))
recorded = pytest.mark.skipif(
    not (RECORDS / "transfergraph_nlp").exists(), reason="needs the records in RECALL_RECORDS"
)


def matrix(values: FloatArray) -> PerformanceMatrix:
    m, d = values.shape
    return PerformanceMatrix(
        tuple(f"m{i:02d}" for i in range(m)), tuple(f"d{j}" for j in range(d)), values
    )


def records(folder: str, metric: str) -> tuple[PerformanceMatrix, dict[str, FloatArray]]:
    history = FolderHistory(RECORDS / folder)
    known = PerformanceMatrix.from_records(history.records(metric))
    scores = {
        name: np.array([[cells.get((m, d), NAN) for d in known.datasets] for m in known.models])
        for name, cells in history.scores().items()
    }
    return known, scores


def strong(m: int = 12, d: int = 8, seed: int = 0, noise: float = 0.3) -> PerformanceMatrix:
    """Every model has a strength of its own."""
    rng = np.random.default_rng(seed)
    return matrix(rng.normal(size=(m, 1)) + noise * rng.normal(size=(m, d)))


def test_measures_by_hand() -> None:
    """Final scores in order are 0.8, 0.9, 0.5, 0.2: the first regret is 0.1, the mean 0.6."""
    got = measure_ranking(
        Ranking(tuple("bacd"), np.array([4.0, 3.0, 2.0, 1.0]), {}),
        "abcd",
        np.array([0.9, 0.8, 0.5, 0.2]),
    )

    assert got.keys() == set(MEASURES)
    assert got["regret@1"] == pytest.approx(0.1)
    assert got["regret@3"] == got["regret@10"] == 0
    assert got["lift@1"] == pytest.approx(0.2)
    assert got["lift@3"] == pytest.approx(2.2 / 3 - 0.6)
    assert got["lift@10"] == pytest.approx(0)
    assert got["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert got["pearson"] == pytest.approx(np.corrcoef([4, 3, 2, 1], [0.8, 0.9, 0.5, 0.2])[0, 1])


def slow_weighted_tau(x: FloatArray, y: FloatArray) -> float:
    """Vigna 2015 with additive hyperbolic weights, ranked by x and by y in turn, no ties."""
    values = []
    for by in (x, y):
        rank = {i: place for place, i in enumerate(np.argsort(-by))}
        total = agreed = 0.0
        for i, j in itertools.combinations(range(len(x)), 2):
            weight = 1 / (rank[i] + 1) + 1 / (rank[j] + 1)
            total += weight
            agreed += weight * np.sign((x[i] - x[j]) * (y[i] - y[j]))
        values.append(agreed / total)
    return float(np.mean(values))


def test_kendall_weighs_the_top_most() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 9))
    order = np.argsort(-x)
    names = "abcdefghi"

    got = measure_ranking(Ranking(tuple(names[i] for i in order), x[order], {}), names, y)

    assert got["kendall"] == pytest.approx(slow_weighted_tau(x, y))


def test_models_that_are_not_judged_leave_no_trace() -> None:
    ranking = Ranking(tuple("abcde"), np.array([5.0, 4.0, 3.0, 2.0, NAN]), {})
    partly_judged = measure_ranking(ranking, "abcde", np.array([0.1, NAN, 0.3, NAN, 0.2]))
    without = measure_ranking(
        Ranking(tuple("ace"), np.array([5.0, 3.0, 3.0]), {}), "ace", np.array([0.1, 0.3, 0.2])
    )

    assert partly_judged == pytest.approx(without)
    assert measure_chance(np.array([0.1, NAN, 0.3])) == pytest.approx(
        measure_chance(np.array([0.3, 0.1])), nan_ok=True
    )


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
def test_chance_is_the_mean_over_all_sets(k: int) -> None:
    truth = np.random.default_rng(k).random(5)
    sets = list(itertools.combinations(truth.max() - truth, min(k, 5)))

    got = best_of_random(5, k)

    assert got.sum() == pytest.approx(1)
    assert got @ np.sort(truth.max() - truth) == pytest.approx(np.mean([min(s) for s in sets]))


def test_chance_is_exact_where_sets_cannot_be_counted() -> None:
    """The best of 10 of 1,266 is the first with probability 10 / 1,266."""
    got = best_of_random(1266, 10)

    assert got.sum() == pytest.approx(1)
    assert got[0] == pytest.approx(10 / 1266)


def test_who_knows_the_truth_has_no_regret_and_the_prior_beats_chance() -> None:
    compared = compare_recommenders(hold_out_each(strong(noise=0.01)), ["prior", "blend"])

    prior, chance = compared.results["prior"], compared.results["random"]
    assert list(compared.results) == ["random", "prior", "blend"]
    assert prior.summary["regret@3"].mean == 0
    assert prior.summary["spearman"].mean > 0.95
    mean, error = prior.paired_difference(chance, "regret@1")
    assert mean < -2 * error < 0
    assert [row["regret@1"] for row in prior.rows] == prior.measures["regret@1"].tolist()


def test_who_cannot_rank_is_left_out_with_a_reason() -> None:
    compared = compare_recommenders(hold_out_each(strong()), ["paper", "prior"])

    assert set(compared.results) == {"random", "prior"}
    assert "expected scores of two clusters or more" in compared.left_out["paper"]
    with pytest.raises(ConfigError, match="unknown recommender 'oracle'"):
        compare_recommenders([], ["oracle"])


def test_a_recommender_that_ranks_for_some_targets_is_compared_on_those() -> None:
    known = strong(m=20)
    positive = matrix(known.values - known.values.min())
    targets = [
        *hold_out_each(positive, {"LogME": positive.values})[:3],
        *hold_out_each(positive)[3:],
    ]

    compared = compare_recommenders(targets, ["paper", "prior"])

    paper, prior = compared.results["paper"], compared.results["prior"]
    assert paper.datasets == ("d0", "d1", "d2")
    assert len(prior.datasets) == 8
    difference = prior.measures["regret@1"][:3] - paper.measures["regret@1"]
    assert prior.paired_difference(paper, "regret@1")[0] == pytest.approx(difference.mean())
    assert paper.paired_difference(prior, "regret@1")[0] == pytest.approx(-difference.mean())


def test_a_dataset_that_is_the_others_reversed_is_named() -> None:
    values = strong(m=20, noise=0.05).values.copy()
    values[:, 3] = -values[:, 3]

    assert compare_recommenders(hold_out_each(matrix(values)), ["prior"]).misleading_datasets == (
        "d3",
    )
    assert (
        compare_recommenders(hold_out_each(matrix(values)), ["prior_rank"]).misleading_datasets
        == ()
    )


def test_estimates_leave_out_what_is_undefined() -> None:
    got = Estimate.from_values(np.array([1.0, NAN, 2.0, 3.0]))

    assert [got.mean, got.standard_error, got.count] == pytest.approx([2.0, 1 / math.sqrt(3), 3])
    assert Estimate.from_values(np.array([1.0])).count == 1
    assert math.isnan(Estimate.from_values(np.array([NAN])).mean)


@recorded
def test_blend_and_portfolio_have_little_regret_on_real_records() -> None:
    targets = hold_out_each(*records("transfergraph_nlp", "eval_accuracy_full_ft"))
    compared = compare_recommenders(targets, ["prior", "blend", "portfolio", "paper"])

    regret = {n: {k: e.mean for k, e in j.summary.items()} for n, j in compared.results.items()}
    assert len(targets) == 8
    assert regret["blend"]["regret@1"] <= 0.010
    assert regret["portfolio"]["regret@5"] <= 0.006
    assert regret["paper"]["regret@1"] > regret["blend"]["regret@1"]
    assert regret["blend"]["lift@5"] > 0.03
