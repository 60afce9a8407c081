"""Facts of judging recommenders, of chance, and of whether a history applies at all."""

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
    main_score,
    measure_chance,
    measure_ranking,
    visible_evidence,
)
from mlflow_recall.core.backtest.transfer_test import permutation_test
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


def shuffled(known: PerformanceMatrix, seed: int) -> PerformanceMatrix:
    """The outcomes of each dataset dealt anew to the models that were measured on it."""
    rng, values = np.random.default_rng(seed), known.values.copy()
    for column in values.T:
        rows = np.flatnonzero(~np.isnan(column))
        column[rows] = column[rng.permutation(rows)]
    return PerformanceMatrix(known.models, known.datasets, values)


def test_measures_by_hand() -> None:
    """Picks reach 0.8, 0.9, 0.5, 0.2: the first lacks 0.1, the mean of all is 0.6."""
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
    found = []
    for by in (x, y):
        rank = {i: place for place, i in enumerate(np.argsort(-by))}
        total = agreed = 0.0
        for i, j in itertools.combinations(range(len(x)), 2):
            weight = 1 / (rank[i] + 1) + 1 / (rank[j] + 1)
            total += weight
            agreed += weight * np.sign((x[i] - x[j]) * (y[i] - y[j]))
        found.append(agreed / total)
    return float(np.mean(found))


def test_kendall_weighs_the_top_most() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 9))
    order = np.argsort(-x)
    names = "abcdefghi"

    got = measure_ranking(Ranking(tuple(names[i] for i in order), x[order], {}), names, y)

    assert got["kendall"] == pytest.approx(slow_weighted_tau(x, y))


def test_models_that_are_not_judged_leave_no_trace() -> None:
    ranking = Ranking(tuple("abcde"), np.array([5.0, 4.0, 3.0, 2.0, NAN]), {})
    some = measure_ranking(ranking, "abcde", np.array([0.1, NAN, 0.3, NAN, 0.2]))
    without = measure_ranking(
        Ranking(tuple("ace"), np.array([5.0, 3.0, 3.0]), {}), "ace", np.array([0.1, 0.3, 0.2])
    )

    assert some == pytest.approx(without)
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
    found = compare_recommenders(hold_out_each(strong(noise=0.01)), ["prior", "blend"])

    prior, chance = found.results["prior"], found.results["random"]
    assert list(found.results) == ["random", "prior", "blend"]
    assert prior.summary["regret@3"].mean == 0
    assert prior.summary["spearman"].mean > 0.95
    mean, error = prior.paired_difference(chance, "regret@1")
    assert mean < -2 * error < 0
    assert [row["regret@1"] for row in prior.rows] == prior.measures["regret@1"].tolist()


def test_who_cannot_rank_is_left_out_with_a_reason() -> None:
    found = compare_recommenders(hold_out_each(strong()), ["paper", "prior"])

    assert set(found.results) == {"random", "prior"}
    assert "expected scores of two clusters or more" in found.left_out["paper"]
    with pytest.raises(ConfigError, match="unknown recommender 'oracle'"):
        compare_recommenders([], ["oracle"])


def test_who_can_rank_for_some_is_compared_on_those() -> None:
    known = strong(m=20)
    positive = matrix(known.values - known.values.min())
    given = [*hold_out_each(positive, {"LogME": positive.values})[:3], *hold_out_each(positive)[3:]]

    found = compare_recommenders(given, ["paper", "prior"])

    paper, prior = found.results["paper"], found.results["prior"]
    assert paper.datasets == ("d0", "d1", "d2")
    assert len(prior.datasets) == 8
    lost = prior.measures["regret@1"][:3] - paper.measures["regret@1"]
    assert prior.paired_difference(paper, "regret@1")[0] == pytest.approx(lost.mean())
    assert paper.paired_difference(prior, "regret@1")[0] == pytest.approx(-lost.mean())


def test_the_paper_is_told_one_score() -> None:
    known = strong()
    evidence = hold_out_each(known, {"a": known.values, "logme": -known.values})[0].evidence

    assert visible_evidence("paper_code", evidence).scores.keys() == {"logme"}
    assert visible_evidence("paper", evidence).recorded_scores == {}
    assert visible_evidence("blend", evidence) is evidence
    assert [main_score(s) for s in ({}, {"b": 1, "a": 2})] == ["", "a"]


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


def test_a_history_with_strong_models_applies() -> None:
    got = permutation_test(strong())

    assert got.applies
    assert got.p_value == 1 / 200
    assert (got.spearman > 0.5).all()
    assert got.sizes == (1, 3)  # five of twelve would be over a third


@pytest.mark.parametrize("models", [6, 20])
def test_shuffled_names_hardly_ever_apply(models: int) -> None:
    """One history in a hundred, at most: of twenty two or more are an accident of 1.7 %."""
    meant = strong(models, 6)

    assert sum(permutation_test(shuffled(meant, seed)).applies for seed in range(20)) <= 1


def test_agreement_that_finds_nothing_is_not_enough() -> None:
    """The order of the others is the same everywhere, but only who is best matters, and it varies.

    The prior prefers whoever won most often, which is who loses most when another one wins.
    """
    order = np.linspace(0.0, 1e-3, 20)[:, None] + np.zeros((20, 5))
    order[np.arange(5), np.arange(5)] = 1.0  # one of the five lowest wins, another each time

    got = permutation_test(matrix(order))

    assert not got.applies
    assert got.gain.mean() < 0


def test_missing_cells_and_lonely_models_are_coped_with() -> None:
    values = strong(12, 6).values.copy()
    values[0, 1:] = NAN  # known on one dataset only
    values[5:, 5] = NAN  # too small once the lonely model is gone
    values[3, 2] = NAN

    got = permutation_test(matrix(values))

    assert got.datasets == ("d0", "d1", "d2", "d3", "d4")
    assert got.applies


@pytest.mark.parametrize("shape", [(0, 0), (3, 4), (10, 1)])
def test_too_little_says_no(shape: tuple[int, int]) -> None:
    got = permutation_test(matrix(np.random.default_rng(0).random(shape)))

    assert (got.applies, got.p_value, got.datasets) == (False, 1.0, ())


@recorded
def test_on_real_records_blend_and_portfolio_lack_little() -> None:
    given = hold_out_each(*records("transfergraph_nlp", "eval_accuracy_full_ft"))
    found = compare_recommenders(given, ["prior", "blend", "portfolio", "paper"])

    regret = {n: {k: e.mean for k, e in j.summary.items()} for n, j in found.results.items()}
    assert len(given) == 8
    assert regret["blend"]["regret@1"] <= 0.010
    assert regret["portfolio"]["regret@5"] <= 0.006
    assert regret["paper"]["regret@1"] > regret["blend"]["regret@1"]
    assert regret["blend"]["lift@5"] > 0.03


@recorded
@pytest.mark.parametrize(
    ("folder", "metric"),
    [
        ("transfergraph_nlp", "eval_accuracy_lora"),
        ("two_phase_paper", "acc_CV"),
        ("two_phase_paper", "acc_NLP"),
        ("vtab", "test_acc_vtab1k"),
        ("sfda_zoo", "full_finetune_acc"),
    ],
)
def test_real_histories_apply_and_shuffled_ones_do_not(folder: str, metric: str) -> None:
    known, _ = records(folder, metric)

    assert permutation_test(known).applies
    assert not any(permutation_test(shuffled(known, seed)).applies for seed in range(3))
