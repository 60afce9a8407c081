"""The candidates of a selection, from the first stage to a winner."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import optuna

from mlflow_recall.adapters.optuna.pruner import COHORT, MODEL, CohortPruner
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core import policies
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.policies import Verdict
from mlflow_recall.errors import ConfigError, RecallError, TaskError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.recall import RecallResult
from mlflow_recall.workflows.selection import Candidate, RacePlan, SelectionJob


class Race:
    """Candidates that are trained stage by stage until one has won."""

    def __init__(self, job: SelectionJob, recall_result: RecallResult, plan: RacePlan) -> None:
        self._job = job
        self._voice = job.services.reporter
        self._recalled = recall_result
        self._dataset = recall_result.context.dataset
        self._recipes = plan.recipes
        self._stages = plan.options.stages
        self._pruner = CohortPruner(policies.get_policy(plan.policy), plan.options, plan.history)
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
            pruner=self._pruner,
        )
        #: in the order of recall
        self.candidates: list[Candidate] = []
        #: numbers of the trials whose end Optuna knows
        self._told: set[int] = set()
        #: seconds after the selection's start at which the first epoch began
        self._begun = 0.0
        #: seconds that an epoch of these candidates took in the history; NaN: unknown
        self._per_epoch = _seconds_per_epoch(recall_result, plan.recipes)
        #: why it ended before the last stage; empty: it did not
        self.cut = ""

    def run(self) -> Candidate:
        """Train until one has won."""
        self._open()
        self._train()
        return self._finish()

    def open_runs(self) -> list[ActiveRun]:
        """Children that are still RUNNING."""
        return [c.run for c in self.candidates if not c.run.is_closed]

    def _open(self) -> None:
        """One child run and one trial for each candidate; the cohort is fixed."""
        for place, name in enumerate(self._recipes, start=1):
            member = self._recalled.context.members[name]
            run = self._job.writer.open_run(
                name,
                "candidate",
                {
                    tags.MODEL: name,
                    tags.MODEL_VERSION: member.version,
                    tags.FAMILY: member.family,
                    tags.DATASET: self._dataset.name,
                    tags.DIGEST: self._dataset.digest,
                    tags.MODALITY: member.modality,
                    tags.RECIPE: self._recipes[name].to_json(),
                    tags.EPOCHS: str(self._recipes[name].epochs),
                },
                parent=self._job.parent,
            )
            trial = self._study.ask()
            trial.set_user_attr(MODEL, name)
            candidate = Candidate(member, self._recipes[name], "", run, trial)
            self.candidates.append(candidate)
            run.log_params({"model": name, "dataset": self._dataset.name, "rank": place})
            run.log_params(self._recipes[name].__dict__, "recipe.")
            run.log_dataset_input(self._dataset, "target")
        numbers = [c.trial.number for c in self.candidates]
        self._study.set_user_attr(COHORT, numbers)
        for candidate in self.candidates:
            try:
                candidate.weights = self._job.services.registry.weights(candidate.member)
            except RecallError as error:
                self._fail(candidate, TaskError(str(error)))

    def _train(self) -> None:
        """Stage after stage until nobody has one left."""
        total = policies.scheduled_epochs("halving", len(self.candidates), self._stages)
        with self._voice.progress("fine-select", total) as bar:
            done = 0
            while waiting := [c for c in self._alive() if c.stage < self._stages]:
                waiting = self._within_budget(waiting)
                if not waiting:
                    break
                tasks = [self.task(c, c.stage + 1, c.stage + 1) for c in waiting]
                for progress in self._job.services.engine.stream(self._job.services.train, tasks):
                    candidate = waiting[progress.index]
                    if isinstance(progress.event, StageResult):
                        self._report_stage(candidate, progress.event)
                        done += 1
                        bar.advance(
                            now=f"{candidate.name}, stage {candidate.stage} of {self._stages}"
                        )
                    elif progress.error is not None:
                        self._fail(candidate, progress.error)
                if len(self._alive()) > 1 and self._alive()[0].stage < self._stages:
                    self._decide()
                if not self._alive():
                    self._revive()
                ahead = (self._stages - self._alive()[0].stage) * len(self._alive())
                bar.set_total(done + ahead)

    def _within_budget(self, waiting: list[Candidate]) -> list[Candidate]:
        """Those that may train one more stage; the others are out of the race."""
        budget, stage = self._job.config.budget, waiting[0].stage
        spent = sum(c.stage for c in self.candidates)
        elapsed = self._job.seconds
        if not spent:
            self._begun = elapsed
        many = budget.affordable_candidates(
            epochs=spent,
            seconds=elapsed,
            per_epoch=(elapsed - self._begun) / spent if spent else self._per_epoch,
            waiting=len(waiting),
            ahead=self._stages - stage - 1,
        )
        if not many:
            self.cut = f"the budget of {budget} ended after stage {stage} of {self._stages}"
            self._voice.warning(f"{self.cut}")
            return []
        best = sorted(waiting, key=lambda c: -c.scores[-1] if c.scores else 0.0)  # stable: recall
        for candidate in best[many:]:
            self._stop(
                candidate,
                f"after stage {stage}: the budget of {budget} leaves {many} of {len(waiting)}",
                best[many - 1].name,
                optuna.trial.TrialState.FAIL,  # to the pruner it drops out: no verdict waits for it
            )
        return [c for c in waiting if c in best[:many]]

    def task(self, candidate: Candidate, first: int, last: int) -> TrainTask:
        """Train a candidate from its checkpoint, stages ``first`` to ``last``."""
        return TrainTask(
            candidate.member,
            candidate.weights,
            self._dataset,
            candidate.recipe,
            first,
            last,
            candidate.checkpoint,
            str(self._job.folder / candidate.run.run_id),
        )

    def _alive(self) -> list[Candidate]:
        return [c for c in self.candidates if c.status == "running"]

    def _report_stage(self, candidate: Candidate, result: StageResult) -> None:
        candidate.scores.append(to_maximize(self._job.metric, result.validation[self._job.metric]))
        candidate.seconds += result.seconds
        candidate.checkpoint = result.checkpoint
        candidate.run.log_stage(result)
        if why := result.divergence((self._job.metric,)):
            self._fail(candidate, TaskError(why))
            return
        if candidate.trial.number not in self._told:
            candidate.trial.report(candidate.scores[-1], result.stage)

    def _decide(self) -> None:
        """Ask for everyone's verdict, then tell."""
        alive = self._alive()
        stage = alive[0].stage
        verdicts = self._pruner.verdicts(self._study, stage)
        for candidate in alive:
            self._foretell(candidate, verdicts[candidate.trial.number], stage)
        for candidate in alive:
            verdict = verdicts[candidate.trial.number]
            if verdict.stop:
                reason = f"after stage {stage}: {verdict.reason}"
                self._stop(candidate, reason, verdict.rival, optuna.trial.TrialState.PRUNED)

    def _stop(
        self, candidate: Candidate, reason: str, rival: str | None, state: optuna.trial.TrialState
    ) -> None:
        candidate.status, candidate.reason, candidate.rival = "stopped", reason, rival
        self._tell(candidate, state=state)
        candidate.run.set_tags({tags.STATUS: "stopped", **({tags.RIVAL: rival} if rival else {})})
        candidate.run.set_description(f"Stopped {reason}.")
        candidate.run.finish("KILLED", reason)

    def _tell(self, candidate: Candidate, value: float | None = None, **state: Any) -> None:
        """Tell Optuna how a trial ended, once."""
        if candidate.trial.number not in self._told:
            self._told.add(candidate.trial.number)
            self._study.tell(candidate.trial, value, **state)

    def _foretell(self, candidate: Candidate, verdict: Verdict, stage: int) -> None:
        if verdict.predicted is None:
            return
        end = to_maximize(self._job.metric, verdict.predicted)
        candidate.predicted.append((stage, end))
        candidate.run.log_metrics({"selection/predicted": end}, stage)

    def _fail(self, candidate: Candidate, error: TaskError) -> None:
        """One broken model never ends a selection."""
        candidate.status, candidate.reason = "failed", str(error)
        self._tell(candidate, state=optuna.trial.TrialState.FAIL)
        if error.traceback:
            candidate.run.log_text(error.traceback, "traceback.txt")
        candidate.run.set_tags({tags.STATUS: "failed"})
        candidate.run.finish("FAILED", str(error))
        self._voice.info(f"failed: {candidate.name}: {error}")

    def _revive(self) -> None:
        """Everyone who was left has failed: the best of the stopped takes their place."""
        stopped = [c for c in self.candidates if c.status == "stopped"]
        if not stopped:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in self.candidates)
            raise ConfigError(f"select: expected one model that trains, all failed: {reasons}")
        best = max(stopped, key=lambda c: (c.stage, c.scores[-1]))
        self._voice.warning(f"{best.name} is taken up again, since all others failed")
        best.status, best.reason, best.rival = "running", "taken up again", None
        best.run.reopen()  # its trial was told already; alone, it needs no verdict

    def _finish(self) -> Candidate:
        """Close the finalists; the best of them on validation has won."""
        finalists = self._alive()
        winner = max(finalists, key=lambda c: c.scores[-1])  # ties: the better recalled
        for candidate in finalists:
            candidate.status = "winner" if candidate is winner else "finalist"
            candidate.reason = (
                f"best of {len(self.candidates)} recalled models"
                + (f"; {self.cut}" if self.cut else "")
                if candidate is winner
                else f"trained to stage {candidate.stage} of {self._stages}, "
                f"{winner.name} ended higher"
            )
            self._tell(candidate, candidate.scores[-1])
            candidate.run.set_tags({tags.STATUS: candidate.status})
            if candidate is not winner:
                candidate.rival = winner.name
                candidate.run.set_tags({tags.RIVAL: winner.name})
                candidate.run.finish("FINISHED", candidate.reason)
        return winner


def _seconds_per_epoch(recall_result: RecallResult, names: Collection[str]) -> float:
    """Mean of what an epoch of these models took in the history; NaN where it was not recorded."""
    seconds = [
        second
        for record in recall_result.context.comparable.records
        if record.model in names
        for second in record.seconds
    ]
    return float(np.mean(seconds)) if seconds else math.nan
