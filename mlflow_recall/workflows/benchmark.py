"""Fine-tune models on benchmark datasets, each cell as one MLflow run."""

from __future__ import annotations

import hashlib
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_recall.adapters.data.restore import dataset_tags
from mlflow_recall.adapters.tracking import ownership, tags
from mlflow_recall.adapters.tracking.claims import CellState, Claims
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter
from mlflow_recall.adapters.zoo import check_mode
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.recipes import FULL, Recipe, default_recipe
from mlflow_recall.core.history.records import Dataset, Member
from mlflow_recall.errors import ConfigError, DatasetError, TaskError, ZooError
from mlflow_recall.ports import Bar, StageResult, TrainTask
from mlflow_recall.workflows.services import Services, match_names

#: looks at the cells of others during a lease; their heartbeats must be seen more often
_POLLS = 20


@dataclass(kw_only=True)
class BenchmarkResult:
    """How the cells of a benchmark ended."""

    #: number of cells
    cells: int = 0
    #: titles of the cells that were trained now
    completed: list[str] = field(default_factory=list)
    #: number of cells that were finished before
    skipped: int = 0
    #: number of cells that other workers finished meanwhile, or train
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

    A broken model or dataset is a FAILED run; the other cells continue. Any number of workers may
    do this at once on one tracking server: each cell is trained by one of them.

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
        _Training(config, services, writer, result).run(cells)
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


class _Training:
    """The training of the cells that nobody has finished, shared with all workers of a server."""

    _bar: Bar

    def __init__(
        self,
        config: BenchmarkConfig,
        services: Services,
        writer: RunWriter,
        result: BenchmarkResult,
    ) -> None:
        self._config = config
        self._services = services
        self._writer = writer
        self._claims = Claims(writer)
        self._result = result
        #: cells that nobody was seen to finish or hold
        self._missing: deque[Cell] = deque()
        #: cells that other workers held when it was their turn
        self._held: list[Cell] = []
        #: cells and runs in the order of their tasks
        self._running: list[tuple[Cell, ActiveRun]] = []
        #: runs that failed before this command began, whose cells are tried again
        self._failed_before: set[str] = set()
        self._claimed = 0

    def run(self, cells: Sequence[Cell]) -> None:
        """Train what is missing, wait for what others train, and take over from the dead.

        Every run that is still open at an error is closed.
        """
        self._find_missing(cells)
        to_train = list(self._missing)[: self._config.limit]
        epochs = sum(cell.recipe.epochs for cell in to_train)
        title = f"benchmark {count_of(len(to_train), 'cell')}"
        try:
            with self._services.reporter.progress(title, epochs) as self._bar:
                self._train()
                while self._await_others():
                    self._train()
        except BaseException as error:
            self._close_runs(error)
            raise
        self._result.elsewhere += len(self._held)
        self._result.remaining = len(self._missing)

    def _find_missing(self, cells: Sequence[Cell]) -> None:
        """Note the cells that are not finished: first those that were never tried."""
        runs_by_cell = self._writer.runs_by_cell()
        fresh: list[Cell] = []
        tried: list[Cell] = []
        is_shared = False
        for cell in cells:
            runs = runs_by_cell.get(cell.key, [])
            state = self._claims.read(runs)
            if state.is_finished:
                self._result.skipped += 1
                continue
            (tried if runs else fresh).append(cell)
            self._failed_before |= state.failed.keys()
            is_shared |= state.is_held
        if is_shared and fresh:  # others work from the front
            start = random.randrange(len(fresh))  # noqa: S311 - nothing is secret
            fresh = fresh[start:] + fresh[:start]
        # cells that failed before come last, so that a limit gets beyond them
        self._missing.extend([*fresh, *tried])

    @property
    def _is_limit_reached(self) -> bool:
        return self._config.limit is not None and self._claimed >= self._config.limit

    def _await_others(self) -> bool:
        """Return whether cells that others held were left to us, once that is known."""
        self._settle_held()
        if self._held and self._config.wait and not self._is_limit_reached:
            self._services.reporter.info(
                f"waiting for {count_of(len(self._held), 'cell')} that other workers train"
            )
        while self._held and self._config.wait and not (self._missing or self._is_limit_reached):
            time.sleep(ownership.LEASE / _POLLS)
            self._settle_held()
        return bool(self._missing) and not self._is_limit_reached

    def _train(self) -> None:
        services = self._services
        first = len(self._running)
        for progress in services.engine.stream(services.train, self._tasks()):
            cell, run = self._running[first + progress.index]
            if run.is_closed:  # it diverged: later stages are worth nothing
                continue
            if isinstance(progress.event, StageResult):
                self._report_stage(cell, run, progress.event)
            elif progress.error is not None:
                self._fail(cell, run, progress.error)
            elif progress.done:
                self._finish(cell, run)

    def _tasks(self) -> Iterator[TrainTask]:
        """Claim a cell and resolve its weights whenever a worker is free."""
        while self._missing and not self._is_limit_reached:
            cell = self._missing.popleft()
            run = self._claims.claim(
                cell.key, cell.title, _run_tags(cell), given_up=self._has_failed_since
            )
            if run is None:
                self._held.append(cell)
                continue
            self._claimed += 1
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

    def _has_failed_since(self, state: CellState) -> bool:
        return bool(state.failed.keys() - self._failed_before)

    def _settle_held(self) -> None:
        """Count the held cells that ended, and note those that were left as missing again."""
        held, self._held = self._held, []
        for cell in held:
            state = self._claims.look(cell.key)
            if state.is_held:
                self._held.append(cell)
            elif state.is_finished:
                self._result.elsewhere += 1
                self._bar.advance(cell.recipe.epochs)
            elif self._has_failed_since(state):
                reasons = [state.failed[run] for run in state.failed.keys() - self._failed_before]
                self._result.failed[cell.title] = f"in another worker: {reasons[0]}"
                self._bar.advance(cell.recipe.epochs)
            else:
                self._missing.append(cell)

    def _finish(self, cell: Cell, run: ActiveRun) -> None:
        if run.finish_unless_taken_over():
            self._result.completed.append(cell.title)
            return
        self._services.reporter.warning(
            f"dropped: {cell.title}: another worker has taken it over meanwhile"
        )
        self._bar.advance(-cell.recipe.epochs)  # they count when the other one has finished
        self._held.append(cell)

    def _close_runs(self, error: BaseException) -> None:
        """Close what is open: a cell whose last stage is logged is finished, others are not."""
        epochs = {run.run_id: cell.recipe.epochs for cell, run in self._running}
        for run in self._writer.open_runs:
            if run.logged_stages and run.logged_stages == epochs.get(run.run_id):
                run.finish_unless_taken_over()
            else:
                run.finish_with_error(error)

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


def _run_tags(cell: Cell) -> dict[str, str]:
    return {
        tags.MODEL: cell.member.name,
        tags.MODEL_VERSION: cell.member.version,
        tags.DATASET: cell.dataset.name,
        tags.DIGEST: cell.dataset.digest,
        **dataset_tags(cell.dataset),
        tags.MODALITY: cell.dataset.modality,
        tags.FAMILY: cell.member.family,
        tags.RECIPE: cell.recipe.to_json(),
        tags.EPOCHS: str(cell.recipe.epochs),
    }
