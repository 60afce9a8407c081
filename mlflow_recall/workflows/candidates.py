"""A candidate of a selection: its child run, its scores, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.core.history.recipes import Recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.core.policies import Verdict
from mlflow_recall.errors import TaskError
from mlflow_recall.ports import StageResult
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.selection_job import SelectionJob


@dataclass(kw_only=True)
class Candidate:
    """A recalled model, and how far its fine-tuning has come."""

    member: Member
    recipe: Recipe
    run: ActiveRun
    #: folder with its weights; None: they could not be resolved
    weights: str | None = None
    #: validation score of every stage so far, higher is better
    scores: list[float] = field(default_factory=list)
    #: last validation scores with other seeds
    seed_scores: list[float] = field(default_factory=list)
    #: epochs of those trainings
    seed_epochs: int = 0
    seconds: float = 0.0
    #: checkpoint of the last stage; None: not trained yet
    checkpoint: str | None = None
    status: Literal["running", "winner", "finalist", "stopped", "failed"] = "running"
    #: why it has that status
    reason: str = ""
    #: the candidate that it was stopped for, or that won; None without one
    rival: str | None = None
    #: (stage, predicted final score in the metric's own direction)
    predictions: list[tuple[int, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.member.name

    @property
    def stage(self) -> int:
        """Number of stages so far."""
        return len(self.scores)

    @property
    def epochs(self) -> int:
        """Number of epochs so far, with all seeds."""
        return self.stage + self.seed_epochs

    @property
    def final_scores(self) -> tuple[float, ...]:
        """Last validation score with each seed, its own first; none before the first stage."""
        return (*self.scores[-1:], *self.seed_scores)

    @property
    def mean_score(self) -> float:
        """Mean over seeds of the last validation score."""
        return fmean(self.final_scores)

    def add_stage(self, result: StageResult, metric: str) -> None:
        """Record the result of one more stage, here and in the run."""
        self.scores.append(to_maximize(metric, result.validation[metric]))
        self.seconds += result.seconds
        self.checkpoint = result.checkpoint
        self.run.log_stage(result)

    def add_prediction(self, verdict: Verdict, metric: str) -> None:
        """Record the predicted final score of a verdict, if it has one."""
        if verdict.predicted is not None:
            predicted = to_maximize(metric, verdict.predicted)
            self.predictions.append((self.stage, predicted))
            self.run.log_metrics({"selection/predicted": predicted}, self.stage)

    def stop(self, reason: str, rival: str | None) -> None:
        """End it before the last stage."""
        self._set_status("stopped", f"after stage {self.stage}: {reason}", rival)
        self.run.set_description(f"Stopped {escape_markdown(self.reason)}.")
        self.run.finish("KILLED", self.reason)

    def fail(self, error: TaskError) -> None:
        """End it because of an error."""
        self._set_status("failed", str(error))
        self.run.finish_with_error(error)

    def resume(self) -> None:
        """Let a stopped candidate run again."""
        self.status, self.reason, self.rival = "running", "resumed", None
        self.run.reopen()

    def win(self, reason: str) -> None:
        """Make it the winner; its run stays open for the test."""
        self._set_status("winner", reason)

    def lose(self, winner: Candidate, stages: int) -> None:
        """End it as a finalist that another candidate beats."""
        what = f"mean over {len(self.final_scores)} seeds" if self.seed_scores else "score"
        comparison = f"has a higher {what}"
        if winner.mean_score == self.mean_score:
            comparison = f"has the same {what}, and was recalled before it"
        reason = f"trained to stage {self.stage} of {stages}, {winner.name} {comparison}"
        self._set_status("finalist", reason, winner.name)
        self.run.finish("FINISHED", reason)

    def _set_status(
        self,
        status: Literal["winner", "finalist", "stopped", "failed"],
        reason: str,
        rival: str | None = None,
    ) -> None:
        self.status, self.reason, self.rival = status, reason, rival
        self.run.set_tags({tags.STATUS: status, **({tags.RIVAL: rival} if rival else {})})


def open_candidates(
    job: SelectionJob, dataset: Dataset, members: Sequence[Member], recipes: Sequence[Recipe]
) -> list[Candidate]:
    """Open a child run for each candidate, in the order of recall."""
    candidates = []
    for rank, (member, recipe) in enumerate(zip(members, recipes, strict=True), start=1):
        run = job.writer.open_run(
            member.name,
            "candidate",
            {
                tags.MODEL: member.name,
                tags.MODEL_VERSION: member.version,
                tags.FAMILY: member.family,
                tags.DATASET: dataset.name,
                tags.TASK: dataset.task,
                tags.METRIC: job.metric,
                tags.DIGEST: dataset.digest,
                tags.MODALITY: member.modality,
                tags.RECIPE: recipe.to_json(),
                tags.EPOCHS: str(recipe.epochs),
            },
            parent=job.parent,
        )
        candidates.append(Candidate(member=member, recipe=recipe, run=run))
        run.log_params({"model": member.name, "dataset": dataset.name, "rank": rank})
        run.log_params(recipe.__dict__, "recipe.")
        run.log_dataset_input(dataset, "target")
    return candidates
