"""Recall and selection together on every held-out dataset, as the paper's tables V and VI."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlflow_recall.core.backtest.held_out_target import Target
from mlflow_recall.core.backtest.holdout import Case, keep_scores
from mlflow_recall.core.backtest.recommender_comparison import visible_evidence
from mlflow_recall.core.backtest.strategies import (
    PolicySetting,
    ReplayResult,
    policy_strategy,
    replay_strategy,
    upper_bound,
)
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.recommend import Evidence, get_recommender, predict_gaps, rank_held_out
from mlflow_recall.core.recommend.probe_cost import models_to_probe
from mlflow_recall.errors import ConfigError

#: the ways of the whole zoo, which the others are compared with
WHOLE_ZOO = ("brute_force", "halving")
#: models that the paper recalls
PAPER_TOP = 10


def replay_selections(
    given: Sequence[Case],
    targets: Sequence[Target] = (),
    *,
    stages: int,
    defaults: Defaults | None = None,
    done: Callable[[str], None] = lambda _: None,
) -> dict[str, ReplayResult]:
    """What a whole selection costs and finds, probes included, beside training the whole zoo.

    Every way has the candidates of one dataset in common: the models with a record elsewhere and,
    where there are curves, a whole one there. The models are clustered without the dataset, and
    of the scores on it those of the clusters' representatives are known: they alone are probed.

    Args:
        given: what was known before each dataset.
        targets: the same datasets with their curves; empty: none are recorded, so that epochs are
            at most so many, and the best of the candidates is taken to win.
        stages: of one fine-tuning; of curves, theirs count.
        defaults: ranker, picker, number of models and price of an epoch.
        done: told the name of each dataset after it was ranked for.

    Returns:
        Way -> its outcomes: ``brute_force`` and ``halving`` over the whole zoo; what the paper does
        (eq. 2-4, ten models, fine-selection); and what a selection does where nobody asks for
        anything else, with fine-selection, halving, or the price of an epoch and its own
        candidates. A way that nobody can go is left out: the paper's needs scores, price curves.
    """
    used = defaults or Defaults()
    count = used.top_k or Defaults.top_k
    whole, papers, ours = list[Target](), list[Target](), list[Target]()
    for evidence, target in _played(given, targets):
        whole.append(target)
        papers += _recalled(evidence, target, "paper", "paper", PAPER_TOP)
        ours += [
            _foretold(evidence, found, used.ranker)
            for found in _recalled(evidence, target, used.ranker, used.set_selector, count)
        ]
        done(target.dataset)
    everyone = PolicySetting(max((len(target.candidates) for target in whole), default=1))
    ways = {
        **{name: (name, everyone, whole) for name in WHOLE_ZOO},
        "paper + fine_selection": ("fine_selection", PolicySetting(PAPER_TOP), papers),
        "recall + fine_selection": ("fine_selection", PolicySetting(count), ours),
        "recall + halving": ("halving", PolicySetting(count), ours),
        "recall + price": (
            "price",
            PolicySetting(0, min_gain_per_epoch=used.min_gain_per_epoch),
            ours if targets else [],
        ),
    }

    def run(name: str, setting: PolicySetting, some: Sequence[Target]) -> ReplayResult:
        if targets:
            return replay_strategy(some, policy_strategy(name, setting))
        return upper_bound(name, setting.candidates, some, stages)

    return {name: run(*given) for name, given in ways.items() if given[2]}


def _played(given: Sequence[Case], targets: Sequence[Target]) -> Iterator[tuple[Evidence, Target]]:
    """Datasets with at least two candidates, and what recall knows of them."""
    curved = {target.dataset: target for target in targets}
    for case in given:
        models = case.evidence.matrix.models
        if targets:
            found = curved[case.dataset].recommended(models) if case.dataset in curved else None
        else:
            ends = dict(zip(models, case.truth.tolist(), strict=True))
            found = Target.of(case.dataset, models, ends)
        if found is not None and len(found.candidates) >= 2:
            yield _as_recalled(case), found


def _as_recalled(case: Case) -> Evidence:
    """Clusters by the best silhouette, and scores of their representatives alone."""
    clustering = cluster_models(case.evidence.matrix)
    clustered = replace(case, evidence=replace(case.evidence, clustering=clustering))
    return keep_scores(clustered, representatives=True).evidence


def _recalled(
    evidence: Evidence, target: Target, ranker: str, picker: str, count: int
) -> list[Target]:
    """The target with its candidates as a selection orders them; none if nobody can rank for it."""
    try:
        ranking = get_recommender(ranker)(visible_evidence(ranker, evidence))
        picked = (
            ranking
            if picker == ranker
            else get_recommender(picker)(visible_evidence(picker, evidence))
        )
    except ConfigError:
        return []
    there = set(target.candidates)
    chosen = [model for model in picked.models if model in there][:count]
    order = [*chosen, *(model for model in ranking.models if model not in chosen)]
    return [target.recommended(order, models_to_probe(evidence.clustering, ranker, picker))]


def _foretold(evidence: Evidence, target: Target, ranker: str) -> Target:
    """The target with what its ranker foretells, where scores tell it of the target."""
    if target.past is None or not evidence.propagated_scores():
        return target
    known, rank = visible_evidence(ranker, evidence), get_recommender(ranker)
    gaps = predict_gaps(rank(known), known.matrix, rank_held_out(known, rank))
    return replace(target, past=replace(target.past, expected_gaps=gaps))
