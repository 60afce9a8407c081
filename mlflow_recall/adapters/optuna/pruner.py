"""A stopping policy as an Optuna pruner: it translates, keeps no state and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Generic

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from mlflow_recall.core.policies import Decide, PolicyHistory, Verdict
from mlflow_recall.core.policies.spec import Options
from mlflow_recall.errors import ConfigError, StageIncomplete

#: user attribute of the study: numbers of the trials that compete, fixed before stage 1
COHORT = "recall.cohort"
#: user attribute of a trial: name of the model that it trains
MODEL = "recall.model"


class CohortPruner(BasePruner, Generic[Options]):
    """Prune the trials that a policy stops, stage by stage, a whole stage at once.

    A stage is a step; steps are consecutive, from 1 or from 0. The cohort is
    ``study.user_attrs["recall.cohort"]``, the model of a trial its ``user_attrs["recall.model"]``.
    The decisions of all stages are replayed from the first, so neither the order of the reports
    nor what Optuna was told of stopped trials in the meantime matters.

    A trial may end by itself: after early stopping, or pruned by its own objective. It then counts
    in later stages with its last value, and nobody waits for it. A failed trial counts where it has
    reported, and not later.

    Use it by ask-and-tell, or with as many workers as trials and ``wait_for_verdict``. A plain
    ``study.optimize`` trains one trial after the other, so no stage would ever be complete.

    Args:
        decide: Decision of a policy, such as ``POLICIES["halving"].decide``.
        options: Options of the policy, such as ``POLICIES["halving"].make_options(stages=5)``.
        history: Recorded curves of the same models; None: nothing is predicted.

    Example:
        >>> from mlflow_recall.core.policies import POLICIES
        >>> halving = POLICIES["halving"]
        >>> pruner = CohortPruner(halving.decide, halving.make_options(stages=5))
    """

    def __init__(
        self, decide: Decide[Options], options: Options, history: PolicyHistory | None = None
    ) -> None:
        self._policy = decide
        self._options = options
        self._history = history

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether the trial stops after its last reported stage.

        Raises:
            StageIncomplete: A trial of the cohort has not reported that stage yet.
            ConfigError: The study names no cohort, or the trial is not in it.
        """
        stage = len(_scores(trial))
        if not stage:
            return False
        verdicts = self.verdicts(study, stage)
        if trial.number not in verdicts:
            raise ConfigError(
                f"pruner: expected a trial of the cohort {study.user_attrs[COHORT]} that was not "
                f"stopped, got trial {trial.number} with a report of stage {stage}"
            )
        return verdicts[trial.number].stop

    def verdicts(self, study: Study, stage: int) -> dict[int, Verdict]:
        """Return trial number -> verdict of every trial that counts in ``stage``, from 1.

        Raises:
            StageIncomplete: A trial of the cohort has not reported yet.
            ConfigError: The study names no cohort, or steps of a trial are no stages.
        """
        if COHORT not in study.user_attrs:
            raise ConfigError(
                f"pruner: expected study.user_attrs[{COHORT!r}] with the trial numbers that "
                "compete, got none: ask for all trials first, then use study.set_user_attr"
            )
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
        cohort_numbers: list[int] = study.user_attrs[COHORT]
        if missing := [number for number in cohort_numbers if number not in trials]:
            raise StageIncomplete(_incomplete(1, missing))
        scores = {
            number: [sign * value for value in _scores(trials[number], stage)]
            for number in cohort_numbers
        }
        active = [trials[number] for number in cohort_numbers]
        verdicts: dict[int, Verdict] = {}
        for current in range(1, stage + 1):
            missing = [t.number for t in active if len(scores[t.number]) < current]
            if unfinished := [n for n in missing if not trials[n].state.is_finished()]:
                raise StageIncomplete(_incomplete(current, unfinished))
            active = [t for t in active if t.number not in missing]
            verdicts = self._decide(active, {t.number: scores[t.number][:current] for t in active})
            active = [t for t in active if not verdicts[t.number].stop]
        return verdicts

    def _decide(
        self, active: Sequence[FrozenTrial], scores: dict[int, list[float]]
    ) -> dict[int, Verdict]:
        """Ask the policy, which knows candidates by the name of their model."""
        names = {trial.number: str(trial.user_attrs.get(MODEL, trial.number)) for trial in active}
        models = list(names.values())
        if repeated := {model for model in models if models.count(model) > 1}:
            raise ConfigError(
                f"trial.user_attrs[{MODEL!r}]: expected every model once, got {min(repeated)!r} "
                "twice"
            )
        cohort = {model: scores[number] for number, model in names.items()}
        verdicts = self._policy(cohort, self._history, self._options)
        return {number: verdicts[model] for number, model in names.items()}


def _incomplete(stage: int, trials: Sequence[int]) -> str:
    return (
        f"stage {stage}: expected reports of all trials, got none of {list(trials)}: ask when all "
        f"have reported, or use {__name__}.wait_for_verdict with one worker for each trial "
        "(study.optimize with fewer cannot work)"
    )


def _scores(trial: FrozenTrial, stages: int = 0) -> list[float]:
    """Return the values that a trial reported, one for each stage.

    Args:
        trial: Trial of the cohort.
        stages: If the trial ended by itself before so many, its last value stands for the others.

    Raises:
        ConfigError: Its steps are not consecutive from 0 or 1.
    """
    steps = sorted(trial.intermediate_values)
    first = min(1, *steps) if steps else 1
    for step, expected in zip(steps, range(first, first + len(steps)), strict=True):
        if step != expected:
            raise ConfigError(
                f"pruner: trial {trial.number}: expected reports of steps {first}, {first + 1}, "
                f"{first + 2} and so on, one for each stage, got step {step} where {expected} was "
                "due: call trial.report(score, stage) once after each stage"
            )
    scores = [trial.intermediate_values[step] for step in steps]
    if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        last = scores[-1] if scores else trial.value
        scores += [] if last is None else [last] * (stages - len(scores))
    return scores


def wait_for_verdict(trial: Trial, *, timeout: float, poll: float = 0.05) -> bool:
    """Return ``trial.should_prune()`` once the stage is complete, for parallel workers.

    Args:
        trial: A trial that has just reported a stage.
        timeout: Seconds to wait at most.
        poll: Seconds between two attempts.

    Raises:
        StageIncomplete: The stage is still incomplete after ``timeout``, as it always is with
            fewer workers than trials.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return trial.should_prune()
        except StageIncomplete as error:
            if time.monotonic() >= deadline:
                raise StageIncomplete(f"{error}; waited {timeout:g} s") from None
            time.sleep(poll)
