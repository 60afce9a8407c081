"""The finalists of a selection, trained again with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.metrics import to_maximize
from mlflow_recall.errors import TaskError
from mlflow_recall.ports import StageResult, TrainTask
from mlflow_recall.workflows.candidates import Candidate
from mlflow_recall.workflows.selection_job import SelectionJob


@dataclass(kw_only=True)
class _Repeat:
    """One training of a finalist with another seed."""

    candidate: Candidate
    task: TrainTask
    run: ActiveRun
    #: last validation score, higher is better; None: no stage has ended
    score: float | None = None


def train_seeds(
    job: SelectionJob, finalists: Sequence[Candidate], task_of: Callable[[Candidate], TrainTask]
) -> None:
    """Train every finalist with all seeds but its own, each as a child run of the selection.

    A seed that fails is left out and said.

    Args:
        job: The selection, whose settings say how many seeds.
        finalists: Candidates that were trained to the last stage; their last scores with other
            seeds are added to them.
        task_of: Candidate -> the task that trains it from its first stage to its last.
    """
    repeats: list[_Repeat] = []
    last = sum(candidate.recipe.epochs for candidate in finalists) * (job.config.seeds - 1)
    title = f"train {count_of(len(finalists), 'finalist')} with other seeds"
    try:
        with job.services.reporter.progress(title, last) as bar:
            tasks = _tasks(job, finalists, task_of, repeats)
            for progress in job.services.engine.stream(job.services.train, tasks):
                repeat = repeats[progress.index]
                if repeat.run.is_closed:  # it diverged
                    continue
                if isinstance(progress.event, StageResult):
                    bar.advance(status=f"{_title(repeat)}, stage {progress.event.stage}")
                    _report_stage(job, repeat, progress.event)
                elif progress.error is not None:
                    _fail(job, repeat, progress.error)
                elif progress.done and repeat.score is not None:
                    repeat.candidate.seed_scores.append(repeat.score)
                    repeat.run.finish("FINISHED")
    except BaseException as error:
        for repeat in repeats:
            if not repeat.run.is_closed:
                repeat.run.finish_with_error(error)
        raise


def _tasks(
    job: SelectionJob,
    finalists: Sequence[Candidate],
    task_of: Callable[[Candidate], TrainTask],
    repeats: list[_Repeat],
) -> Iterator[TrainTask]:
    """Yield the tasks, and open the run of each whenever a worker is free."""
    for candidate in finalists:
        for number in range(1, job.config.seeds):
            recipe = replace(candidate.recipe, seed=candidate.recipe.seed + number)
            task = replace(task_of(candidate), recipe=recipe, checkpoint=None, workspace=None)
            run = job.writer.open_run(
                f"{candidate.name}, seed {recipe.seed}",
                "repeat",
                {
                    tags.MODEL: candidate.name,
                    tags.DATASET: task.dataset.name,
                    tags.RECIPE: recipe.to_json(),
                    tags.STATUS: "repeat",
                },
                parent=job.parent,
            )
            run.log_params(recipe.__dict__, "recipe.")
            repeats.append(_Repeat(candidate=candidate, task=task, run=run))
            yield task


def _report_stage(job: SelectionJob, repeat: _Repeat, result: StageResult) -> None:
    repeat.run.log_stage(result)
    repeat.candidate.seconds += result.seconds
    repeat.candidate.seed_epochs += 1
    if divergence := result.divergence((job.metric,)):
        _fail(job, repeat, TaskError(divergence))
    else:
        repeat.score = to_maximize(job.metric, result.validation[job.metric])


def _fail(job: SelectionJob, repeat: _Repeat, error: TaskError) -> None:
    repeat.run.finish_with_error(error)
    job.services.reporter.warning(f"left out: {_title(repeat)}: {error}")


def _title(repeat: _Repeat) -> str:
    return f"{repeat.candidate.name} with seed {repeat.task.recipe.seed}"
