"""The command ``recommend``."""

from __future__ import annotations

from dataclasses import dataclass

import click

from mlflow_recall.cli.groups import RecommendOptions, StoreOptions, TableOptions
from mlflow_recall.cli.options import CONTEXT, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, recommendation_json, run_note
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import open_tables, refuse_table_options
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RecordedDatasetOptions:
    """A dataset of a history in files."""

    dataset: str | None = option(
        "--dataset", unset="any dataset", help="Dataset of --history, as if it were new."
    )


@click.command(context_settings=CONTEXT)
@takes(
    target=RecordedDatasetOptions,
    tables=TableOptions,
    options=RecommendOptions,
    store=StoreOptions,
    output=OutputOptions,
)
def recommend(
    target: RecordedDatasetOptions,
    tables: TableOptions,
    options: RecommendOptions,
    store: StoreOptions,
    output: OutputOptions,
) -> None:
    """Recommend models from the history alone; `recall` looks at a dataset too."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.recommend import recommend_from_tables, recommend_zoo
    from mlflow_recall.workflows.recommendation_tables import recommendation_rows

    config = options.recommend_config(tables)
    if tables.history:
        terminal = Terminal()
        history = open_tables(tables, terminal, options.metric)
        result = recommend_from_tables(config, history, target.dataset)
    else:
        if target.dataset:
            raise ConfigError(
                f"dataset: expected none without --history, got {target.dataset!r}: "
                "`mlflow-recall recall --dataset` looks at it with the models of the registry"
            )
        refuse_table_options(tables)
        with open_session(store) as session:
            terminal = session.terminal
            result = recommend_zoo(config, session.services)
    recommendation = result.recommendation
    output.write(
        {
            **recommendation_json(recommendation),
            "left_out": dict(result.left_out),
            "run_id": result.run_id,
        }
    )
    if not output.is_for_people:
        return
    for note in recommendation.notes:
        terminal.info(note)
    terminal.table("ranking", recommendation_rows(recommendation))
    echo(
        f"try these {len(recommendation.selected)}: {', '.join(recommendation.selected)}"
        f"{run_note(result.run_id)}"
    )
