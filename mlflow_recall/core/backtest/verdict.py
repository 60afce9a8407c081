"""What a back-test favours, and in how many words it can be said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.applies import Applies
from mlflow_recall.core.backtest.frontier import paired
from mlflow_recall.core.backtest.policies import PolicyTest, policy_settings
from mlflow_recall.core.backtest.recommenders import RANDOM, Contest, Estimate
from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.policies import POLICIES, STARTERS, caveat

#: with fewer candidates there is nothing to select
_LEAST = 3
#: leads that four decimals do not show
_SAME = 5e-5


@dataclass(frozen=True)
class Favoured:
    """Who is used from now on, and by how much it beats the best or the built-in other."""

    name: str
    #: whom it was compared with: the built-in one, or the best other where that one stays
    over: str
    #: what ``over`` loses more than ``name``, and its paired standard error over datasets
    lead: float
    error: float
    #: whether the built-in one had to go
    changed: bool

    def words(self, what: str) -> str:
        """One sentence about ``what``, a loss in the unit of the metric."""
        if not self.over:
            return f"{self.name}: nothing to compare it with."
        lead = f"{abs(self.lead):.4f} ± {self.error:.4f}"
        if self.changed:
            return f"{self.name} in place of {self.over}: {what} is {lead} lower."
        if abs(self.lead) < _SAME:
            return f"{self.name} stays: {self.over} is as good."
        if self.lead < 0:
            return (
                f"{self.name} stays: {what} is {lead} lower for {self.over}, which is too little."
            )
        return f"{self.name} stays: {what} is {lead} higher for {self.over}, the best other."


def favoured(built_in: str, losses: Mapping[str, FloatArray]) -> Favoured:
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
        return Favoured(built_in, "", float("nan"), float("nan"), False)
    surely = {n: c for n, c in compared.items() if c[0] < 0 and -c[0] > c[1]}
    if surely:
        name = min(surely, key=lambda n: (surely[n][0], n))
        return Favoured(name, built_in, -surely[name][0], surely[name][1], True)
    other = min(compared, key=lambda n: (compared[n][0], n))
    return Favoured(built_in, other, compared[other][0], compared[other][1], False)


@dataclass(frozen=True)
class Conclusion:
    """What follows from a back-test, for people and for every later ``auto``."""

    #: whether models that were strong on some datasets tend to be strong on others
    applies: bool
    #: datasets where the history points the wrong way
    misleads: tuple[str, ...]
    defaults: Defaults
    sentences: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """What ``auto`` stands for, in a few words."""
        used = self.defaults
        many = f"{used.top_k} candidates" if used.top_k else "as many candidates as are worth it"
        return f"rank by {used.ranker}, pick by {used.picker}, stop by {used.policy} with {many}"


def conclude(
    applies: Applies,
    contest: Contest,
    tested: PolicyTest | None,
    *,
    enough: float = float("nan"),
    built_in: Defaults | None = None,
) -> Conclusion:
    """Say what is favoured, and set it as the defaults.

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
    ranker = favoured(standing.ranker, _losses(contest, standing.ranker, "regret@1"))
    picker = favoured(standing.picker, _losses(contest, standing.picker, "regret@5"))
    said = [_applies(applies)]
    said.append("To rank: " + ranker.words("the regret of the first pick"))
    said.append("To pick a set: " + picker.words("the regret of the best of five"))
    chosen = replace(standing, ranker=ranker.name, picker=picker.name)
    if tested is not None:
        policy, top_k, words = _policy(tested, standing)
        said += words
        chosen = replace(chosen, policy=policy, top_k=top_k)
    if not applies.yes and chosen.top_k:
        wide = max(2 * standing.top_k, 0 if np.isnan(enough) else int(np.ceil(enough)))
        said.append(f"Since the history does not apply, {wide} candidates are trained.")
        chosen = replace(chosen, top_k=wide)
    if contest.misleads:
        said.append(f"The history misleads on {', '.join(contest.misleads)}.")
    return Conclusion(applies.yes, contest.misleads, chosen, tuple(said))


def _losses(contest: Contest, built_in: str, measure: str) -> dict[str, FloatArray]:
    """Regret by target of everyone who could rank for the targets of the built-in one."""
    targets = contest.judged[built_in].datasets
    return {
        name: judged.measures[measure]
        for name, judged in contest.judged.items()
        if name != RANDOM and judged.datasets == targets
    }


def _applies(applies: Applies) -> str:
    agree, gain = Estimate.of(applies.spearman), Estimate.of(applies.gain)
    return (
        f"The history {'applies' if applies.yes else 'does not apply'}: its ranks and those of a "
        f"new dataset correlate by {agree.mean:.2f} ± {agree.error:.2f} over {agree.count} "
        f"datasets (shuffled names do as well with p = {applies.p_value:.3f}), and the best of its "
        f"first {', '.join(map(str, applies.sizes))} lack on average {gain.mean:.4f} ± "
        f"{gain.error:.4f} less to the best model than at random."
    )


def _policy(tested: PolicyTest, standing: Defaults) -> tuple[str, int, list[str]]:
    """The favoured policy, how many candidates it starts with, and why."""
    areas = {name: each.nested for name, each in tested.frontiers.items() if name in POLICIES}
    policy = favoured(standing.policy, areas)
    said = ["To stop: " + policy.words("the area under the nested frontier")]
    if few := caveat(policy.name, len(tested.frontiers[policy.name].datasets) - 1):
        said.append(f"{few[0].upper()}{few[1:]}.")
    if policy.name in STARTERS:
        return policy.name, 0, said
    front = tested.frontiers[policy.name]
    loss = front.regrets + standing.price * front.epochs
    by_size = {
        str(setting.candidates): values
        for setting, values in zip(policy_settings(policy.name), loss, strict=True)
        if setting.candidates >= _LEAST
    }
    size = favoured(str(standing.top_k), by_size)
    said.append(
        f"To start with: {size.words(f'regret plus {standing.price:g} an epoch')}".replace(
            ": ", " ", 1
        )
    )
    return policy.name, int(size.name), said
