"""The candidates of a selection are trained stage by stage until one has won."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlflow_recall.adapters.optuna.cohort_study import CohortStudy
from mlflow_recall.adapters.optuna.pruner import CohortPruner
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import ConfigError, RecallError, TaskError
from mlflow_recall.ports import Bar, StageResult, TrainTask
from mlflow_recall.workflows.candidates import Candidate, open_candidates
from mlflow_recall.workflows.context import SelectionContext
from mlflow_recall.workflows.race_plan import RacePlan
from mlflow_recall.workflows.seeds import train_seeds
from mlflow_recall.workflows.selection_job import SelectionJob


class Race:
    """One race: train a stage, decide who goes on, until the last stage.

    Args:
        job: The selection.
        context: The zoo and its history.
        dataset: The target.
        plan: Candidates, recipes and policy.
    """

    def __init__(
        self, job: SelectionJob, context: SelectionContext, dataset: Dataset, plan: RacePlan
    ) -> None:
        self._job = job
        self._reporter = job.services.reporter
        self._dataset = dataset
        self._plan = plan
        self._budget = _BudgetClock(job, _seconds_per_epoch(context, list(plan.recipes)))
        pruner = CohortPruner(plan.spec.decide, plan.options, plan.history)
        self._study = CohortStudy(list(plan.recipes), pruner)
        #: in the order of recall
        self.candidates = open_candidates(
            job,
            dataset,
            [context.members[name] for name in plan.recipes],
            list(plan.recipes.values()),
        )
        #: why the race ended before the last stage; None: it did not
        self.budget_stop: str | None = None

    def run(self) -> Candidate:
        """Train until one candidate has won, and return it.

        Raises:
            ConfigError: Every candidate failed.
        """
        self._load_weights()
        stages = self._plan.stages
        planned = self._plan.spec.max_epochs(len(self.candidates), stages)
        with self._reporter.progress("fine-select", planned) as bar:
            trained = 0
            while waiting := [c for c in self._active() if c.stage < stages]:
                waiting = self._within_budget(waiting)
                if not waiting:
                    break
                trained += self._train_stage(waiting, bar)
                active = self._active()
                if len(active) > 1 and active[0].stage < stages:
                    self._decide(active)
                active = self._active() or [self._resume_best()]
                bar.set_total(trained + (stages - active[0].stage) * len(active))
        return self._finish()

    def task(self, candidate: Candidate, first: int, last: int) -> TrainTask:
        """Return the task that trains a candidate from its checkpoint, stages first to last."""
        return TrainTask(
            member=candidate.member,
            weights=candidate.weights or "",
            dataset=self._dataset,
            recipe=candidate.recipe,
            first=first,
            last=last,
            checkpoint=candidate.checkpoint,
            workspace=str(self._job.folder / candidate.run.run_id),
        )

    def _load_weights(self) -> None:
        for candidate in self.candidates:
            try:
                candidate.weights = self._job.services.registry.weights(candidate.member)
            except RecallError as error:
                self._fail(candidate, TaskError(str(error)))

    def _active(self) -> list[Candidate]:
        return [c for c in self.candidates if c.status == "running"]

    def _train_stage(self, waiting: Sequence[Candidate], bar: Bar) -> int:
        """Train one more stage of each candidate; return the number of stages that ended."""
        services, trained = self._job.services, 0
        tasks = [self.task(c, c.stage + 1, c.stage + 1) for c in waiting]
        for progress in services.engine.stream(services.train, tasks):
            candidate = waiting[progress.index]
            if isinstance(progress.event, StageResult):
                self._report_stage(candidate, progress.event)
                trained += 1
                bar.advance(
                    status=f"{candidate.name}, stage {candidate.stage} of {self._plan.stages}"
                )
            elif progress.error is not None:
                self._fail(candidate, progress.error)
        return trained

    def _report_stage(self, candidate: Candidate, result: StageResult) -> None:
        candidate.add_stage(result, self._job.metric)
        if divergence := result.divergence((self._job.metric,)):
            self._fail(candidate, TaskError(divergence))
        else:
            self._study.report(candidate.name, candidate.scores[-1], result.stage)

    def _decide(self, active: Sequence[Candidate]) -> None:
        """Ask for all verdicts of a stage, then stop candidates."""
        verdicts = self._study.verdicts(active[0].stage)
        for candidate in active:
            candidate.add_prediction(verdicts[candidate.name], self._job.metric)
        for candidate in active:
            verdict = verdicts[candidate.name]
            if verdict.stop:
                self._study.prune(candidate.name)
                candidate.stop(verdict.reason, verdict.rival)

    def _within_budget(self, waiting: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates that may train one more stage, and stop the others."""
        budget, stage = self._job.config.budget, waiting[0].stage
        affordable = self._budget.affordable_candidates(
            trained=sum(c.stage for c in self.candidates),
            waiting=len(waiting),
            later_stages=self._plan.stages - stage - 1,
        )
        if not affordable:
            self.budget_stop = (
                f"the budget of {budget} ended after stage {stage} of {self._plan.stages}"
            )
            self._reporter.warning(self.budget_stop)
            return []
        # a stable sort: in doubt the order of recall
        best = sorted(waiting, key=lambda c: -c.scores[-1] if c.scores else 0.0)
        for candidate in best[affordable:]:
            reason = f"the budget of {budget} leaves {affordable} of {len(waiting)}"
            self._study.fail(candidate.name)  # so that no verdict waits for it
            candidate.stop(reason, best[affordable - 1].name)
        return [c for c in waiting if c in best[:affordable]]

    def _fail(self, candidate: Candidate, error: TaskError) -> None:
        """End a candidate because of an error; the others continue."""
        self._study.fail(candidate.name)
        candidate.fail(error)
        self._reporter.warning(f"failed: {candidate.name}: {error}")

    def _resume_best(self) -> Candidate:
        """Resume the best of the stopped candidates, since all others failed.

        It is alone from then on, so it needs no verdict.
        """
        stopped = [c for c in self.candidates if c.status == "stopped"]
        if not stopped:
            reasons = "; ".join(f"{c.name}: {c.reason}" for c in self.candidates)
            raise ConfigError(f"select: expected one model that trains, all failed: {reasons}")
        best = max(stopped, key=lambda c: (c.stage, c.scores[-1]))
        self._reporter.warning(f"{best.name} is resumed, since all others failed")
        best.resume()
        return best

    def _finish(self) -> Candidate:
        """End all finalists; the best of them on validation wins, in doubt the better recalled.

        With several seeds it is the one with the best mean.
        """
        finalists = self._active()
        if self._job.config.seeds > 1:
            train_seeds(self._job, finalists, lambda c: self.task(c, 1, self._plan.stages))
        winner = max(finalists, key=lambda c: c.mean_score)
        for candidate in finalists:
            self._study.complete(candidate.name, candidate.scores[-1])
            if candidate is not winner:
                candidate.lose(winner, self._plan.stages)
        reason = f"best of {len(self.candidates)} recalled models"
        if winner.seed_scores:
            reason += f" by the mean over {len(winner.final_scores)} seeds"
        winner.win(f"{reason}; {self.budget_stop}" if self.budget_stop else reason)
        return winner


class _BudgetClock:
    """The budget of a selection, and what an epoch takes.

    Before the first epoch that is known from the history, afterwards it is measured.
    """

    def __init__(self, job: SelectionJob, seconds_per_epoch: float) -> None:
        self._job = job
        self._recorded = seconds_per_epoch
        self._training_started = 0.0

    def affordable_candidates(self, *, trained: int, waiting: int, later_stages: int) -> int:
        """Return how many candidates may train one more stage after ``trained`` epochs."""
        elapsed = self._job.seconds
        if not trained:
            self._training_started = elapsed
        return self._job.config.budget.affordable_candidates(
            spent_epochs=trained,
            spent_seconds=elapsed,
            seconds_per_epoch=(elapsed - self._training_started) / trained
            if trained
            else self._recorded,
            waiting=waiting,
            later_stages=later_stages,
        )


def _seconds_per_epoch(context: SelectionContext, models: Sequence[str]) -> float:
    """Return the mean recorded seconds of an epoch of these models; NaN where there are none."""
    seconds = [
        second
        for record in context.comparable.records
        if record.model in models
        for second in record.seconds
    ]
    return float(np.mean(seconds)) if seconds else math.nan
