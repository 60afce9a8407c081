"""Recall and selection together on every held-out dataset, as in the paper's tables V and VI."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from mlflow_recall.core.backtest.holdout import HeldOutTarget, keep_scores
from mlflow_recall.core.backtest.policy_frontiers import WHOLE_ZOO_POLICIES
from mlflow_recall.core.backtest.strategies import (
    ReplayResult,
    policy_strategy,
    replay_strategy,
    upper_bound,
)
from mlflow_recall.core.clusters.clustering import cluster_models
from mlflow_recall.core.defaults import DEFAULT_TOP_K, Defaults
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.policies import PolicySetting, stopping_policies
from mlflow_recall.core.recommend import RECOMMENDERS, predict_gaps, rank_held_out
from mlflow_recall.core.recommend.probe_cost import models_to_probe
from mlflow_recall.errors import ConfigError

#: models that the paper recalls
PAPER_TOP_K = 10


def replay_selections(
    targets: Sequence[HeldOutTarget],
    curve_targets: Sequence[HeldOutTarget] = (),
    *,
    stages: int,
    unit: RegretUnit | None = None,
    defaults: Defaults | None = None,
    on_done: Callable[[str], None] = lambda _: None,
) -> dict[str, ReplayResult]:
    """Replay whole selections, probes included, beside training the whole zoo.

    All strategies have the same candidates of a dataset: the models with a record elsewhere and,
    where there are curves, a complete one there. The models are clustered without the dataset, and
    the scores of the clusters' representatives on it are known, since they alone are probed.

    Args:
        targets: Every dataset with what was known before it, as ``hold_out_each`` makes them.
        curve_targets: The same datasets with their curves, as ``hold_out_curves`` makes them;
            empty: none are recorded, so epochs are an upper bound, and the best candidate wins.
        stages: Stages of one fine-tuning; those of the curves count where there are any.
        unit: What the regrets of the targets are measured in; None: points.
        defaults: Ranker, set selector, number of models and minimum gain per epoch.
        on_done: Called with the name of each dataset after it was ranked for.

    Returns:
        Strategy -> its result: ``brute_force`` and ``halving`` over the whole zoo; the paper's
        (Eq. 2-4, ten models, fine-selection); and recall by the defaults with every policy that
        stops somebody. A strategy that is not possible is left out: the paper's needs scores, and a
        policy that chooses its initial candidates needs curves.
    """
    used = defaults or Defaults()
    top_k = used.top_k or DEFAULT_TOP_K
    whole, paper, recalled = list[HeldOutTarget](), list[HeldOutTarget](), list[HeldOutTarget]()
    for target in _join_curves(targets, curve_targets):
        whole.append(target)
        paper += _recall(target, "paper", "paper", PAPER_TOP_K)
        selections = _recall(target, used.ranker, used.set_selector, top_k)
        if unit is None or not unit.is_share:  # gaps move scores, so they need the scores' unit
            selections = [_with_expected_gaps(s, target, used.ranker) for s in selections]
        recalled += selections
        on_done(target.dataset)

    def run(name: str, setting: PolicySetting, own: Sequence[HeldOutTarget]) -> ReplayResult:
        if curve_targets:
            return replay_strategy(own, policy_strategy(name, setting))
        return upper_bound(name, setting.candidates or top_k, own, stages)

    everyone = PolicySetting(max((len(target.candidates) for target in whole), default=1))
    results = {name: run(name, everyone, whole) for name in WHOLE_ZOO_POLICIES if whole}
    if paper:
        setting = PolicySetting(PAPER_TOP_K)
        results["paper + fine_selection"] = run("fine_selection", setting, paper)
    for name, spec in stopping_policies().items():
        options = spec.select_options({"min_gain_per_epoch": used.min_gain_per_epoch})
        setting = PolicySetting(None if spec.initial_candidates else top_k, options)
        if recalled and (curve_targets or not spec.initial_candidates):
            results[f"recall + {name}"] = run(name, setting, recalled)
    return results


def _join_curves(
    targets: Sequence[HeldOutTarget], curve_targets: Sequence[HeldOutTarget]
) -> Iterator[HeldOutTarget]:
    """Yield targets with at least two candidates, clustered, with curves where there are any."""
    with_curves = {target.dataset: target for target in curve_targets}
    for target in targets:
        known = _cluster_and_probe(target)
        if curve_targets:
            if target.dataset not in with_curves:
                continue
            models = target.evidence.matrix.models
            ordered = with_curves[target.dataset].with_order(models)
            known = replace(ordered, evidence=known.evidence)
        if len(known.candidates) >= 2:
            yield known


def _cluster_and_probe(target: HeldOutTarget) -> HeldOutTarget:
    """Cluster by the best silhouette, and keep the scores of the representatives alone."""
    clustering = cluster_models(target.evidence.matrix)
    clustered = replace(target, evidence=replace(target.evidence, clustering=clustering))
    return keep_scores(clustered, representatives_only=True)


def _recall(
    target: HeldOutTarget, ranker: str, set_selector: str, count: int
) -> list[HeldOutTarget]:
    """Return the target with its candidates as a selection orders them; none without a ranking."""
    rank, select = RECOMMENDERS[ranker], RECOMMENDERS[set_selector]
    evidence = target.evidence
    try:
        ranking = rank.rank(rank.select_evidence(evidence))
        set_ranking = (
            ranking if set_selector == ranker else select.rank(select.select_evidence(evidence))
        )
    except ConfigError:
        return []
    candidates = set(target.candidates)
    selected = [model for model in set_ranking.models if model in candidates][:count]
    order = [*selected, *(model for model in ranking.models if model not in selected)]
    probes = models_to_probe(evidence.clustering, ranker, set_selector)
    return [target.with_order(order, probes)]


def _with_expected_gaps(
    recalled: HeldOutTarget, target: HeldOutTarget, ranker: str
) -> HeldOutTarget:
    """Add the gaps that the ranker predicts, where it has scores of the target."""
    if recalled.history is None or not target.evidence.propagated_scores():
        return recalled
    spec = RECOMMENDERS[ranker]
    evidence = spec.select_evidence(target.evidence)
    held_out = rank_held_out(evidence, spec.rank)
    gaps = predict_gaps(spec.rank(evidence), evidence.matrix, held_out)
    return replace(recalled, history=replace(recalled.history, expected_gaps=gaps))
