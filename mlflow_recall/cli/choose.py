"""Commands that use a history: recommend, explain, recall, select."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mlflow_recall.cli.options import (
    ADVICE,
    CONSTRAINTS,
    CONTEXT,
    ENGINE,
    JSON,
    RECALL,
    RECIPE,
    STORE,
    TABLES,
    TARGET,
    THE_METRIC,
)
from mlflow_recall.cli.output import (
    advice_json,
    out,
    outcome,
    recall_data,
    select_data,
    show_explained,
)
from mlflow_recall.cli.requests import (
    budget,
    folder_of,
    is_example,
    recall_config,
    recipe_changes,
    recommend_config,
    refuse_tables,
)
from mlflow_recall.cli.session import bench, bench_for
from mlflow_recall.errors import ConfigError


@click.command(context_settings=CONTEXT)
@TARGET
@RECALL
@STORE
@ENGINE
@JSON
def recall(
    tracking_uri: str, namespace: str, json_to: str, engine: str, workers: int, threads: int,
    **options: Any,
) -> None:  # fmt: skip
    """Rank the models of the zoo for a dataset, without training any."""
    from mlflow_recall.workflows.recall import run_recall
    from mlflow_recall.workflows.recommendation_tables import recommendation_rows

    with bench_for(options["dataset"], tracking_uri, namespace, engine, workers, threads) as work:
        recalled, run = run_recall(recall_config(options), work.bench)
        out(json_to, {**recall_data(recalled), "run_id": run.run_id})
        if json_to != "-":
            work.terminal.table("ranking", recommendation_rows(recalled.recommendation))
            click.echo(
                f"train these {len(recalled.selected)}: {', '.join(recalled.selected)} "
                f"({recalled.ranked_by}); run {run.run_id}"
            )


@click.command(context_settings=CONTEXT)
@TARGET
@RECALL
@click.option(
    "--policy",
    default="auto",
    show_default=True,
    help="auto (what `backtest` favored, fine_selection before), fine_selection, price, halving "
    "or brute_force.",
)
@click.option("--threshold", default=0.0, show_default=True, help="Share a rival must end higher.")
@click.option("--price", type=float, help="Score an epoch must bring, for --policy price [0.001].")
@click.option("--budget-epochs", type=float, help="Train no more epochs than this on the target.")
@click.option("--budget-hours", type=float, help="Take no longer than about this.")
@click.option("--register-as", help="Name of the winner in the registry; by default the dataset's.")
@click.option("--alias", default="winner", show_default=True, help="Alias of the winner's version.")
@click.option(
    "--final",
    default="auto",
    show_default=True,
    help="full retrains the winner on all samples, same does not; auto where there are more.",
)
@RECIPE
@STORE
@ENGINE
@JSON
def select(
    policy: str, threshold: float, price: float | None, budget_epochs: float | None,
    budget_hours: float | None, register_as: str, alias: str, final: str, tracking_uri: str,
    namespace: str, json_to: str, engine: str, workers: int, threads: int, **options: Any,
) -> None:  # fmt: skip
    """Recall the best models for a dataset, fine-tune them in stages, register the winner."""
    from mlflow_recall.config import SelectConfig
    from mlflow_recall.workflows.select import run_selection as run
    from mlflow_recall.workflows.selection import brute_force_comparison, candidate_rows

    config = SelectConfig(
        recall_config(options), policy, threshold, price, budget(budget_epochs, budget_hours),
        register_as or "", alias, final, recipe_changes(options),
    )  # fmt: skip
    with bench_for(options["dataset"], tracking_uri, namespace, engine, workers, threads) as work:
        selected = run(config, work.bench, work.registry)
        out(json_to, select_data(selected))
        if json_to != "-":
            work.terminal.table("candidates", candidate_rows(selected))
            if told := brute_force_comparison(selected):
                work.terminal.info(told)
            click.echo(outcome(selected, work))


@click.command(context_settings=CONTEXT)
@click.option("--dataset", help="Dataset of --history to recommend for; without one: for any.")
@TABLES
@ADVICE
@CONSTRAINTS
@STORE
@JSON
def recommend(tracking_uri: str, namespace: str, json_to: str, **options: Any) -> None:
    """Say which models to try, from what is recorded alone; `recall` looks at a dataset too."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.recommend import recommend_tables, recommend_zoo
    from mlflow_recall.workflows.recommendation_tables import recommendation_rows

    config = recommend_config(options)
    if options["history"]:
        folder = folder_of(options["history"], options["minimize"], options["metric"])
        found = recommend_tables(config, folder, options["dataset"] or "")
        terminal = Terminal()
    else:
        _refuse_tables(options)
        with bench(tracking_uri, namespace) as work:
            found = recommend_zoo(config, work.bench)
            terminal = work.terminal
    out(
        json_to,
        {**advice_json(found.recommendation), "left_out": found.left_out, "run_id": found.run_id},
    )
    if json_to == "-":
        return
    for name, why in found.left_out.items():
        terminal.warning(f"{name} is left out: {why}")
    for note in found.recommendation.notes:
        terminal.warning(f"{note}")
    terminal.table("ranking", recommendation_rows(found.recommendation))
    click.echo(
        f"try these {len(found.recommendation.selected)}: {', '.join(found.recommendation.selected)}"
        + (f"; run {found.run_id}" if found.run_id else "")
    )


@click.command(context_settings=CONTEXT)
@click.argument("model", required=False, metavar="MODEL")
@TARGET
@TABLES
@RECALL
@STORE
@ENGINE
@JSON
def explain(
    model: str | None, tracking_uri: str, namespace: str, json_to: str, engine: str, workers: int,
    threads: int, **options: Any,
) -> None:  # fmt: skip
    """Say what each part of a recall added for MODEL, and what is recorded of it."""
    model, options["minimize"] = _explained_model(model, options["minimize"])
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.context import load_context
    from mlflow_recall.workflows.recall import recall_models as run
    from mlflow_recall.workflows.recommend import recommend_tables
    from mlflow_recall.workflows.recommendation_tables import explain as explained

    if options["history"]:
        dataset = "" if is_example(options["dataset"]) else options["dataset"]
        folder = folder_of(options["history"], options["minimize"], options["metric"])
        found = recommend_tables(recommend_config(options), folder, dataset)
        show_explained(explained(found.recommendation, found.evidence, model), json_to, Terminal())
        return
    with bench_for(options["dataset"], tracking_uri, namespace, engine, workers, threads) as work:
        config = recall_config(options)
        prospect = load_context(config, work.bench)
        known = prospect.matrix.models
        name = model if model in known else work.registry.name_of(model)
        if name not in known:  # before anything is computed
            raise ConfigError(f"explain: expected one of {', '.join(known[:12])}, got {model!r}")
        recalled = run(config, prospect, work.bench)
        why = explained(recalled.recommendation, recalled.evidence, name)
        show_explained(why, json_to, work.terminal)


def _explained_model(model: str | None, minimize: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """MODEL and what is minimized; a MODEL right behind ``--minimize`` looks like its name."""
    if model is None and minimize and minimize[-1] != THE_METRIC:
        return minimize[-1], (*minimize[:-1], THE_METRIC)
    if model is None:
        raise click.MissingParameter(param_hint="MODEL", param_type="argument")
    return model, minimize


def _refuse_tables(options: Mapping[str, Any]) -> None:
    """A dataset and options that say something about plain tables only."""
    if dataset := options["dataset"]:
        raise ConfigError(
            f"dataset: expected none without --history, got {dataset!r}: `mlflow-recall recall "
            "--dataset` looks at it with the models of the registry"
        )
    refuse_tables(options)
