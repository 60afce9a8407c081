"""Policies on recorded curves: what each setting costs and finds on held-out datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within
from mlflow_recall.core.backtest.frontier import Frontier
from mlflow_recall.core.backtest.replay import Outcome, replay
from mlflow_recall.core.clustering import unclustered
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.policies import Past, Settings, policy
from mlflow_recall.core.policies.price import PRICES, first
from mlflow_recall.core.recommend import Evidence, recommender
from mlflow_recall.errors import HistoryError

#: candidates of the policies that are told how many, from one model to what five in full cost
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14)
#: thresholds of fine-selection in the paper's table IV
THRESHOLDS = (0.0, 0.01, 0.05, 0.1)
#: policies that are compared by all their settings
COMPARED = ("halving", "fine_selection", "price")
#: who is better than whom in the history: the order of the candidates
RANKED_BY = "prior_rank"


@dataclass(frozen=True)
class Setting:
    """One way to run a policy."""

    #: candidates to start with; 0: the policy itself says how many
    candidates: int
    threshold: float = 0.0
    price: float = 0.0


#: the settings of each policy's frontier, fixed beforehand; policies not named here have ``SIZES``
SETTINGS: Mapping[str, tuple[Setting, ...]] = MappingProxyType(
    {"price": tuple(Setting(0, price=price) for price in PRICES)}
)


@dataclass(frozen=True, eq=False)
class Target:
    """One held-out dataset: what happened on it, and what was known before."""

    dataset: str
    #: model -> validation score by stage, the best by the history first
    curves: Mapping[str, Sequence[float]]
    #: model -> final test score
    ends: Mapping[str, float]
    past: Past

    @property
    def best(self) -> float:
        """Final test score of the best model."""
        return max(self.ends.values())

    def regret(self, model: str) -> float:
        """By how much the best model beats this one."""
        return self.best - self.ends[model]

    def among(self, candidates: Sequence[str]) -> dict[str, Sequence[float]]:
        """The curves of these candidates, in their order."""
        return {model: self.curves[model] for model in candidates}


@dataclass(frozen=True, eq=False)
class Replayed:
    """What one way to select cost and found on every held-out dataset."""

    datasets: tuple[str, ...]
    epochs: FloatArray  # (d,)
    regrets: FloatArray  # (d,)
    #: (d,) candidates that it started with
    candidates: FloatArray

    def within(self, tolerance: float) -> float:
        """Share of datasets on which it ended within ``tolerance`` of the best."""
        return float(is_within(self.regrets, tolerance).mean())


#: how a way to select ends on one target, and how many candidates it started with
Way: TypeAlias = Callable[[Target], tuple[Outcome, int]]
#: how the first one, two, ... of the candidates end: a baseline that takes one after the other
Prefixes: TypeAlias = Callable[[Mapping[str, Sequence[float]]], list[Outcome]]


def held_out_targets(curves: Curves, *, least: int = 2, noise: float = 0.0) -> Iterator[Target]:
    """Every dataset with at least ``least`` complete curves, as if it were new.

    Raises:
        HistoryError: fewer than two datasets, so nothing would be left as history.
    """
    complete = ~np.isnan(curves.scores).any(axis=2) & ~np.isnan(curves.ends)
    if len(curves.datasets) < 2:
        raise HistoryError(
            f"backtest: expected curves on at least 2 datasets, one to hold out and one to learn "
            f"from, got {len(curves.datasets)}"
        )
    for j, dataset in enumerate(curves.datasets):
        if complete[:, j].sum() < max(2, least):
            continue
        past = Past(curves.without(dataset), noise)
        order = _ranked(past.curves)
        there = [i for i in order if complete[i, j]]
        yield Target(
            dataset,
            {curves.models[i]: curves.scores[i, j].tolist() for i in there},
            {curves.models[i]: float(curves.ends[i, j]) for i in there},
            past,
        )


def _ranked(curves: Curves) -> list[int]:
    matrix = PerformanceMatrix(curves.models, curves.datasets, curves.ends)
    ranking = recommender(RANKED_BY)(Evidence(matrix, unclustered()))
    place = {model: i for i, model in enumerate(curves.models)}
    return [place[model] for model in ranking.models]


def way(name: str, setting: Setting) -> Way:
    """A policy of ``core.policies`` with one setting."""
    decide = policy(name)

    def run(target: Target) -> tuple[Outcome, int]:
        stages = len(next(iter(target.curves.values())))
        settings = Settings(stages, setting.threshold, setting.price)
        ranking = tuple(target.curves)
        chosen = (
            ranking[: setting.candidates]
            if setting.candidates
            else first(ranking, target.past, settings)
        )
        return replay(decide, target.among(chosen), target.past, settings), len(chosen)

    return run


def replayed(targets: Sequence[Target], run: Way) -> Replayed:
    """One way to select on all targets."""
    return _outcomes(targets, [run(target) for target in targets])


def _outcomes(targets: Sequence[Target], ended: Sequence[tuple[Outcome, int]]) -> Replayed:
    """How each target ended, and with how many candidates it had begun."""
    return Replayed(
        tuple(target.dataset for target in targets),
        np.array([outcome.epochs for outcome, _ in ended], dtype=np.float64),
        np.array([t.regret(o.winner) for t, (o, _) in zip(targets, ended, strict=True)]),
        np.array([count for _, count in ended], dtype=np.float64),
    )


def policy_settings(name: str) -> tuple[Setting, ...]:
    """The settings of a policy's frontier."""
    return SETTINGS.get(name, tuple(Setting(size) for size in SIZES))


@dataclass(frozen=True, eq=False)
class PolicyTest:
    """What policies cost and found on recorded curves."""

    #: stages of one fine-tuning
    stages: int
    #: way to select -> its outcome on every dataset; see ``table``
    table: Mapping[str, Replayed]
    #: policy -> all its settings
    frontiers: Mapping[str, Frontier]


def policy_test(
    targets: Sequence[Target],
    *,
    top_k: int = 10,
    price: float = 0.001,
    baselines: Mapping[str, Prefixes] = MappingProxyType({}),
    done: Callable[[str], None] = lambda _: None,
) -> PolicyTest:
    """Every policy with every setting, and the ways of the paper's tables.

    Args:
        targets: as ``held_out_targets`` yields them, at least two.
        top_k: candidates of the policies that are told how many.
        price: of an epoch, for the policy that asks.
        baselines: name -> how the first one, two, ... of the candidates end.
        done: told the name of each policy after each setting.

    Raises:
        HistoryError: fewer than two targets.
    """
    if len(targets) < 2:
        raise HistoryError(
            "backtest: expected complete curves of at least 2 models on at least 2 datasets, got "
            f"{len(targets)} such datasets"
        )
    stages = len(next(iter(targets[0].curves.values())))
    ended = {
        name: [run(dict(islice(target.curves.items(), max(*SIZES, top_k)))) for target in targets]
        for name, run in baselines.items()
    }
    frontiers = {}
    for name in COMPARED:
        found = []
        for setting in policy_settings(name):
            found.append(replayed(targets, way(name, setting)))
            done(name)
        frontiers[name] = frontier(found, stages)
    for name, outcomes in ended.items():
        found = [_first_of(targets, outcomes, size) for size in SIZES]
        frontiers[name] = frontier(found, stages)
        done(name)
    table = {name: replayed(targets, run) for name, run in _ways(targets, top_k, price).items()}
    table |= {name: _first_of(targets, outcomes, top_k) for name, outcomes in ended.items()}
    return PolicyTest(stages, table, frontiers)


def _ways(targets: Sequence[Target], top_k: int, price: float) -> dict[str, Way]:
    """The paper's tables: the whole zoo, and every policy with the same candidates."""
    everyone = Setting(max(len(target.curves) for target in targets))
    ways = {f"{name} of all": way(name, everyone) for name in ("brute_force", "halving")}
    ways |= {name: way(name, Setting(top_k)) for name in ("brute_force", "halving")}
    for share in THRESHOLDS:
        name = f"fine_selection {share:.0%}" if share else "fine_selection"
        ways[name] = way("fine_selection", Setting(top_k, threshold=share))
    return {**ways, "price": way("price", Setting(0, price=price))}


def _first_of(
    targets: Sequence[Target], outcomes: Sequence[Sequence[Outcome]], size: int
) -> Replayed:
    """The outcomes with the first ``size`` candidates, or with all where there are fewer."""
    counts = [min(size, len(known)) for known in outcomes]
    ended = [(known[count - 1], count) for known, count in zip(outcomes, counts, strict=True)]
    return _outcomes(targets, ended)


def frontier(found: Sequence[Replayed], stages: int) -> Frontier:
    """The settings of one policy as a frontier; the first trains one model to the end."""
    return Frontier(
        found[0].datasets,
        np.array([each.epochs for each in found]),
        np.array([each.regrets for each in found]),
        stages,
    )
