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

    A stage is a step from 1. The cohort is ``study.user_attrs["recall.cohort"]``, the model of a
    trial its ``user_attrs["recall.model"]``. A verdict depends on the reported values alone: the
    decisions of all stages are replayed from the first, so neither the order of the reports nor
    what Optuna was told in the meantime matters. A failed trial still counts where it has reported.

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
        stage = trial.last_step
        if stage is None:
            return False
        verdicts = self.verdicts(study, stage)
        if trial.number not in verdicts:
            raise ConfigError(
                f"pruner: expected a trial of the cohort {study.user_attrs[COHORT]} that was not "
                f"stopped, got trial {trial.number} with a report of stage {stage}"
            )
        return verdicts[trial.number].stop

    def verdicts(self, study: Study, stage: int) -> dict[int, Verdict]:
        """Return trial number -> verdict of every trial that reached ``stage``.

        Raises:
            StageIncomplete: A trial of the cohort has not reported yet.
            ConfigError: The study names no cohort.
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
        active = [trials[number] for number in cohort_numbers]
        verdicts: dict[int, Verdict] = {}
        for current in range(1, stage + 1):
            active = [t for t in active if current in t.intermediate_values or not _failed(t)]
            if missing := [t.number for t in active if current not in t.intermediate_values]:
                raise StageIncomplete(_incomplete(current, missing))
            scores = {
                trial.number: [sign * trial.intermediate_values[s] for s in range(1, current + 1)]
                for trial in active
            }
            verdicts = self._decide(active, scores)
            active = [trial for trial in active if not verdicts[trial.number].stop]
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


def _failed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL


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
