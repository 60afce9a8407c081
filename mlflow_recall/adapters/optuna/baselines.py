"""Optuna's own pruners on recorded curves, run through Optuna: what people use today."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from mlflow_recall.core.backtest.replay import ReplayOutcome

#: stages -> a pruner as its documentation would set it up for that many steps
BASELINES: Mapping[str, Callable[[int], BasePruner]] = MappingProxyType(
    {
        "optuna_halving": lambda _: SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
        "optuna_hyperband": lambda stages: HyperbandPruner(
            min_resource=1, max_resource=stages, reduction_factor=2
        ),
        "optuna_median": lambda _: MedianPruner(n_startup_trials=2),
    }
)


def replay_prefixes(name: str, curves: Mapping[str, Sequence[float]]) -> list[ReplayOutcome]:
    """``study.optimize`` over the candidates one after the other, as Optuna's pruners are meant.

    Args:
        name: in ``BASELINES``.
        curves: model -> validation score of every stage, in the order in which they are tried.

    Returns:
        How it ends after the first candidate, the first two, and so on: a pruner knows only the
        trials before, so one study answers for every number of candidates. The winner is the best
        last value of a trial that was not pruned; of a pruned one where all were.
    """
    models = list(curves)
    stages = len(next(iter(curves.values())))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            study_name=name,  # Hyperband assigns its brackets by it
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=BASELINES[name](stages),
        )
        study.optimize(lambda trial: _train(trial, curves[models[trial.number]]), len(models))
    finally:
        optuna.logging.set_verbosity(verbosity)
    trials = study.get_trials(deepcopy=False)
    stopped = {models[t.number]: max(t.intermediate_values) for t in trials}
    return [
        ReplayOutcome(
            models[_best(trials[: count + 1]).number],
            sum(stopped[model] for model in models[: count + 1]),
            {model: stopped[model] for model in models[: count + 1]},
        )
        for count in range(len(models))
    ]


def _train(trial: Trial, curve: Sequence[float]) -> float:
    for stage, score in enumerate(curve, start=1):
        trial.report(score, stage)
        if stage < len(curve) and trial.should_prune():
            raise optuna.TrialPruned
    return curve[-1]


def _best(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    finished = [t for t in trials if t.state == TrialState.COMPLETE] or list(trials)
    return max(finished, key=lambda t: t.intermediate_values[max(t.intermediate_values)])
