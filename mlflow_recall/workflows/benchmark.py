"""Models x datasets -> one MLflow run a cell."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mlflow_recall.adapters import tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun, is_done, is_running
from mlflow_recall.adapters.recorded import described
from mlflow_recall.config import BenchmarkConfig
from mlflow_recall.core.recipes import Recipe, default_recipe
from mlflow_recall.core.records import Dataset, Member
from mlflow_recall.errors import DatasetError, SettingError, TaskError, ZooError
from mlflow_recall.ports import Bar, StageResult, TrainTask
from mlflow_recall.workflows.bench import Bench, chosen


@dataclass
class Benchmarked:
    """What a benchmark did with its cells."""

    cells: int = 0
    done_before: int = 0
    done: list[str] = field(default_factory=list)
    #: cells that another living process is at work on
    elsewhere: int = 0
    #: missing cells that the limit left for another time
    left: int = 0
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


def benchmark(config: BenchmarkConfig, bench: Bench) -> Benchmarked:
    """Fine-tune every cell that no finished run has yet.

    One broken model or dataset is one FAILED run, not the end of the job.

    Raises:
        SettingError: no model or no dataset is left to work on.
    """
    members = chosen(bench.registry.members(bench.voice.say), config.models)
    members = [member for member in members if member.available]
    result = Benchmarked()
    ledger = Ledger(bench.client, f"{bench.namespace}/benchmark")
    try:
        datasets = list(_prepared(config, bench, ledger, result))
        cells = [
            Cell(member, dataset, recipe_of(member, config.recipe))
            for dataset in datasets
            for member in members
            if member.modality == dataset.modality
        ]
        if not cells and not result.failed:
            raise SettingError(
                "benchmark: expected models of the datasets' modality in the registry, got none: "
                "register some with `mlflow-recall register`"
            )
        known = ledger.cells()
        missing = []
        for cell in cells:
            runs = known.get(cell.key, [])
            if any(map(is_done, runs)):
                result.done_before += 1
            elif any(map(is_running, runs)):
                result.elsewhere += 1
            else:
                missing.append(cell)
        # what failed before waits for its turn, lest a limit never gets beyond it
        missing.sort(key=lambda cell: bool(known.get(cell.key)))
        result.cells = len(cells)
        if config.limit:
            result.left = max(0, len(missing) - config.limit)
            missing = missing[: config.limit]
        total = sum(cell.recipe.epochs for cell in missing)
        with bench.voice.progress(f"benchmark {len(missing)} cells", total) as bar:
            _Job(config, bench, ledger, result, bar).run(missing)
    finally:
        ledger.close()
    return result


def recipe_of(member: Member, changes: Mapping[str, object]) -> Recipe:
    """The family's default, altered by the member's own and then by the command's wishes."""
    family = default_recipe(member.modality, member.family, member.arch)
    return family.altered(member.recipe, member.name).altered(changes, "options")


def _prepared(
    config: BenchmarkConfig, bench: Bench, ledger: Ledger, result: Benchmarked
) -> Iterator[Dataset]:
    if not config.datasets:
        raise SettingError("benchmark: expected at least one dataset, got none")
    if len(config.datasets) == 1:  # without it there is no job: its error is the command's
        yield bench.prepare(config.datasets[0])
        return
    with bench.voice.progress("prepare datasets", len(config.datasets)) as bar:
        for spec in config.datasets:
            try:
                yield bench.prepare(spec)
            except DatasetError as error:
                run = ledger.open(spec.title, "benchmark", {tags.DATASET: spec.title})
                run.finish("FAILED", str(error))
                result.failed[spec.title] = str(error)
                bench.voice.say(f"failed: {error}")
            bar.advance(now=spec.title)


class _Job:
    """The cells on their way through the engine."""

    def __init__(
        self,
        config: BenchmarkConfig,
        bench: Bench,
        ledger: Ledger,
        result: Benchmarked,
        bar: Bar,
    ) -> None:
        self._test: Literal["last", "each"] = config.test
        self._bench = bench
        self._ledger = ledger
        self._result = result
        self._bar = bar
        self._running: list[tuple[Cell, OpenRun]] = []
        self._at = 0

    def run(self, cells: list[Cell]) -> None:
        try:
            for progress in self._bench.engine.stream(self._bench.train, self._tasks(cells)):
                cell, run = self._running[progress.index]
                if run.closed:  # it diverged; what comes after that is worth nothing
                    continue
                if isinstance(progress.event, StageResult):
                    self._stage(cell, run, progress.event)
                elif progress.error is not None:
                    self._fail(cell, run, progress.error)
                elif progress.done:
                    run.finish("FINISHED")
                    self._result.done.append(cell.title)
        except BaseException as error:
            for _, run in self._running:
                if not run.closed:
                    run.abandon(error)
            raise

    def _tasks(self, cells: list[Cell]) -> Iterator[TrainTask]:
        """Claim a cell and resolve its weights when a worker is free for it."""
        for cell in cells:
            run = self._ledger.open(
                cell.title,
                "benchmark",
                {
                    tags.CELL: cell.key,
                    tags.MODEL: cell.member.name,
                    tags.MODEL_VERSION: cell.member.version,
                    tags.DATASET: cell.dataset.name,
                    tags.DIGEST: cell.dataset.digest,
                    **described(cell.dataset),
                    tags.MODALITY: cell.dataset.modality,
                    tags.FAMILY: cell.member.family,
                    tags.RECIPE: cell.recipe.to_json(),
                    tags.EPOCHS: str(cell.recipe.epochs),
                },
            )
            if self._ledger.first_claim(cell.key) != run.run_id:
                self._ledger.withdraw(run)
                self._result.elsewhere += 1
                self._bar.advance(cell.recipe.epochs)
                continue
            run.params({"model": cell.member.name, "dataset": cell.dataset.name})
            run.params(cell.recipe.__dict__, "recipe.")
            run.reads(cell.dataset, "benchmark")
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

    def _stage(self, cell: Cell, run: OpenRun, event: StageResult) -> None:
        run.stage(event)
        self._bar.advance(now=f"{cell.title}, epoch {event.stage}")
        if why := event.diverged():
            self._fail(cell, run, TaskError(why))

    def _fail(self, cell: Cell, run: OpenRun, error: TaskError) -> None:
        if error.traceback:
            run.text(error.traceback, "traceback.txt")
        run.finish("FAILED", str(error))
        self._result.failed[cell.title] = str(error)
        self._bar.advance(cell.recipe.epochs - run.stages)
        self._bench.voice.say(f"failed: {cell.title}: {error}")
