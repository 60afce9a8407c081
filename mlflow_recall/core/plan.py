"""What a selection will cost before anything is spent, and what it will probably find."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import theilslopes

from mlflow_recall.core.arrays import FloatArray
from mlflow_recall.core.backtest.cases import spread_out
from mlflow_recall.core.backtest.target import Target
from mlflow_recall.core.backtest.ways import (
    Replayed,
    Setting,
    alive_in,
    on_paper,
    replayed,
    way,
)
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.policies import Settings
from mlflow_recall.core.probing import Probing
from mlflow_recall.core.recipes import Recipe
from mlflow_recall.core.recommend import Evidence, Gaps, Recommender
from mlflow_recall.core.records import Record
from mlflow_recall.errors import HistoryError, SettingError

#: forward passes that a training sample costs: one forward, and a backward pass of twice that
TRAINING = 3.0
#: sets that are considered for a budget
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
#: recorded datasets on which selections are rehearsed, evenly spread where there are more
_MOST = 48
#: what these policies cost depends on nothing but the number of candidates
_EXACT = ("brute_force", "halving")


@dataclass(frozen=True)
class Paces:
    """Seconds that one epoch of each model takes on the target."""

    seconds: Mapping[str, float]
    #: factors between which the recorded datasets are slower than the median one, four of five
    spread: tuple[float, float] = (1.0, 1.0)
    #: models that no epoch was recorded of: foretold from their parameters, or as the median
    guessed: tuple[str, ...] = ()
    #: whether the target's samples were taken into account
    scaled: bool = False

    def of(self, models: Sequence[str]) -> FloatArray:
        """(n,) seconds of an epoch of each."""
        return np.array([self.seconds[model] for model in models], dtype=np.float64)


def passes(recipe: Recipe | None, sizes: Mapping[str, int] | None = None) -> float:
    """Forward passes that an epoch of a recipe is worth, validation included; NaN if unknown.

    Args:
        recipe: says how many samples are used at most; 0 is all.
        sizes: samples of each split; None: at least as many as the recipe uses.
    """
    if recipe is None:
        return math.nan
    used = []
    for split, wished in (("train", recipe.train_samples), ("validation", recipe.eval_samples)):
        there = math.nan if sizes is None else float(sizes.get(split, 0))
        used.append(there if not wished else float(np.fmin(wished, there)))
    return TRAINING * used[0] + used[1]


def paces(
    records: Sequence[Record],
    models: Sequence[str],
    recipes: Mapping[str, Recipe],
    *,
    parameters: Mapping[str, float],
    sizes: Mapping[str, int] | None = None,
) -> Paces | None:
    """Seconds of an epoch of every model on a target that was never trained on.

    The logarithm of a recorded epoch's seconds per pass is a model's effect plus a dataset's, by
    median polish (Tukey 1977), so that neither a slow machine's day nor an expensive dataset counts
    for much; the target has the median dataset's effect. Of a model without recorded seconds the
    effect is foretold from its parameters on a log-log line (Theil-Sen), or is the median one.

    Args:
        records: of datasets like the target.
        models: whose seconds are wished.
        recipes: model -> how it will be trained; the most frequent one for the others.
        parameters: model -> how many, where that is known.
        sizes: samples of each split of the target; None: as those of the recorded datasets.

    Returns:
        None where no record tells seconds. Where a recipe does not say how many samples it used,
        seconds are those of a recorded dataset, and not ``scaled``.
    """
    timed = [record for record in records if record.seconds]
    if not timed:
        return None
    works = [passes(Recipe.from_json(r.recipe) if r.recipe else None) for r in timed]
    named = list(recipes.values())
    usual = max(named, key=named.count) if named else None
    target = {model: passes(recipes.get(model, usual), sizes) for model in models}
    scaled = not np.isnan([*works, *target.values()]).any()
    logs = np.log([max(1e-9, float(np.median(r.seconds))) for r in timed])
    known, effect, of_dataset = _effects(timed, logs - np.log(works) if scaled else logs)
    low, high = np.exp(np.quantile(of_dataset, [0.1, 0.9])).tolist()
    effects = dict(zip(known, effect.tolist(), strict=True))
    guessed = tuple(model for model in models if model not in effects)
    effects |= _foretold(guessed, effects, parameters)
    seconds = {m: math.exp(effects[m]) * (target[m] if scaled else 1.0) for m in models}
    return Paces(seconds, (low, high), guessed, scaled and sizes is not None)


def _effects(timed: Sequence[Record], logs: FloatArray) -> tuple[list[str], FloatArray, FloatArray]:
    """Models, their effects, and the datasets' effects, which have the median 0."""
    models, rows = np.unique([record.model for record in timed], return_inverse=True)
    datasets, columns = np.unique([record.dataset for record in timed], return_inverse=True)
    total, count = np.zeros((2, len(models), len(datasets)))
    np.add.at(total, (rows, columns), logs)
    np.add.at(count, (rows, columns), 1)
    table = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    effect, of_dataset = np.nanmedian(table, axis=1), np.zeros(len(datasets))
    for _ in range(10):
        of_dataset = np.nanmedian(table - effect[:, None], axis=0)
        of_dataset -= np.median(of_dataset)
        effect = np.nanmedian(table - of_dataset, axis=1)
    return [str(model) for model in models], effect, of_dataset


def _foretold(
    unknown: Sequence[str], effects: Mapping[str, float], parameters: Mapping[str, float]
) -> dict[str, float]:
    middle = float(np.median(list(effects.values())))
    pairs = [(math.log(parameters[m]), e) for m, e in effects.items() if parameters.get(m)]
    x, y = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    if len(np.unique(x)) < 3:
        return dict.fromkeys(unknown, middle)
    line = theilslopes(y, x)
    return {
        model: float(line[1] + line[0] * math.log(parameters[model]))
        if parameters.get(model)
        else middle
        for model in unknown
    }


def recorded_targets(
    evidence: Evidence, recommend: Recommender, curves: Curves | None = None, noise: float = 0.0
) -> list[Target]:
    """Recorded datasets, each ranked for without it; at most 48, evenly spread.

    Args:
        evidence: history of the candidates.
        recommend: picks the candidates.
        curves: of the same models and datasets; None: none were recorded.
        noise: standard deviation of a final score between repeats; 0 where nobody knows.
    """
    matrix = evidence.matrix
    measured = np.flatnonzero((~np.isnan(matrix.values)).sum(axis=0) >= 2)
    found = []
    for number in spread_out(measured.tolist(), _MOST):
        try:
            order = recommend(evidence.leaving(number)).models
        except SettingError:  # a recommender that needs scores, which this dataset has not
            continue
        ends = dict(zip(matrix.models, matrix.values[:, number].tolist(), strict=True))
        found.append(Target.of(matrix.datasets[number], order, ends, curves, noise))
    return found


def rehearse(name: str, models: int, targets: Sequence[Target], settings: Settings) -> Replayed:
    """Replay a policy on the first ``models`` of every target's order.

    Targets with fewer models of a whole curve are left out, unless there is no other; what costs
    the same whatever the scores are then costs as if nobody were missing. Without any curve the
    epochs are at most so many, and the best of the set wins.

    Raises:
        SettingError: no such policy.
        HistoryError: no target.
    """
    if not targets:
        raise HistoryError(
            "plan: expected recorded datasets with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    staged = [target for target in targets if target.curves]
    large = [target for target in staged if len(target.candidates) >= models]
    if staged:
        setting = Setting(models, settings.threshold, settings.price)
        found = replayed(large or staged, way(name, setting))
        if large or name not in _EXACT:
            return found
    else:
        found = on_paper(name, models, targets, settings.stages)
    alive = alive_in(name, models, settings.stages)  # those that are missing cost as much
    return replace(
        found,
        epochs=np.full(len(found.epochs), alive.sum()),
        reached=found.reached * alive / found.reached.sum(axis=0),
    )


@dataclass(frozen=True)
class Strategy:
    """One way to select, what it is expected to cost and to find."""

    name: str
    policy: str
    #: candidates that it starts with
    models: int
    #: expected, forward passes included
    epochs: float
    #: the most on any recorded dataset
    most: float
    #: expected; NaN where no seconds are recorded
    hours: float
    #: mean final test score that the winner is short of the best, and its standard error
    regret: float
    error: float
    #: probability that the candidates hold a model within the tolerance; NaN: nothing to tell by
    p_holds_best: float
    #: expected gap of their best to the best of all, in the unit of the metric
    gap: float
    probing: Probing = field(default_factory=Probing)
    #: whether the policy was replayed on recorded curves
    replayed: bool = True


def strategy(
    name: str,
    policy: str,
    order: Sequence[str],
    rehearsal: Replayed,
    *,
    gaps: Gaps,
    pace: Paces | None = None,
    probing: Probing | None = None,
    workers: int = 1,
) -> Strategy:
    """What was rehearsed, with the target's own candidates and their pace.

    Args:
        name: for people.
        policy: that stops candidates.
        order: the target's candidates, the first recommended first.
        rehearsal: of that policy with as many candidates.
        gaps: predicted of the target's candidates.
        pace: seconds of an epoch; None: unknown.
        probing: forward passes before; None: none.
        workers: models that are trained at once.
    """
    probing = probing or Probing()
    hours = math.nan
    if pace is not None:
        looks = probing.each * float(pace.of(probing.models).sum())
        looks /= max(1, min(workers, len(probing.models)))
        trained = pace.of(order[: len(rehearsal.reached)])
        hours = (looks + _seconds(rehearsal.reached, trained, workers)) / 3600.0
    count = len(rehearsal.regrets)
    return Strategy(
        name,
        policy,
        len(order),
        float(rehearsal.epochs.mean()) + probing.epochs,
        float(rehearsal.epochs.max()) + probing.epochs,
        hours,
        float(rehearsal.regrets.mean()),
        float(rehearsal.regrets.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan,
        1.0 if set(gaps.models) <= set(order) else gaps.p_holds_best(order),
        _gap(gaps, order),
        probing,
        rehearsal.on_curves,
    )


def _gap(gaps: Gaps, models: Sequence[str]) -> float:
    """Mean gap of the set's best over the joint outcomes; NaN where nothing is known of it."""
    some = gaps.gaps[[i for i, model in enumerate(gaps.models) if model in models]]
    some = some[:, ~np.isnan(some).all(axis=0)]
    return float(np.nanmin(some, axis=0).mean()) if some.size else math.nan


def _seconds(reached: FloatArray, pace: FloatArray, workers: int) -> float:
    """Wall-clock seconds of all stages; nobody helps the last candidate of a stage."""
    at_once = np.clip(reached.sum(axis=0), 1.0, workers)
    return float((pace @ reached / at_once).sum())


def fitting(
    offers: Sequence[Strategy], epochs: float = math.inf, hours: float = math.inf
) -> Strategy | None:
    """The strategy of the least expected regret that is expected to stay within both budgets.

    Of equals the one that more likely holds a near-best model, then the cheaper one. None: nothing
    fits, or hours are limited and none are known.
    """
    within = [
        each
        for each in offers
        if each.epochs <= epochs + 1e-9 and (math.isinf(hours) or each.hours <= hours)
    ]

    def merit(each: Strategy) -> tuple[float, float, float]:
        return round(each.regret, 9), -float(np.nan_to_num(each.p_holds_best)), each.epochs

    return min(within, key=merit, default=None)
