"""What becomes of a winner: one look at the test split, all samples, the registry."""

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
from mlflow_recall.workflows.selection import Candidate, FinalModel, SelectionJob


def test_winner(job: SelectionJob, winner: Candidate, task: TrainTask) -> Mapping[str, float]:
    """The winner's test score: the only look at the test split."""
    (result,) = _streamed(job, replace(task, test="last"), winner.name)
    winner.run.log_metrics({f"test/{name}": value for name, value in result.test.items()})
    winner.run.finish("FINISHED", winner.reason)
    return result.test


def retrain_on_all(
    job: SelectionJob, winner: Candidate, dataset: Dataset, stages: int, *, cut: bool
) -> FinalModel:
    """The winner once more on all training samples, where that is more than it has seen.

    A failure there loses nothing: the winner as it won is registered.
    """
    seen, there = winner.recipe.train_samples, dataset.sizes["train"]
    same = FinalModel(winner.checkpoint, winner.run)
    if job.config.final == "same" or cut:
        return same
    if job.config.final == "auto" and (job.config.budget.is_limited or not 0 < seen < there):
        return same
    run = job.writer.open_run(
        f"{winner.name} on all {there} samples",
        "final",
        {tags.MODEL: winner.name, tags.DATASET: dataset.name, tags.STATUS: "final"},
        parent=job.parent,
    )
    try:
        final = _trained(job, winner, dataset, stages, run)
    except TaskError as error:
        run.finish_with_error(error)
        job.services.reporter.warning(f"not trained on all samples: {error}")
        return same
    except BaseException as error:
        run.finish_with_error(error)
        raise
    run.finish("FINISHED", f"the winner, trained on all {there} samples")
    return final


def _trained(
    job: SelectionJob, winner: Candidate, dataset: Dataset, stages: int, run: ActiveRun
) -> FinalModel:
    recipe = replace(winner.recipe, train_samples=0)
    run.log_params(recipe.__dict__, "recipe.")
    workspace = str(job.folder / run.run_id)
    task = TrainTask(
        winner.member, winner.weights, dataset, recipe, 1, stages, "", workspace, test="last"
    )
    final = FinalModel("", run)
    with job.services.reporter.progress(f"train {winner.name} on all samples", stages) as bar:
        for result in _streamed(job, task, winner.name):
            run.log_stage(result)
            final = FinalModel(result.checkpoint, run, result.stage, dict(result.test))
            bar.advance(now=f"epoch {result.stage} of {stages}")
    return final


def register_winner(
    job: SelectionJob,
    registry: MlflowRegistry,
    winner: Candidate,
    dataset: Dataset,
    final: FinalModel,
    cut: str,
) -> dict[str, str]:
    """Name, version and alias under which the winner can be loaded and served from now on."""
    name = job.config.register_as or dataset.name
    name = name.replace("/", "--").replace(":", "--")
    folder = job.folder / "servable"
    save_servable(folder, Path(final.checkpoint), winner.member, dataset)
    version = registry.register_winner(
        name,
        folder,
        winner.member,
        run_id=final.run.run_id,
        parent_id=job.parent.run_id,
        experiment_id=job.parent.experiment_id,
        alias=job.config.alias,
        cut=cut,
    )
    return {"name": name, "version": str(version.version), "alias": job.config.alias}


def _streamed(job: SelectionJob, task: TrainTask, name: str) -> Iterator[StageResult]:
    """Results of one task as they come.

    Raises:
        TaskError: it failed.
    """
    for progress in job.services.engine.stream(job.services.train, [task]):
        if progress.error is not None:
            raise TaskError(f"{name}: {progress.error}", progress.error.traceback)
        if isinstance(progress.event, StageResult):
            yield progress.event
