"""Fine-tune models on benchmark datasets, each cell as one MLflow run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_recall.adapters.data.restore import dataset_tags
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, is_finished, is_running
from mlflow_recall.adapters.zoo import check_mode
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.recipes import FULL, Recipe, default_recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ConfigError, DatasetError, TaskError, ZooError
from mlflow_recall.ports import Bar, StageResult, TrainTask
from mlflow_recall.workflows.services import Services, match_names


@dataclass(kw_only=True)
class BenchmarkResult:
    """How the cells of a benchmark ended."""

    #: number of cells
    cells: int = 0
    #: titles of the cells that were trained now
    completed: list[str] = field(default_factory=list)
    #: number of cells that were finished before
    skipped: int = 0
    #: number of cells that another running process trains
    elsewhere: int = 0
    #: number of missing cells beyond the limit
    remaining: int = 0
    #: cell, model or dataset -> reason
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One model on one dataset by one recipe."""

    member: Member
    dataset: Dataset
    recipe: Recipe

    @property
    def key(self) -> str:
        """Digest of model version, dataset content and recipe, of sixteen characters."""
        parts = (self.member.name, self.member.version, self.dataset.digest, self.recipe.digest)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """Name of the cell for people."""
        return f"{self.member.name} on {self.dataset.name}"


def run_benchmark(config: BenchmarkConfig, services: Services) -> BenchmarkResult:
    """Fine-tune every cell that has no finished run yet.

    A broken model or dataset is a FAILED run; the other cells continue.

    Raises:
        ConfigError: No model or no dataset is left to train.
        ZooError: A package that the mode needs is not installed.
    """
    check_mode(str(config.recipe.get("mode", FULL)))
    members = match_names(services.registry.members(services.reporter.warning), config.models)
    members = [member for member in members if member.is_available]
    result = BenchmarkResult()
    writer = RunWriter(services.client, f"{services.namespace}/benchmark")
    try:
        datasets = list(_prepare_datasets(config, services, writer, result))
        cells = [
            Cell(member, dataset, resolve_recipe(member, config.recipe).for_task(dataset.task))
            for dataset in datasets
            for member in members
            if member.modality == dataset.modality
        ]
        if not cells and not result.failed:
            raise ConfigError(
                "benchmark: expected models of the datasets' modality in the registry, got none: "
                "register some with `mlflow-recall register`"
            )
        result.cells = len(cells)
        missing = _missing_cells(cells, writer, result)
        if config.limit is not None:
            result.remaining = max(0, len(missing) - config.limit)
            missing = missing[: config.limit]
        epochs = sum(cell.recipe.epochs for cell in missing)
        with services.reporter.progress(
            f"benchmark {count_of(len(missing), 'cell')}", epochs
        ) as bar:
            _Training(config, services, writer, result, bar).run(missing)
    finally:
        writer.close()
    return result


def resolve_recipe(member: Member, changes: Mapping[str, object]) -> Recipe:
    """Return the recipe of a model: its family's default, its own changes, then ``changes``.

    The mode among them decides which default.
    """
    mode = str({**member.recipe, **changes}.get("mode", FULL))
    family = default_recipe(member.modality, member.family, member.arch, mode=mode)
    return family.with_changes(member.recipe, member.name).with_changes(changes, "options")


def _prepare_datasets(
    config: BenchmarkConfig, services: Services, writer: RunWriter, result: BenchmarkResult
) -> Iterator[Dataset]:
    if not config.datasets:
        raise ConfigError("benchmark: expected at least one dataset, got none")
    if len(config.datasets) == 1:  # nothing is left without it: its error ends the command
        yield services.load_dataset(config.datasets[0])
        return
    with services.reporter.progress("prepare datasets", len(config.datasets)) as bar:
        for spec in config.datasets:
            try:
                yield services.load_dataset(spec)
            except DatasetError as error:
                run = writer.open_run(spec.title, "benchmark", {tags.DATASET: spec.title})
                run.finish("FAILED", str(error))
                result.failed[spec.title] = str(error)
                services.reporter.warning(f"failed: {error}")
            bar.advance(status=spec.title)


def _missing_cells(cells: Sequence[Cell], writer: RunWriter, result: BenchmarkResult) -> list[Cell]:
    """Return the cells to train, and count the others."""
    runs_by_cell = writer.runs_by_cell()
    missing = []
    for cell in cells:
        runs = runs_by_cell.get(cell.key, [])
        if any(map(is_finished, runs)):
            result.skipped += 1
        elif any(map(is_running, runs)):
            result.elsewhere += 1
        else:
            missing.append(cell)
    # cells that failed before come last, so that a limit gets beyond them
    return sorted(missing, key=lambda cell: bool(runs_by_cell.get(cell.key)))


class _Training:
    """The training of missing cells by the engine."""

    def __init__(
        self,
        config: BenchmarkConfig,
        services: Services,
        writer: RunWriter,
        result: BenchmarkResult,
        bar: Bar,
    ) -> None:
        self._config = config
        self._services = services
        self._writer = writer
        self._result = result
        self._bar = bar
        #: cells and runs in the order of their tasks
        self._running: list[tuple[Cell, ActiveRun]] = []

    def run(self, cells: Sequence[Cell]) -> None:
        """Train the cells, and close every run that is still open at an error."""
        services = self._services
        try:
            for progress in services.engine.stream(services.train, self._tasks(cells)):
                cell, run = self._running[progress.index]
                if run.is_closed:  # it diverged: later stages are worth nothing
                    continue
                if isinstance(progress.event, StageResult):
                    self._report_stage(cell, run, progress.event)
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

    def _tasks(self, cells: Sequence[Cell]) -> Iterator[TrainTask]:
        """Claim a cell and resolve its weights whenever a worker is free."""
        for cell in cells:
            run = self._open_run(cell)
            if self._writer.oldest_claim(cell.key) != run.run_id:
                self._writer.withdraw(run)
                self._result.elsewhere += 1
                self._bar.advance(cell.recipe.epochs)
                continue
            run.log_params({"model": cell.member.name, "dataset": cell.dataset.name})
            run.log_params(cell.recipe.__dict__, "recipe.")
            run.log_dataset_input(cell.dataset, "benchmark")
            try:
                weights = self._services.registry.weights(cell.member)
            except ZooError as error:
                self._fail(cell, run, TaskError(str(error)))
                continue
            self._running.append((cell, run))
            yield TrainTask(
                member=cell.member,
                weights=weights,
                dataset=cell.dataset,
                recipe=cell.recipe,
                last=cell.recipe.epochs,
                test=self._config.test,
            )

    def _open_run(self, cell: Cell) -> ActiveRun:
        return self._writer.open_run(
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

    def _report_stage(self, cell: Cell, run: ActiveRun, result: StageResult) -> None:
        run.log_stage(result)
        self._bar.advance(status=f"{cell.title}, epoch {result.stage}")
        if divergence := result.divergence():
            self._fail(cell, run, TaskError(divergence))

    def _fail(self, cell: Cell, run: ActiveRun, error: TaskError) -> None:
        run.finish_with_error(error)
        self._result.failed[cell.title] = str(error)
        self._bar.advance(cell.recipe.epochs - run.logged_stages)
        self._services.reporter.warning(f"failed: {cell.title}: {error}")
