"""The command ``benchmark``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import click

from mlflow_recall.cli.groups import COUNT, EngineOptions, RecipeOptions, StoreOptions
from mlflow_recall.cli.options import CONTEXT, option, split_names, takes
from mlflow_recall.cli.output import OutputOptions, echo, exit_if_failed
from mlflow_recall.cli.session import open_session
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Which cells are trained."""

    datasets: str = option(
        "--datasets", required=True, help="YAML file that lists benchmark datasets."
    )
    models: str | None = option(
        "--models", unset="all", help="Names or patterns of models, comma separated."
    )
    only: str | None = option(
        "--only", unset="all", help="Names of datasets in the file, comma separated."
    )
    limit: int | None = option(
        "--limit", type=COUNT, unset="all missing cells", help="Cells to train now, at most."
    )
    test: Literal["last", "each"] = option(
        "--test",
        default="each",
        help="Evaluate the test split after each epoch, so that policies can be back-tested, or "
        "after the last one.",
    )
    no_wait: bool = option(
        "--no-wait",
        is_flag=True,
        help="End when the only cells left are those that other workers train.",
    )


@click.command(context_settings=CONTEXT)
@takes(
    options=BenchmarkOptions,
    recipe=RecipeOptions,
    store=StoreOptions,
    engine=EngineOptions,
    output=OutputOptions,
)
def benchmark(
    options: BenchmarkOptions,
    recipe: RecipeOptions,
    store: StoreOptions,
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Fine-tune every missing cell of models x datasets, each as one MLflow run."""
    from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
    from mlflow_recall.config import BenchmarkConfig
    from mlflow_recall.core.formatting import count_of
    from mlflow_recall.workflows.benchmark import run_benchmark

    specs = read_benchmarks(options.datasets)
    if options.only:
        names = split_names(options.only)
        known = [spec.title for spec in specs]
        if unknown := sorted(set(names) - set(known)):
            raise ConfigError(f"only: expected some of {', '.join(known)}, got {unknown[0]!r}")
        specs = [spec for spec in specs if spec.title in names]
    config = BenchmarkConfig(
        datasets=tuple(specs),
        models=split_names(options.models),
        recipe=recipe.changes(),
        limit=options.limit,
        test=options.test,
        wait=not options.no_wait,
    )
    with open_session(store, engine) as session:
        result = run_benchmark(config, session.services)
        output.write(vars(result))
        if output.is_for_people:
            rows = [{"failed": name, "reason": why} for name, why in result.failed.items()]
            session.terminal.table("failed", rows)
            echo(
                f"{count_of(result.cells, 'cell')}: {len(result.completed)} completed, "
                f"{result.skipped} skipped, {result.elsewhere} elsewhere, "
                f"{len(result.failed)} failed"
                + (f", {result.remaining} remaining" if result.remaining else "")
            )
    exit_if_failed(result.failed)
