"""A stopping policy as an Optuna pruner: it translates, keeps no state and writes nothing."""

from __future__ import annotations

import time

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from mlflow_recall.core.policies import Decide, PolicyHistory, PolicyOptions, Verdict
from mlflow_recall.errors import ConfigError, StageIncomplete

#: user attribute of the study: numbers of the trials that compete, fixed before stage 1
COHORT = "recall.cohort"
#: user attribute of a trial: which model it trains
MODEL = "recall.model"


class CohortPruner(BasePruner):
    """Prune the trials that a policy stops, stage by stage, everyone of a stage together.

    A stage is a step from 1. The cohort is ``study.user_attrs["recall.cohort"]``, the model of a
    trial its ``user_attrs["recall.model"]``. A verdict depends on the reported values alone: the
    decisions of all stages are replayed from the first, so neither the order of the reports nor
    what was told to Optuna meanwhile matters. A failed trial still counts where it has reported.

    Use it by ask-and-tell, or with as many workers as trials and ``wait_for_verdict``; a plain
    ``study.optimize`` trains one trial after the other, so no stage would ever be complete.

    Args:
        policy: from ``core.policies``.
        settings: of the policy.
        past: what is recorded of the same models; None turns prediction off.
    """

    def __init__(
        self, policy: Decide, settings: PolicyOptions, past: PolicyHistory | None = None
    ) -> None:
        self._policy = policy
        self._settings = settings
        self._past = past

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial stops after its last reported stage.

        Raises:
            Undecided: somebody of the cohort has not reported that stage yet.
            SettingError: the study names no cohort, or the trial is not of it.
        """
        stage = trial.last_step
        if stage is None:
            return False
        verdicts = self.verdicts(study, stage)
        if trial.number not in verdicts:
            raise ConfigError(
                f"trial {trial.number} reports stage {stage}, but is not of the cohort "
                f"{study.user_attrs[COHORT]} or was stopped before"
            )
        return verdicts[trial.number].stop

    def verdicts(self, study: Study, stage: int) -> dict[int, Verdict]:
        """Verdicts of everyone who reached ``stage``, by trial number.

        Raises:
            Undecided: somebody of the cohort has not reported yet.
            SettingError: the study names no cohort.
        """
        if COHORT not in study.user_attrs:
            raise ConfigError(
                f"expected study.user_attrs[{COHORT!r}] with the trial numbers that compete: ask "
                "for all trials first, then study.set_user_attr"
            )
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        trials = {t.number: t for t in study.get_trials(deepcopy=False)}
        cohort_numbers: list[int] = study.user_attrs[COHORT]
        if unasked := [number for number in cohort_numbers if number not in trials]:
            raise StageIncomplete(_waiting(1, unasked))
        alive = [trials[number] for number in cohort_numbers]
        decided: dict[int, Verdict] = {}
        for now in range(1, stage + 1):
            alive = [t for t in alive if now in t.intermediate_values or not _failed(t)]
            if waiting := [t.number for t in alive if now not in t.intermediate_values]:
                raise StageIncomplete(_waiting(now, waiting))
            scores = {
                t.number: [sign * t.intermediate_values[s] for s in range(1, now + 1)]
                for t in alive
            }
            decided = self._decide(alive, scores)
            alive = [t for t in alive if not decided[t.number].stop]
        return decided

    def _decide(
        self, alive: list[FrozenTrial], scores: dict[int, list[float]]
    ) -> dict[int, Verdict]:
        """Ask the policy, which knows candidates by the name of their model."""
        name = {t.number: str(t.user_attrs.get(MODEL, t.number)) for t in alive}
        if twice := {model for model in name.values() if list(name.values()).count(model) > 1}:
            raise ConfigError(
                f"trial.user_attrs[{MODEL!r}]: expected every model once, got {min(twice)!r} twice"
            )
        cohort = {model: scores[number] for number, model in name.items()}
        verdicts = self._policy(cohort, self._past, self._settings)
        return {number: verdicts[model] for number, model in name.items()}


def _waiting(stage: int, trials: list[int]) -> str:
    return (
        f"stage {stage}: trials {trials} have not reported yet; ask when all have, or use "
        "mlflow_recall.adapters.optuna.pruner.wait_for_verdict with a worker for each trial "
        "(study.optimize one by one cannot work)"
    )


def _failed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL


def wait_for_verdict(trial: Trial, *, timeout: float, poll: float = 0.05) -> bool:
    """``trial.should_prune()`` for parallel workers: wait until the stage is complete.

    Args:
        trial: that has just reported a stage.
        timeout: seconds after which to give up.
        poll: seconds between two looks.

    Raises:
        Undecided: the stage was still incomplete after ``timeout``; with fewer workers than
            trials it always will be.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return trial.should_prune()
        except StageIncomplete as error:
            if time.monotonic() >= deadline:
                raise StageIncomplete(f"{error}; gave up after {timeout:g} s") from None
            time.sleep(poll)
