"""Facts of ``core.backtest.end_to_end``: recall and selection together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlflow_recall.core import policies
from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest import strategies
from mlflow_recall.core.backtest.held_out_target import held_out_targets
from mlflow_recall.core.backtest.holdout import Case, hold_out_each
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.backtest.whole_selections import replay_selections
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.policies import STARTERS, PolicyHistory, PolicyOptions

DATASETS = 6


def zoo(families: int, each: int, stages: int, seed: int = 0) -> Curves:
    """Families of nearly equal models, far from one another; validation is the end with noise."""
    rng = np.random.default_rng(seed)
    family = 0.5 + 0.1 * rng.normal(size=(families, DATASETS))
    ends = np.repeat(family, each, axis=0)
    ends = ends + 0.002 * rng.normal(size=ends.shape)
    scores = ends[..., None] * np.linspace(0.7, 1.0, stages)
    scores += 0.01 * rng.normal(size=scores.shape)
    names = tuple(f"m{i:02}" for i in range(len(ends)))
    return Curves(names, tuple(f"d{j}" for j in range(DATASETS)), scores, ends)


def matrix(curves: Curves) -> PerformanceMatrix:
    return PerformanceMatrix(curves.models, curves.datasets, curves.final_scores)


def helpful(curves: Curves, seed: int = 0) -> dict[str, FloatArray]:
    """A score that goes with the ends."""
    rng = np.random.default_rng(seed)
    return {"logme": curves.final_scores + 0.02 * rng.normal(size=curves.final_scores.shape)}


def replay(
    curves: Curves, scores: Mapping[str, FloatArray] | None = None, **settings: Any
) -> dict[str, ReplayResult]:
    given, targets = hold_out_each(matrix(curves), scores), list(held_out_targets(curves))
    return replay_selections(given, targets, stages=0, defaults=Defaults(**settings))


@pytest.mark.parametrize(
    ("families", "each", "stages", "brute", "halving", "ten"),
    [(8, 5, 5, 200, 77, 19), (5, 6, 4, 120, 55, 18)],
)
def test_the_papers_setting(
    families: int, each: int, stages: int, brute: int, halving: int, ten: int
) -> None:
    """40 text models in 8 clusters and 5 epochs, 30 vision models in 5 clusters and 4 epochs.

    Halving takes 77 and 55 epochs for all, 19 and 18 for the ten recalled; every cluster's
    representative is half an epoch more, so end to end it is 23 and 20.5.
    """
    curves = zoo(families, each, stages)

    got = replay(curves, helpful(curves), top_k=10)

    assert set(got["brute_force"].total_epochs()) == {brute}
    assert set(got["halving"].total_epochs()) == {halving}
    assert set(got["recall + halving"].epochs) == {ten}
    assert set(got["recall + halving"].total_epochs()) == {ten + 0.5 * families}
    assert set(got["paper + fine_selection"].candidates) == {10}
    assert (got["paper + fine_selection"].total_epochs() <= ten + 0.5 * families).all()


def test_the_first_recommended_is_the_strongest_elsewhere() -> None:
    """With one candidate and no scores the winner is the best by mean z-score of the others."""
    curves = zoo(4, 3, 3)
    expected = []
    for j in range(DATASETS):
        others = np.delete(curves.final_scores, j, axis=1)
        z = (others - others.mean(axis=0)) / others.std(axis=0)
        winner = int(np.argmax(z.mean(axis=1)))
        expected.append(curves.final_scores[:, j].max() - curves.final_scores[winner, j])

    got = replay(curves, top_k=1)["recall + fine_selection"]

    assert got.regrets == pytest.approx(expected)
    assert set(got.epochs) == {3}


def others_turned(case: Case) -> Case:
    """The scores of everyone who speaks for nobody, turned upside down."""
    evidence = case.evidence
    speaks = np.isin(evidence.matrix.models, cluster_models(evidence.matrix).representatives)
    scores = {name: np.where(speaks, v, -v) for name, v in evidence.scores.items()}
    return replace(case, evidence=replace(evidence, scores=scores))


def test_only_the_representatives_scores_are_known() -> None:
    """What was computed of anybody else on the dataset changes nothing."""
    curves = zoo(4, 4, 3)
    given, targets = hold_out_each(matrix(curves), helpful(curves)), list(held_out_targets(curves))

    straight = replay_selections(given, targets, stages=0)
    turned = replay_selections([others_turned(case) for case in given], targets, stages=0)

    for name, each in straight.items():
        assert each.regrets.tolist() == turned[name].regrets.tolist()
        assert each.epochs.tolist() == turned[name].epochs.tolist()


def test_who_ranks_by_the_history_alone_probes_nobody() -> None:
    curves = zoo(4, 3, 3)

    blind = replay(curves, ranker="prior", picker="prior_rank")["recall + halving"]
    seeing = replay(curves, ranker="prior", picker="portfolio")["recall + halving"]

    assert set(blind.probes) == {0}
    assert set(seeing.probes) == {4}


def test_without_scores_the_paper_cannot_recall() -> None:
    got = replay(zoo(4, 3, 3))

    assert list(got) == [
        "brute_force",
        "halving",
        "recall + fine_selection",
        "recall + halving",
        "recall + price",
    ]


def test_all_ways_choose_from_the_same_models() -> None:
    """One without a curve on a dataset is no candidate there, of whatever way."""
    curves = zoo(3, 4, 3)
    scores, ends = np.array(curves.scores), np.array(curves.final_scores)
    best = int(ends[:, 0].argmax())
    scores[best, 0], ends[best, 0] = np.nan, np.nan

    got = replay(Curves(curves.models, curves.datasets, scores, ends), top_k=12)

    assert got["brute_force"].candidates.tolist() == [11, 12, 12, 12, 12, 12]
    assert got["recall + halving"].candidates.tolist() == [11, 12, 12, 12, 12, 12]
    assert got["recall + halving"].regrets.tolist() == got["halving"].regrets.tolist()


def test_without_curves_the_best_of_the_recalled_wins() -> None:
    curves = zoo(4, 3, 3)

    got = replay_selections(hold_out_each(matrix(curves), helpful(curves)), stages=5)

    assert "recall + price" not in got
    assert not any(each.from_curves for each in got.values())
    assert set(got["brute_force"].regrets) == {0.0}
    assert set(got["paper + fine_selection"].epochs) == {
        policies.scheduled_epochs("halving", 10, 5)
    }
    assert set(got["recall + halving"].epochs) == {policies.scheduled_epochs("halving", 5, 5)}


def test_the_price_hears_what_the_recommender_foretells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scores tell of the target, and only there: else every dataset is foretold alike."""
    curves, reporter = zoo(4, 3, 3), set[bool]()
    listen = STARTERS["price"]

    def first(
        ranking: Sequence[str], past: PolicyHistory, settings: PolicyOptions
    ) -> tuple[str, ...]:
        reporter.add(past.gap_shift(ranking) is not None)
        return listen(ranking, past, settings)

    monkeypatch.setattr(strategies, "STARTERS", {"price": first})

    replay(curves)
    assert reporter == {False}
    reporter.clear()
    replay(curves, helpful(curves))
    assert reporter == {True}


def test_every_dataset_is_announced_once() -> None:
    curves, told = zoo(3, 3, 3), list[str]()

    replay_selections(
        hold_out_each(matrix(curves)), list(held_out_targets(curves)), stages=0, done=told.append
    )

    assert told == list(curves.datasets)
