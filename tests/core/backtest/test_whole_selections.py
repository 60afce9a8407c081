"""Facts of whole selections: recall and selection together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest import strategies
from mlflow_recall.core.backtest.holdout import HeldOutTarget, hold_out_curves, hold_out_each
from mlflow_recall.core.backtest.strategies import ReplayResult
from mlflow_recall.core.backtest.whole_selections import replay_selections
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.policies import POLICIES, PolicyHistory
from mlflow_recall.core.policies.cost_aware import CostAwareOptions, initial_candidates

DATASETS = 6


def zoo(families: int, members: int, stages: int, seed: int = 0) -> Curves:
    """Families of nearly equal models; validation is the final score with noise."""
    rng = np.random.default_rng(seed)
    family = 0.5 + 0.1 * rng.normal(size=(families, DATASETS))
    final_scores = np.repeat(family, members, axis=0)
    final_scores = final_scores + 0.002 * rng.normal(size=final_scores.shape)
    scores = final_scores[..., None] * np.linspace(0.7, 1.0, stages)
    scores += 0.01 * rng.normal(size=scores.shape)
    names = tuple(f"m{i:02}" for i in range(len(final_scores)))
    return Curves(
        models=names,
        datasets=tuple(f"d{j}" for j in range(DATASETS)),
        scores=scores,
        final_scores=final_scores,
    )


def matrix(curves: Curves) -> PerformanceMatrix:
    return PerformanceMatrix(curves.models, curves.datasets, curves.final_scores)


def helpful(curves: Curves, seed: int = 0) -> dict[str, FloatArray]:
    """A score that goes with the final scores."""
    rng = np.random.default_rng(seed)
    return {"logme": curves.final_scores + 0.02 * rng.normal(size=curves.final_scores.shape)}


def replay(
    curves: Curves, scores: Mapping[str, FloatArray] | None = None, **settings: Any
) -> dict[str, ReplayResult]:
    targets, with_curves = hold_out_each(matrix(curves), scores), list(hold_out_curves(curves))
    return replay_selections(targets, with_curves, stages=0, defaults=Defaults(**settings))


@pytest.mark.parametrize(
    ("families", "members", "stages", "brute", "halving", "ten"),
    [(8, 5, 5, 200, 77, 19), (5, 6, 4, 120, 55, 18)],
)
def test_the_papers_setting(
    families: int, members: int, stages: int, brute: int, halving: int, ten: int
) -> None:
    """40 text models in 8 clusters and 5 epochs, 30 vision models in 5 clusters and 4 epochs.

    Halving takes 77 and 55 epochs for all, 19 and 18 for the ten recalled; every cluster's
    representative is half an epoch more, so end to end it is 23 and 20.5.
    """
    curves = zoo(families, members, stages)

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


def reverse_others(target: HeldOutTarget) -> HeldOutTarget:
    """Turn the scores of all but the representatives upside down."""
    evidence = target.evidence
    kept = np.isin(evidence.matrix.models, cluster_models(evidence.matrix).representatives)
    scores = {name: np.where(kept, v, -v) for name, v in evidence.scores.items()}
    return replace(target, evidence=replace(evidence, scores=scores))


def test_only_the_representatives_scores_are_known() -> None:
    """Scores of other models on the dataset change nothing."""
    curves = zoo(4, 4, 3)
    targets = hold_out_each(matrix(curves), helpful(curves))
    with_curves = list(hold_out_curves(curves))

    straight = replay_selections(targets, with_curves, stages=0)
    reversed_ = replay_selections([reverse_others(t) for t in targets], with_curves, stages=0)

    assert straight.keys() == reversed_.keys()
    for name, result in straight.items():
        assert result.regrets.tolist() == reversed_[name].regrets.tolist()
        assert result.epochs.tolist() == reversed_[name].epochs.tolist()


def test_a_ranking_by_the_history_alone_needs_no_probes() -> None:
    curves = zoo(4, 3, 3)

    history = replay(curves, ranker="prior", set_selector="prior_rank")["recall + halving"]
    scores = replay(curves, ranker="prior", set_selector="portfolio")["recall + halving"]

    assert set(history.probes) == {0}
    assert set(scores.probes) == {4}


def test_without_scores_the_paper_cannot_recall() -> None:
    got = replay(zoo(4, 3, 3))

    assert list(got) == [
        "brute_force",
        "halving",
        "recall + halving",
        "recall + fine_selection",
        "recall + cost_aware",
    ]


def test_all_strategies_choose_from_the_same_models() -> None:
    """A model without a curve on a dataset is no candidate there, in any strategy."""
    curves = zoo(3, 4, 3)
    scores, final_scores = np.array(curves.scores), np.array(curves.final_scores)
    best = int(final_scores[:, 0].argmax())
    scores[best, 0], final_scores[best, 0] = np.nan, np.nan

    got = replay(
        Curves(
            models=curves.models, datasets=curves.datasets, scores=scores, final_scores=final_scores
        ),
        top_k=12,
    )

    assert got["brute_force"].candidates.tolist() == [11, 12, 12, 12, 12, 12]
    assert got["recall + halving"].candidates.tolist() == [11, 12, 12, 12, 12, 12]
    assert got["recall + halving"].regrets.tolist() == got["halving"].regrets.tolist()


def test_without_curves_the_best_of_the_recalled_wins() -> None:
    curves = zoo(4, 3, 3)

    got = replay_selections(hold_out_each(matrix(curves), helpful(curves)), stages=5)

    assert "recall + cost_aware" not in got
    assert not any(result.from_curves for result in got.values())
    assert set(got["brute_force"].regrets) == {0.0}
    assert set(got["paper + fine_selection"].epochs) == {POLICIES["halving"].max_epochs(10, 5)}
    assert set(got["recall + halving"].epochs) == {POLICIES["halving"].max_epochs(5, 5)}


def test_cost_aware_has_the_expected_gaps_of_the_recommender(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where there are scores of the target, and only there: else all gaps are expected alike."""
    curves, has_gaps = zoo(4, 3, 3), set[bool]()

    def first(
        ranking: Sequence[str], history: PolicyHistory, options: CostAwareOptions
    ) -> tuple[str, ...]:
        has_gaps.add(history.gap_shift(ranking) is not None)
        return initial_candidates(ranking, history, options)

    row = replace(POLICIES["cost_aware"], initial_candidates=first)
    monkeypatch.setattr(strategies, "POLICIES", {**POLICIES, "cost_aware": row})

    replay(curves)
    assert has_gaps == {False}
    has_gaps.clear()
    replay(curves, helpful(curves))
    assert has_gaps == {True}
    has_gaps.clear()
    shares = RegretUnit(("rmse",), ("rmse",))  # which no score moves by
    targets = hold_out_each(matrix(curves), helpful(curves))
    replay_selections(targets, list(hold_out_curves(curves, unit=shares)), stages=0, unit=shares)
    assert has_gaps == {False}


def test_every_dataset_is_reported_once() -> None:
    curves, names = zoo(3, 3, 3), list[str]()

    replay_selections(
        hold_out_each(matrix(curves)), list(hold_out_curves(curves)), stages=0, on_done=names.append
    )

    assert names == list(curves.datasets)
