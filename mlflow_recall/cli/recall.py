"""The command ``recall``."""

from __future__ import annotations

import click

from mlflow_recall.cli.groups import EngineOptions, RecallOptions, StoreOptions, TargetOptions
from mlflow_recall.cli.options import CONTEXT, takes
from mlflow_recall.cli.output import OutputOptions, echo, recall_json, run_note
from mlflow_recall.cli.session import open_session


@click.command(context_settings=CONTEXT)
@takes(
    target=TargetOptions,
    options=RecallOptions,
    store=StoreOptions,
    engine=EngineOptions,
    output=OutputOptions,
)
def recall(
    target: TargetOptions,
    options: RecallOptions,
    store: StoreOptions,
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Rank the models of the zoo for a dataset, without training any."""
    from mlflow_recall.workflows.recall import run_recall
    from mlflow_recall.workflows.recommendation_tables import recommendation_rows

    with open_session(store, engine, dataset=target.dataset) as session:
        result, run = run_recall(options.recall_config(target), session.services)
        output.write({**recall_json(result), "run_id": run.run_id})
        if output.is_for_people:
            session.terminal.table("ranking", recommendation_rows(result.recommendation))
            echo(
                f"train these {len(result.selected)}: {', '.join(result.selected)} "
                f"({result.ranked_by}){run_note(run.run_id)}"
            )
