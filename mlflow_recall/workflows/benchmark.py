"""Models x datasets -> one MLflow run a cell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlflow_recall.adapters.data.restore import dataset_tags
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, is_finished, is_running
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.history.recipes import Recipe, default_recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ConfigError, DatasetError, TaskError, ZooError
from mlflow_recall.ports import Bar, StageResult, TrainTask
from mlflow_recall.workflows.services import Services, match_names


@dataclass
class BenchmarkResult:
    """What a benchmark did with its cells."""

    cells: int = 0
    skipped: int = 0
    completed: list[str] = field(default_factory=list)
    #: cells that another living process is at work on
    elsewhere: int = 0
    #: missing cells that the limit left for another time
    remaining: int = 0
    #: cell, model or dataset -> why
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One fine-tuning that the matrix wants."""

    member: Member
    dataset: Dataset
    recipe: Recipe

    @property
    def key(self) -> str:
        """Model version, dataset content and recipe, as sixteen characters."""
        parts = (self.member.name, self.member.version, self.dataset.digest, self.recipe.digest)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.member.name} on {self.dataset.name}"


def run_benchmark(config: BenchmarkConfig, services: Services) -> BenchmarkResult:
    """Fine-tune every cell that no finished run has yet.

    One broken model or dataset is one FAILED run, not the end of the job.

    Raises:
        SettingError: no model or no dataset is left to work on.
    """
    members = match_names(services.registry.members(services.reporter.info), config.models)
    members = [member for member in members if member.is_available]
    result = BenchmarkResult()
    writer = RunWriter(services.client, f"{services.namespace}/benchmark")
    try:
        datasets = list(_prepared(config, services, writer, result))
        cells = [
            Cell(member, dataset, resolve_recipe(member, config.recipe))
            for dataset in datasets
            for member in members
            if member.modality == dataset.modality
        ]
        if not cells and not result.failed:
            raise ConfigError(
                "benchmark: expected models of the datasets' modality in the registry, got none: "
                "register some with `mlflow-recall register`"
            )
        known = writer.runs_by_cell()
        missing = []
        for cell in cells:
            runs = known.get(cell.key, [])
            if any(map(is_finished, runs)):
                result.skipped += 1
            elif any(map(is_running, runs)):
                result.elsewhere += 1
            else:
                missing.append(cell)
        # what failed before waits for its turn, lest a limit never gets beyond it
        missing.sort(key=lambda cell: bool(known.get(cell.key)))
        result.cells = len(cells)
        if config.limit:
            result.remaining = max(0, len(missing) - config.limit)
            missing = missing[: config.limit]
        total = sum(cell.recipe.epochs for cell in missing)
        with services.reporter.progress(f"benchmark {len(missing)} cells", total) as bar:
            _Job(config, services, writer, result, bar).run(missing)
    finally:
        writer.close()
    return result


def resolve_recipe(member: Member, changes: Mapping[str, object]) -> Recipe:
    """The family's default, altered by the member's own and then by the command's wishes."""
    family = default_recipe(member.modality, member.family, member.arch)
    return family.with_changes(member.recipe, member.name).with_changes(changes, "options")


def _prepared(
    config: BenchmarkConfig, services: Services, writer: RunWriter, result: BenchmarkResult
) -> Iterator[Dataset]:
    if not config.datasets:
        raise ConfigError("benchmark: expected at least one dataset, got none")
    if len(config.datasets) == 1:  # without it there is no job: its error is the command's
        yield services.prepare(config.datasets[0])
        return
    with services.reporter.progress("prepare datasets", len(config.datasets)) as bar:
        for spec in config.datasets:
            try:
                yield services.prepare(spec)
            except DatasetError as error:
                run = writer.open_run(spec.title, "benchmark", {tags.DATASET: spec.title})
                run.finish("FAILED", str(error))
                result.failed[spec.title] = str(error)
                services.reporter.info(f"failed: {error}")
            bar.advance(now=spec.title)


class _Job:
    """The cells on their way through the engine."""

    def __init__(
        self,
        config: BenchmarkConfig,
        services: Services,
        writer: RunWriter,
        result: BenchmarkResult,
        bar: Bar,
    ) -> None:
        self._test: Literal["last", "each"] = config.test
        self._bench = services
        self._ledger = writer
        self._result = result
        self._bar = bar
        self._running: list[tuple[Cell, ActiveRun]] = []
        self._at = 0

    def run(self, cells: list[Cell]) -> None:
        try:
            for progress in self._bench.engine.stream(self._bench.train, self._tasks(cells)):
                cell, run = self._running[progress.index]
                if run.is_closed:  # it diverged; what comes after that is worth nothing
                    continue
                if isinstance(progress.event, StageResult):
                    self._stage(cell, run, progress.event)
                elif progress.error is not None:
                    self._fail(cell, run, progress.error)
                elif progress.done:
                    run.finish("FINISHED")
                    self._result.completed.append(cell.title)
        except BaseException as error:
            for _, run in self._running:
                if not run.is_closed:
                    run.finish_with_error(error)
            raise

    def _tasks(self, cells: list[Cell]) -> Iterator[TrainTask]:
        """Claim a cell and resolve its weights when a worker is free for it."""
        for cell in cells:
            run = self._ledger.open_run(
                cell.title,
                "benchmark",
                {
                    tags.CELL: cell.key,
                    tags.MODEL: cell.member.name,
                    tags.MODEL_VERSION: cell.member.version,
                    tags.DATASET: cell.dataset.name,
                    tags.DIGEST: cell.dataset.digest,
                    **dataset_tags(cell.dataset),
                    tags.MODALITY: cell.dataset.modality,
                    tags.FAMILY: cell.member.family,
                    tags.RECIPE: cell.recipe.to_json(),
                    tags.EPOCHS: str(cell.recipe.epochs),
                },
            )
            if self._ledger.oldest_claim(cell.key) != run.run_id:
                self._ledger.withdraw(run)
                self._result.elsewhere += 1
                self._bar.advance(cell.recipe.epochs)
                continue
            run.log_params({"model": cell.member.name, "dataset": cell.dataset.name})
            run.log_params(cell.recipe.__dict__, "recipe.")
            run.log_dataset_input(cell.dataset, "benchmark")
            try:
                weights = self._bench.registry.weights(cell.member)
            except ZooError as error:
                self._fail(cell, run, TaskError(str(error)))
                continue
            self._running.append((cell, run))
            yield TrainTask(
                cell.member,
                weights,
                cell.dataset,
                cell.recipe,
                last=cell.recipe.epochs,
                test=self._test,
            )

    def _stage(self, cell: Cell, run: ActiveRun, event: StageResult) -> None:
        run.log_stage(event)
        self._bar.advance(now=f"{cell.title}, epoch {event.stage}")
        if why := event.divergence():
            self._fail(cell, run, TaskError(why))

    def _fail(self, cell: Cell, run: ActiveRun, error: TaskError) -> None:
        if error.traceback:
            run.log_text(error.traceback, "traceback.txt")
        run.finish("FAILED", str(error))
        self._result.failed[cell.title] = str(error)
        self._bar.advance(cell.recipe.epochs - run.logged_stages)
        self._bench.reporter.info(f"failed: {cell.title}: {error}")
