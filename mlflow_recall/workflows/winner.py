"""The winner of a selection: its test, its training on all samples, its registration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.registry import MlflowRegistry
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.adapters.zoo.serving import save_servable
from mlflow_recall.core.history.records import Dataset
from mlflow_recall.errors import TaskError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.candidates import Candidate
from mlflow_recall.workflows.selection import FinalModel, RegisteredModel
from mlflow_recall.workflows.selection_job import SelectionJob


def evaluate_winner(job: SelectionJob, winner: Candidate, task: TrainTask) -> Mapping[str, float]:
    """Return the winner's test scores; the test split is evaluated here alone.

    From here on its checkpoint is the whole model, whatever the stages kept of it.
    """
    (result,) = _train(job, replace(task, test="last"), winner.name)
    winner.checkpoint = result.checkpoint
    winner.run.log_metrics({f"test/{name}": value for name, value in result.test.items()})
    winner.run.finish("FINISHED", winner.reason)
    return result.test


def retrain_on_all(
    job: SelectionJob, winner: Candidate, dataset: Dataset, *, has_budget_stop: bool
) -> FinalModel:
    """Train the winner once more on all training samples, if there are more than it was trained on.

    If that fails, the winner as it won is registered.
    """
    used, available = winner.recipe.train_samples, dataset.sizes["train"]
    same = FinalModel(winner.checkpoint or "", winner.run)
    if job.config.final == "same" or has_budget_stop:
        return same
    if job.config.final == "auto" and (job.config.budget.is_limited or not 0 < used < available):
        return same
    run = job.writer.open_run(
        f"{winner.name} on all {available} samples",
        "final",
        {tags.MODEL: winner.name, tags.DATASET: dataset.name, tags.STATUS: "final"},
        parent=job.parent,
    )
    try:
        final = _train_on_all(job, winner, dataset, run)
    except TaskError as error:
        run.finish_with_error(error)
        job.services.reporter.warning(f"not trained on all samples: {error}")
        return replace(same, error=str(error))
    except BaseException as error:
        run.finish_with_error(error)
        raise
    run.finish("FINISHED", f"the winner, trained on all {available} samples")
    return final


def _train_on_all(
    job: SelectionJob, winner: Candidate, dataset: Dataset, run: ActiveRun
) -> FinalModel:
    recipe = replace(winner.recipe, train_samples=0)
    run.log_params(recipe.__dict__, "recipe.")
    task = TrainTask(
        member=winner.member,
        weights=winner.weights or "",
        dataset=dataset,
        recipe=recipe,
        last=recipe.epochs,
        workspace=str(job.folder / run.run_id),
        test="last",
    )
    final = FinalModel("", run)
    title = f"train {winner.name} on all samples"
    with job.services.reporter.progress(title, recipe.epochs) as bar:
        for result in _train(job, task, winner.name):
            run.log_stage(result)
            final = FinalModel(result.checkpoint or "", run, result.stage, dict(result.test))
            bar.advance(status=f"epoch {result.stage} of {recipe.epochs}")
    return final


def register_winner(
    job: SelectionJob,
    registry: MlflowRegistry,
    winner: Candidate,
    dataset: Dataset,
    final: FinalModel,
    budget_stop: str | None,
) -> RegisteredModel:
    """Register the winner with an alias, so that it can be loaded and served."""
    name = job.config.register_as or dataset.name
    name = name.replace("/", "--").replace(":", "--")
    folder = job.folder / "servable"
    save_servable(folder, Path(final.checkpoint), winner.member, dataset)
    version = registry.register_winner(
        name,
        folder,
        winner.member,
        dataset,
        run_id=final.run.run_id,
        parent_id=job.parent.run_id,
        experiment_id=job.parent.experiment_id,
        alias=job.config.alias,
        budget_stop=budget_stop,
    )
    return RegisteredModel(name, str(version.version), job.config.alias)


def _train(job: SelectionJob, task: TrainTask, name: str) -> Iterator[StageResult]:
    """Yield the results of one task as they come.

    Raises:
        TaskError: The task failed.
    """
    for progress in job.services.engine.stream(job.services.train, [task]):
        if progress.error is not None:
            raise TaskError(f"{name}: {progress.error}", progress.error.traceback)
        if isinstance(progress.event, StageResult):
            yield progress.event
