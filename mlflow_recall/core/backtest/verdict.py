"""What follows from a back-test, in a few sentences and as the defaults behind ``auto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.policy_frontiers import PolicyResults
from mlflow_recall.core.backtest.recommender_comparison import (
    RANDOM,
    Estimate,
    RecommenderComparison,
)
from mlflow_recall.core.backtest.transfer_test import TransferTest
from mlflow_recall.core.defaults import DEFAULT_TOP_K, Defaults
from mlflow_recall.core.policies import POLICIES

#: with fewer candidates there is nothing to select
_MIN_CANDIDATES = 3
#: leads below this are zero in four decimals
_NO_LEAD = 5e-5


@dataclass(frozen=True, kw_only=True)
class Favorite:
    """What is used from now on, and its lead over the best or the built-in alternative."""

    name: str
    #: what it was compared with: the built-in choice, or the best other one where that one stays;
    #: None: there was nothing to compare with
    compared_with: str | None
    #: loss of ``compared_with`` minus that of ``name``, and its paired standard error
    lead: float
    standard_error: float
    #: whether the built-in choice was replaced
    is_changed: bool

    def sentence(self, loss: str) -> str:
        """Return one sentence about a ``loss`` in the unit of the metric."""
        if self.compared_with is None:
            return f"{self.name}: nothing to compare it with."
        lead = f"{abs(self.lead):.4f} ± {self.standard_error:.4f}"
        if self.is_changed:
            return f"{self.name} instead of {self.compared_with}: {loss} is {lead} lower."
        if abs(self.lead) < _NO_LEAD:
            return f"{self.name} stays: {self.compared_with} is as good."
        if self.lead < 0:
            return (
                f"{self.name} stays: {loss} is {lead} lower for {self.compared_with}, which is "
                "too little."
            )
        return (
            f"{self.name} stays: {loss} is {lead} higher for {self.compared_with}, the best other."
        )


def favorite(built_in: str, losses: Mapping[str, FloatArray]) -> Favorite:
    """Keep the built-in choice, unless another is better by more than one paired standard error.

    Args:
        built_in: The choice that stays in doubt.
        losses: Name -> (d,) loss on every dataset, lower is better; only datasets that all share.
    """
    own = losses[built_in]
    differences = {
        name: paired(values, own) for name, values in losses.items() if name != built_in
    }  # negative: better than the built-in choice
    if not differences:
        return Favorite(
            name=built_in,
            compared_with=None,
            lead=float("nan"),
            standard_error=float("nan"),
            is_changed=False,
        )
    better = {n: d for n, d in differences.items() if d[0] < 0 and -d[0] > d[1]}
    if better:
        name = min(better, key=lambda n: (better[n][0], n))
        return Favorite(
            name=name,
            compared_with=built_in,
            lead=-better[name][0],
            standard_error=better[name][1],
            is_changed=True,
        )
    other = min(differences, key=lambda n: (differences[n][0], n))
    return Favorite(
        name=built_in,
        compared_with=other,
        lead=differences[other][0],
        standard_error=differences[other][1],
        is_changed=False,
    )


@dataclass(frozen=True)
class Conclusion:
    """What follows from a back-test, in sentences and as defaults."""

    #: whether models that are good on some datasets tend to be good on others
    applies: bool
    #: datasets where the history points the wrong way
    misleading_datasets: tuple[str, ...]
    defaults: Defaults
    sentences: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """What ``auto`` stands for, in a few words."""
        used = self.defaults
        candidates = f"{used.top_k} candidates" if used.top_k else "as many candidates as pay off"
        return (
            f"rank by {used.ranker}, select the set by {used.set_selector}, stop by {used.policy} "
            f"with {candidates}"
        )


def conclude(
    transfer: TransferTest,
    comparison: RecommenderComparison,
    policies: PolicyResults | None,
    *,
    enough: float = float("nan"),
    built_in: Defaults | None = None,
) -> Conclusion:
    """Choose the preferred recommenders and policy, and say why.

    A built-in recommender, policy or number of candidates stays unless another is better by more
    than one paired standard error over datasets. Where the history does not apply, as many
    candidates are trained as were enough on nine of ten recorded datasets, and at least twice as
    many as usual.

    Args:
        transfer: Whether the history says anything about new datasets.
        comparison: Results of the recommenders.
        policies: Results of the policies; None without curves.
        enough: Models of the set that were enough on nine of ten datasets; NaN: unknown.
        built_in: Defaults that stay in doubt.
    """
    standing = built_in or Defaults()
    ranker = favorite(standing.ranker, _losses(comparison, standing.ranker, "regret@1"))
    selector = favorite(
        standing.set_selector, _losses(comparison, standing.set_selector, "regret@5")
    )
    sentences = [
        _describe_transfer(transfer),
        "To rank: " + ranker.sentence("the regret of the first pick"),
        "To select a set: " + selector.sentence("the regret of the best of five"),
    ]
    chosen = replace(standing, ranker=ranker.name, set_selector=selector.name)
    if policies is not None:
        policy, top_k, described = _choose_policy(policies, standing)
        sentences += described
        chosen = replace(chosen, policy=policy, top_k=top_k)
    if not transfer.applies and chosen.top_k is not None:
        usual = standing.top_k or DEFAULT_TOP_K
        wide = max(2 * usual, 0 if np.isnan(enough) else int(np.ceil(enough)))
        sentences.append(f"Since the history does not apply, {wide} candidates are trained.")
        chosen = replace(chosen, top_k=wide)
    misleading = comparison.misleading_datasets
    if misleading:
        sentences.append(f"The history misleads on {', '.join(misleading)}.")
    return Conclusion(transfer.applies, misleading, chosen, tuple(sentences))


def _losses(
    comparison: RecommenderComparison, built_in: str, measure: str
) -> dict[str, FloatArray]:
    """Return the regret by target of every recommender with the targets of the built-in one."""
    targets = comparison.results[built_in].datasets
    return {
        name: result.measures[measure]
        for name, result in comparison.results.items()
        if name != RANDOM and result.datasets == targets
    }


def _describe_transfer(transfer: TransferTest) -> str:
    agreement = Estimate.from_values(transfer.spearman)
    gain = Estimate.from_values(transfer.gain)
    return (
        f"The history {'applies' if transfer.applies else 'does not apply'}: its ranks and those "
        f"of a new dataset correlate by {agreement.mean:.2f} ± {agreement.standard_error:.2f} "
        f"over {agreement.count} datasets (shuffled names do as well with p = "
        f"{transfer.p_value:.3f}), and the regret of the best of its first "
        f"{', '.join(map(str, transfer.sizes))} is on average {gain.mean:.4f} ± "
        f"{gain.standard_error:.4f} lower than at random."
    )


def _choose_policy(
    policies: PolicyResults, standing: Defaults
) -> tuple[str, int | None, list[str]]:
    """Return the preferred policy, its number of candidates (None: its own choice), and why."""
    areas = {n: frontier.nested for n, frontier in policies.frontiers.items() if n in POLICIES}
    policy = favorite(standing.policy, areas)
    spec, frontier = POLICIES[policy.name], policies.frontiers[policy.name]
    sentences = ["To stop: " + policy.sentence("the area under the nested frontier")]
    if warning := spec.warn_about(len(frontier.datasets) - 1):
        sentences.append(f"{warning[0].upper()}{warning[1:]}.")
    if spec.initial_candidates:
        return policy.name, None, sentences
    loss = frontier.regrets + standing.min_gain_per_epoch * frontier.epochs
    losses = {
        str(setting.candidates): values
        for setting, values in zip(spec.settings, loss, strict=True)
        if setting.candidates is not None and setting.candidates >= _MIN_CANDIDATES
    }
    size = favorite(str(standing.top_k or DEFAULT_TOP_K), losses)
    what = f"regret plus {standing.min_gain_per_epoch:g} an epoch"
    sentences.append(f"To start with: {size.sentence(what)}".replace(": ", " ", 1))
    return policy.name, int(size.name), sentences
