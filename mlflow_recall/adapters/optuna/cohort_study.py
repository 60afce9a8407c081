"""One Optuna study of one cohort, by ask-and-tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

import optuna
from optuna.trial import Trial, TrialState

from mlflow_recall.adapters.optuna.pruner import COHORT, MODEL, CohortPruner
from mlflow_recall.core.policies import Verdict
from mlflow_recall.core.policies.spec import Options


class CohortStudy(Generic[Options]):
    """Trials of the models of one cohort, stopped by a ``CohortPruner``.

    Args:
        models: Names of the models, in the order of recall.
        pruner: Decides who stops.
    """

    def __init__(self, models: Sequence[str], pruner: CohortPruner[Options]) -> None:
        self._pruner = pruner
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner
        )
        self._trials: dict[str, Trial] = {model: self._study.ask() for model in models}
        #: models whose trials have ended: Optuna accepts neither reports nor another end
        self._ended: set[str] = set()
        for model, trial in self._trials.items():
            trial.set_user_attr(MODEL, model)
        self._study.set_user_attr(COHORT, [trial.number for trial in self._trials.values()])

    def report(self, model: str, score: float, stage: int) -> None:
        """Report the validation score of a stage; higher is better."""
        if model not in self._ended:
            self._trials[model].report(score, stage)

    def verdicts(self, stage: int) -> dict[str, Verdict]:
        """Return model -> verdict of everyone who reached ``stage``.

        Raises:
            StageIncomplete: A model of the cohort has not reported yet.
        """
        verdicts = self._pruner.verdicts(self._study, stage)
        return {
            model: verdicts[trial.number]
            for model, trial in self._trials.items()
            if trial.number in verdicts
        }

    def complete(self, model: str, score: float) -> None:
        """End a trial that was trained to the end, with its last score."""
        if self._mark_ended(model):
            self._study.tell(self._trials[model], score)

    def prune(self, model: str) -> None:
        """End a trial that the policy stopped."""
        if self._mark_ended(model):
            self._study.tell(self._trials[model], state=TrialState.PRUNED)

    def fail(self, model: str) -> None:
        """End a trial without a verdict: later verdicts do not wait for it."""
        if self._mark_ended(model):
            self._study.tell(self._trials[model], state=TrialState.FAIL)

    def _mark_ended(self, model: str) -> bool:
        """Mark a trial as ended, and return whether it had not ended before."""
        is_first = model not in self._ended
        self._ended.add(model)
        return is_first
