"""Optuna's own pruners, run through Optuna on recorded curves, to compare policies with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, Trial, TrialState

from mlflow_recall.core.backtest.replay import ReplayOutcome

#: name -> (stages -> a pruner, set up for that many steps as its documentation says)
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
    """Run ``study.optimize`` over the candidates one by one, as Optuna's pruners are meant.

    Args:
        name: Name in ``BASELINES``.
        curves: Model -> validation score of every stage, in the order in which they are tried.

    Returns:
        The outcome with the first candidate, with the first two, and so on: a pruner knows only the
        trials before, so one study serves every number of candidates. The winner has the best last
        value of the trials that were not pruned, or of all where all were.
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
    last_stage = {models[trial.number]: max(trial.intermediate_values) for trial in trials}
    return [
        ReplayOutcome(
            models[_best(trials[:count]).number],
            sum(last_stage[model] for model in models[:count]),
            {model: last_stage[model] for model in models[:count]},
        )
        for count in range(1, len(models) + 1)
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
