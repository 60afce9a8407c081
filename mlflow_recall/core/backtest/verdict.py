"""What a back-test favors, and in how many words it can be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.policy_frontiers import PolicyResults, policy_settings
from mlflow_recall.core.backtest.recommender_comparison import (
    RANDOM,
    Estimate,
    RecommenderComparison,
)
from mlflow_recall.core.backtest.transfer_test import TransferTest
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.policies import POLICIES, STARTERS, data_warning

#: with fewer candidates there is nothing to select
_LEAST = 3
#: leads that four decimals do not show
_SAME = 5e-5


@dataclass(frozen=True)
class Favorite:
    """Who is used from now on, and by how much it beats the best or the built-in other."""

    name: str
    #: whom it was compared with: the built-in one, or the best other where that one stays
    compared_with: str
    #: what ``over`` loses more than ``name``, and its paired standard error over datasets
    lead: float
    standard_error: float
    #: whether the built-in one had to go
    is_changed: bool

    def sentence(self, what: str) -> str:
        """One sentence about ``what``, a loss in the unit of the metric."""
        if not self.compared_with:
            return f"{self.name}: nothing to compare it with."
        lead = f"{abs(self.lead):.4f} ± {self.standard_error:.4f}"
        if self.is_changed:
            return f"{self.name} in place of {self.compared_with}: {what} is {lead} lower."
        if abs(self.lead) < _SAME:
            return f"{self.name} stays: {self.compared_with} is as good."
        if self.lead < 0:
            return f"{self.name} stays: {what} is {lead} lower for {self.compared_with}, which is too little."
        return (
            f"{self.name} stays: {what} is {lead} higher for {self.compared_with}, the best other."
        )


def favorite(built_in: str, losses: Mapping[str, FloatArray]) -> Favorite:
    """The built-in one, unless another is better by more than one paired standard error.

    Args:
        built_in: who stays in doubt.
        losses: name -> (d,) loss on every dataset, lower is better; only datasets that all share.
    """
    own = losses[built_in]
    compared = {
        name: paired(values, own) for name, values in losses.items() if name != built_in
    }  # negative: better than the built-in one
    if not compared:
        return Favorite(built_in, "", float("nan"), float("nan"), False)
    surely = {n: c for n, c in compared.items() if c[0] < 0 and -c[0] > c[1]}
    if surely:
        name = min(surely, key=lambda n: (surely[n][0], n))
        return Favorite(name, built_in, -surely[name][0], surely[name][1], True)
    other = min(compared, key=lambda n: (compared[n][0], n))
    return Favorite(built_in, other, compared[other][0], compared[other][1], False)


@dataclass(frozen=True)
class Conclusion:
    """What follows from a back-test, for people and for every later ``auto``."""

    #: whether models that were strong on some datasets tend to be strong on others
    applies: bool
    #: datasets where the history points the wrong way
    misleading_datasets: tuple[str, ...]
    defaults: Defaults
    sentences: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """What ``auto`` stands for, in a few words."""
        used = self.defaults
        many = f"{used.top_k} candidates" if used.top_k else "as many candidates as are worth it"
        return (
            f"rank by {used.ranker}, pick by {used.set_selector}, stop by {used.policy} with {many}"
        )


def conclude(
    applies: TransferTest,
    contest: RecommenderComparison,
    tested: PolicyResults | None,
    *,
    enough: float = float("nan"),
    built_in: Defaults | None = None,
) -> Conclusion:
    """Say what is favored, and set it as the defaults.

    A recommender, policy or number of candidates that is built in stays unless another is better by
    more than one paired standard error over datasets. Where the history does not apply, as many
    candidates are trained as were enough on nine of ten recorded datasets, and at least twice as
    many as usual.

    Args:
        applies: whether the history says anything of new datasets.
        contest: of the recommenders.
        tested: of the policies; None without curves.
        enough: models of the set that were enough on nine of ten datasets; NaN: unknown.
        built_in: what stays in doubt.
    """
    standing = built_in or Defaults()
    ranker = favorite(standing.ranker, _losses(contest, standing.ranker, "regret@1"))
    picker = favorite(standing.set_selector, _losses(contest, standing.set_selector, "regret@5"))
    said = [_applies(applies)]
    said.append("To rank: " + ranker.sentence("the regret of the first pick"))
    said.append("To pick a set: " + picker.sentence("the regret of the best of five"))
    chosen = replace(standing, ranker=ranker.name, set_selector=picker.name)
    if tested is not None:
        policy, top_k, words = _policy(tested, standing)
        said += words
        chosen = replace(chosen, policy=policy, top_k=top_k)
    if not applies.applies and chosen.top_k:
        wide = max(2 * standing.top_k, 0 if np.isnan(enough) else int(np.ceil(enough)))
        said.append(f"Since the history does not apply, {wide} candidates are trained.")
        chosen = replace(chosen, top_k=wide)
    if contest.misleading_datasets:
        said.append(f"The history misleads on {', '.join(contest.misleading_datasets)}.")
    return Conclusion(applies.applies, contest.misleading_datasets, chosen, tuple(said))


def _losses(contest: RecommenderComparison, built_in: str, measure: str) -> dict[str, FloatArray]:
    """Regret by target of everyone who could rank for the targets of the built-in one."""
    targets = contest.results[built_in].datasets
    return {
        name: judged.measures[measure]
        for name, judged in contest.results.items()
        if name != RANDOM and judged.datasets == targets
    }


def _applies(applies: TransferTest) -> str:
    agree, gain = Estimate.from_values(applies.spearman), Estimate.from_values(applies.gain)
    return (
        f"The history {'applies' if applies.applies else 'does not apply'}: its ranks and those of a "
        f"new dataset correlate by {agree.mean:.2f} ± {agree.standard_error:.2f} over {agree.count} "
        f"datasets (shuffled names do as well with p = {applies.p_value:.3f}), and the best of its "
        f"first {', '.join(map(str, applies.sizes))} lack on average {gain.mean:.4f} ± "
        f"{gain.standard_error:.4f} less to the best model than at random."
    )


def _policy(tested: PolicyResults, standing: Defaults) -> tuple[str, int, list[str]]:
    """The favored policy, how many candidates it starts with, and why."""
    areas = {name: each.nested for name, each in tested.frontiers.items() if name in POLICIES}
    policy = favorite(standing.policy, areas)
    said = ["To stop: " + policy.sentence("the area under the nested frontier")]
    if few := data_warning(policy.name, len(tested.frontiers[policy.name].datasets) - 1):
        said.append(f"{few[0].upper()}{few[1:]}.")
    if policy.name in STARTERS:
        return policy.name, 0, said
    front = tested.frontiers[policy.name]
    loss = front.regrets + standing.min_gain_per_epoch * front.epochs
    by_size = {
        str(setting.candidates): values
        for setting, values in zip(policy_settings(policy.name), loss, strict=True)
        if setting.candidates >= _LEAST
    }
    size = favorite(str(standing.top_k), by_size)
    said.append(
        f"To start with: {size.sentence(f'regret plus {standing.min_gain_per_epoch:g} an epoch')}".replace(
            ": ", " ", 1
        )
    )
    return policy.name, int(size.name), said
