"""The pruner decides as Algorithm 1, in whatever order trials report, ask and fail."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import Trial, TrialState
from waiting import HANG_LIMIT

from mlflow_recall.adapters.optuna.pruner import COHORT, MODEL, CohortPruner, wait_for_verdict
from mlflow_recall.core.arrays import read_only
from mlflow_recall.core.policies import POLICIES, PolicyHistory, PolicyOptions, Verdict
from mlflow_recall.core.policies.fine_selection import FineSelectionOptions, decide_by_trends
from mlflow_recall.core.policies.spec import Cohort
from mlflow_recall.core.policies.trends import Trends
from mlflow_recall.errors import ConfigError, StageIncomplete

STAGES = 4
NEVER = STAGES + 1


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


# --- Algorithm 1, transcribed slowly as it is written - -------------------------------------------


@dataclass(frozen=True)
class Race:
    """Scores and failures of K candidates, whatever the order of events."""

    scores: list[list[float]]  # (K, STAGES), higher is better
    #: stage that a candidate fails in, NEVER for the healthy; ``late``: after its report
    fails: list[int]
    late: list[bool]
    trends: Trends
    threshold: float

    def reports(self, i: int, stage: int) -> bool:
        return stage < self.fails[i] or (stage == self.fails[i] and self.late[i])


def random_race(rng: np.random.Generator) -> Race:
    """Return a race whose scores are sixteenths: ties abound, and thresholds are met exactly."""
    models = int(rng.integers(1, 9))
    shape = models, STAGES, 3
    unused = rng.random(shape) < 0.3
    unused[rng.random(models) < 0.2] = True  # a model without history
    centers = np.where(unused, math.nan, np.sort(rng.integers(0, 17, shape) / 16, axis=2))
    ends = np.where(unused, math.nan, rng.integers(0, 17, shape) / 16)
    fails = np.where(rng.random(models) < 0.15, rng.integers(1, NEVER, models), NEVER)
    return Race(
        (rng.integers(0, 17, (models, STAGES)) / 16).tolist(),
        fails.tolist(),
        (rng.random(models) < 0.5).tolist(),
        Trends(
            models=tuple(f"m{i}" for i in range(models)),
            centers=read_only(centers),
            final_scores=read_only(ends),
            low_scores=read_only(ends),
            high_scores=read_only(ends),
        ),
        float(rng.choice([0.0, 1 / 16, 0.25])),
    )


def predicted(trends: Trends, i: int, stage: int, score: float) -> float | None:
    nearest, nearest_final = math.inf, None
    for center, final in zip(
        trends.centers[i, stage - 1], trends.final_scores[i, stage - 1], strict=True
    ):
        if abs(center - score) < nearest:
            nearest, nearest_final = abs(center - score), float(final)
    return nearest_final


def algorithm_1(race: Race) -> dict[int, int]:
    """Return candidate -> stage after which it is stopped; others are not in it."""
    stopped: dict[int, int] = {}
    racing = list(range(len(race.scores)))
    for stage in range(1, STAGES):
        here = [i for i in racing if race.reports(i, stage)]
        now = {i: race.scores[i][stage - 1] for i in here}
        final = {i: predicted(race.trends, i, stage, now[i]) for i in here}
        racing = []
        for i in here:
            rivals = [f for r in here if now[r] > now[i] and (f := final[r]) is not None]
            own, best = final[i], max(rivals, default=None)
            if own is None or best is None or best - own <= race.threshold * abs(best):
                racing.append(i)
        racing.sort(key=lambda i: (-now[i], i))
        racing = racing[: max(1, len(here) // 2)]
        stopped.update({i: stage for i in here if i not in racing})
    return stopped


# --- the same race through Optuna ----------------------------------------------------------------


def cohort_study(race: Race, sign: float = 1.0, storage: Any = None) -> tuple[Study, list[Trial]]:
    def decide(
        cohort: Cohort, history: PolicyHistory | None, options: FineSelectionOptions
    ) -> dict[str, Verdict]:
        return decide_by_trends(cohort, race.trends, options)

    pruner = CohortPruner(decide, FineSelectionOptions(STAGES, race.threshold))
    direction = StudyDirection.MAXIMIZE if sign > 0 else StudyDirection.MINIMIZE
    study = optuna.create_study(direction=direction, pruner=pruner, storage=storage)
    trials = [study.ask() for _ in race.scores]
    for i, trial in enumerate(trials):
        trial.set_user_attr(MODEL, f"m{i}")
    study.set_user_attr(COHORT, [trial.number for trial in trials])
    return study, trials


def run(race: Race, rng: np.random.Generator, storage: Any = None) -> dict[int, int]:
    """Let candidates report, ask, fail and end in a random order.

    A candidate is refused if and only if another one that races in that stage has not reported it.
    """
    sign = float(rng.choice([-1.0, 1.0]))
    tell_at_once = bool(rng.random() < 0.5)
    study, trials = cohort_study(race, sign, storage)
    reported = [0] * len(trials)
    stopped: dict[int, int] = {}
    last = algorithm_1(race)  # stage that a candidate races in at all
    asking: set[int] = set()
    done: set[int] = set()
    failed: set[int] = set()

    def leave(i: int, state: TrialState) -> None:
        done.add(i)
        asking.discard(i)
        if state == TrialState.FAIL:
            failed.add(i)
        if state == TrialState.FAIL or tell_at_once:
            study.tell(trials[i], state=state)

    while len(done) < len(trials):
        i = int(rng.choice([i for i in range(len(trials)) if i not in done]))
        if i in asking:
            missing = [
                j
                for j in range(len(trials))
                if reported[j] < reported[i] <= last.get(j, STAGES) and j not in failed
            ]
            try:
                prune = trials[i].should_prune()
            except StageIncomplete:
                assert missing, "refused although the stage is complete"
                continue
            assert not missing, "answered although the stage is incomplete"
            asking.discard(i)
            if prune:
                stopped[i] = reported[i]
            if prune or reported[i] == STAGES:
                leave(i, TrialState.PRUNED)
        elif race.reports(i, reported[i] + 1):
            reported[i] += 1
            trials[i].report(sign * race.scores[i][reported[i] - 1], reported[i])
            asking.add(i)
            if race.fails[i] == reported[i]:
                leave(i, TrialState.FAIL)
        else:
            leave(i, TrialState.FAIL)
    return stopped


@pytest.mark.slow
def test_decides_as_algorithm_1_on_thousands_of_cohorts_in_any_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        race = random_race(rng)
        wanted = algorithm_1(race)
        for i, stage in list(wanted.items()):
            if race.fails[i] == stage:
                del wanted[i]  # it failed before it could ask

        assert run(race, rng) == wanted, race


def test_a_journal_file_gives_the_same_decisions_as_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for i in range(5):
        race = random_race(rng)
        seed = int(rng.integers(1 << 30))
        storage = JournalStorage(JournalFileBackend(str(tmp_path / f"{i}.log")))

        journal = run(race, np.random.default_rng(seed), storage)

        assert journal == run(race, np.random.default_rng(seed))


# --- the cohort, and incomplete stages ------------------------------------------------------------

NO_TRENDS = read_only(np.zeros((0, STAGES, 1)))
RISING = Race(
    scores=[[0.1 * i] * STAGES for i in range(1, 5)],
    fails=[NEVER] * 4,
    late=[False] * 4,
    trends=Trends(
        models=(),
        centers=NO_TRENDS,
        final_scores=NO_TRENDS,
        low_scores=NO_TRENDS,
        high_scores=NO_TRENDS,
    ),
    threshold=0.0,
)


def test_an_incomplete_stage_is_refused_to_everyone_who_asks() -> None:
    study, trials = cohort_study(RISING)
    for trial in trials[1:]:
        trial.report(0.5, 1)

    for trial in trials[1:]:
        with pytest.raises(StageIncomplete, match=r"stage 1: .* got none of \[0\]"):
            trial.should_prune()
    study.tell(trials[0], state=TrialState.FAIL)
    assert [trial.should_prune() for trial in trials[1:]] == [False, True, True]


def test_a_candidate_that_ended_as_stopped_still_counts_in_its_stage() -> None:
    """Otherwise the halves of a stage would shrink while its trials end one by one."""
    study, trials = cohort_study(RISING)
    for trial, scores in zip(trials, RISING.scores, strict=True):
        trial.report(scores[0], 1)

    verdicts = []
    for trial in trials:
        verdicts.append(trial.should_prune())
        if verdicts[-1]:
            study.tell(trial, state=TrialState.PRUNED)

    assert verdicts == [True, True, False, False]


def test_asking_writes_nothing_to_the_study() -> None:
    study, trials = cohort_study(RISING)
    for trial, scores in zip(trials, RISING.scores, strict=True):
        trial.report(scores[0], 1)

    def everything() -> Any:
        trials = [vars(t) for t in study.get_trials(deepcopy=True)]
        return copy.deepcopy((study.user_attrs, study._storage.get_study_system_attrs(0), trials))

    before = everything()
    for trial in trials:
        trial.should_prune()

    assert everything() == before


def test_a_trial_that_has_not_reported_goes_on() -> None:
    _, trials = cohort_study(RISING)

    assert not trials[0].should_prune()


def test_a_study_without_a_cohort_says_how_to_name_it() -> None:
    study = optuna.create_study(
        pruner=CohortPruner(POLICIES["halving"].decide, PolicyOptions(STAGES))
    )
    trial = study.ask()
    trial.report(0.5, 1)

    with pytest.raises(ConfigError, match=r"study\.user_attrs\['recall\.cohort'\]"):
        trial.should_prune()


def test_a_trial_outside_the_cohort_is_an_error() -> None:
    study, trials = cohort_study(RISING)
    for trial in [*trials, stranger := study.ask()]:
        trial.report(0.5, 1)

    with pytest.raises(ConfigError, match="got trial 4 with a report of stage 1"):
        stranger.should_prune()


def test_two_trials_of_one_model_are_an_error() -> None:
    """A policy knows candidates by name: one verdict would silently apply to both."""
    _, trials = cohort_study(RISING)
    trials[0].set_user_attr(MODEL, "m1")
    for trial in trials:
        trial.report(0.5, 1)

    with pytest.raises(ConfigError, match="every model once, got 'm1' twice"):
        trials[0].should_prune()


# --- trials that end by themselves, and steps -----------------------------------------------------


def halving_study(
    scores: list[float],
    step: int = 1,
    direction: StudyDirection = StudyDirection.MAXIMIZE,
) -> tuple[Study, list[Trial]]:
    """Trials of a halving over three stages that have reported the first one."""
    pruner = CohortPruner(POLICIES["halving"].decide, PolicyOptions(3))
    study = optuna.create_study(direction=direction, pruner=pruner)
    trials = [study.ask() for _ in scores]
    study.set_user_attr(COHORT, [trial.number for trial in trials])
    for trial, score in zip(trials, scores, strict=True):
        trial.report(score, step)
    return study, trials


def prune_those_that_stop(study: Study, trials: list[Trial]) -> list[int]:
    stopped = [trial for trial in trials if trial.should_prune()]
    for trial in stopped:
        study.tell(trial, state=TrialState.PRUNED)
    return [trial.number for trial in stopped]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
@pytest.mark.parametrize(("score", "is_stopped"), [(0.75, True), (0.85, False)])
def test_a_trial_that_ended_by_itself_counts_with_its_last_value(
    state: TrialState, score: float, is_stopped: bool
) -> None:
    """After early stopping there are no more reports, and the others must not wait for them."""
    study, trials = halving_study([0.5, 0.6, 0.7, 0.8])
    assert prune_those_that_stop(study, trials) == [0, 1]
    study.tell(trials[3], 0.8 if state == TrialState.COMPLETE else None, state=state)

    trials[2].report(score, 2)

    assert trials[2].should_prune() is is_stopped


def test_a_trial_that_diverged_and_pruned_itself_is_the_worst() -> None:
    """Whether it reports NaN or not."""
    study, trials = halving_study([0.5, 0.6, math.nan, 0.8])
    study.tell(trials[2], state=TrialState.PRUNED)

    assert [trial.should_prune() for trial in (trials[0], trials[1], trials[3])] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
@pytest.mark.parametrize("direction", [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE])
def test_a_trial_that_ends_before_its_first_report_blocks_nobody(
    state: TrialState, direction: StudyDirection
) -> None:
    """A complete one has a value nevertheless, and the others have none."""
    sign = 1.0 if direction == StudyDirection.MAXIMIZE else -1.0
    study, trials = halving_study([sign * 0.5, sign * 0.6], direction=direction)
    early = study.ask()
    study.set_user_attr(COHORT, [0, 1, 2])
    study.tell(early, sign * 0.9 if state == TrialState.COMPLETE else None, state=state)

    assert [trial.should_prune() for trial in trials] == [
        True,
        state == TrialState.COMPLETE,
    ]


def test_steps_from_0_are_the_same_stages() -> None:
    """Training loops often count epochs from 0."""
    for step in (0, 1):
        study, trials = halving_study([0.5, 0.6, 0.7, 0.8], step)
        assert prune_those_that_stop(study, trials) == [0, 1]
        for trial, score in zip(trials[2:], (0.9, 0.8), strict=True):
            trial.report(score, step + 1)
        assert [trial.should_prune() for trial in trials[2:]] == [False, True]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([100], "expected reports of steps 1, 2, 3 and so on, .* got step 100 where 1 was due"),
        ([2], "got step 2 where 1 was due"),
        ([0, 2], "expected reports of steps 0, 1, 2 and so on, .* got step 2 where 1 was due"),
        ([1, 2, 4], "got step 4 where 3 was due"),
    ],
)
def test_steps_that_are_no_stages_are_refused_at_once(steps: list[int], message: str) -> None:
    """Batches as steps would make everybody wait for stages that nobody reports."""
    _, trials = cohort_study(RISING)
    for step in steps:
        trials[0].report(0.5, step)

    with pytest.raises(ConfigError, match=message) as error:
        wait_for_verdict(trials[0], timeout=HANG_LIMIT)
    assert "\n" not in str(error.value)


# --- study.optimize ------------------------------------------------------------------------------


def optimize(objective: Any, jobs: int = 1, enqueue: bool = False) -> Study:
    pruner = CohortPruner(POLICIES["halving"].decide, PolicyOptions(STAGES))
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.set_user_attr(COHORT, [0, 1, 2, 3])
    for _ in range(4 if enqueue else 0):
        study.enqueue_trial({})
    study.optimize(objective, n_trials=4, n_jobs=jobs)
    return study


@pytest.mark.parametrize("enqueue", [False, True])
def test_plain_sequential_optimize_is_refused_at_the_first_report(enqueue: bool) -> None:
    """It trains one trial to its end before the next begins, so no stage is ever complete."""
    reports = []

    def objective(trial: Trial) -> float:
        reports.append(trial.number)
        trial.report(0.5, 1)
        if trial.should_prune():
            raise optuna.TrialPruned
        return 0.5

    with pytest.raises(StageIncomplete, match="wait_for_verdict with one worker for each trial"):
        optimize(objective, enqueue=enqueue)
    assert reports == [0]


def patient(timeout: float) -> Any:
    def objective(trial: Trial) -> float:
        for stage in range(1, STAGES + 1):
            trial.report(trial.number / 4, stage)
            if wait_for_verdict(trial, timeout=timeout, poll=0.01):
                raise optuna.TrialPruned
        return trial.number / 4

    return objective


def test_a_worker_for_each_trial_halves_as_it_should() -> None:
    study = optimize(patient(HANG_LIMIT), jobs=4)

    stages = [len(trial.intermediate_values) for trial in study.trials]
    assert stages == [1, 1, 2, STAGES]
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.PRUNED] * 3 + [TrialState.COMPLETE]


def test_fewer_workers_than_trials_time_out() -> None:
    with pytest.raises(StageIncomplete, match=r"expected reports of all trials, .*; waited 0\.2 s"):
        optimize(patient(0.2), jobs=2)


def test_workers_do_not_wait_for_trials_that_end_by_themselves() -> None:
    """One stops early, one prunes itself on NaN, one fails; the other two race on, from step 0."""

    def objective(trial: Trial) -> float:
        for stage in range(STAGES):
            if trial.number == 2 and stage == 1:
                return 0.65  # nothing is to be gained any more
            score = math.nan if trial.number == 1 else 0.5 + trial.number / 20 + stage / 100
            if trial.number == 0:
                raise ValueError("out of memory")
            trial.report(score, stage)
            if math.isnan(score) or wait_for_verdict(trial, timeout=HANG_LIMIT, poll=0.01):
                raise optuna.TrialPruned
        return score

    pruner = CohortPruner(POLICIES["brute_force"].decide, PolicyOptions(STAGES))
    study = optuna.create_study(direction="maximize", pruner=pruner)
    study.set_user_attr(COHORT, list(range(5)))
    study.optimize(objective, n_trials=5, n_jobs=5, catch=(ValueError,))

    assert [trial.state.name for trial in study.trials] == [
        "FAIL",
        "PRUNED",
        "COMPLETE",
        "COMPLETE",
        "COMPLETE",
    ]
    assert [len(trial.intermediate_values) for trial in study.trials] == [0, 1, 1, STAGES, STAGES]
