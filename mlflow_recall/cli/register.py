"""The command ``register``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import click

from mlflow_recall.cli.groups import StoreOptions
from mlflow_recall.cli.options import CONTEXT, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, exit_if_failed
from mlflow_recall.cli.session import open_session


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Which models are registered."""

    zoo: str = option("--zoo", required=True, help="YAML file that lists models by source.")


@click.command(context_settings=CONTEXT)
@takes(options=RegisterOptions, store=StoreOptions, output=OutputOptions)
def register(options: RegisterOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Put the models of a zoo file into the MLflow registry; run it again to update them."""
    from mlflow_recall.adapters.manifests.yaml_files import read_zoo
    from mlflow_recall.core.formatting import count_of
    from mlflow_recall.workflows.register import register_models

    entries = read_zoo(options.zoo)
    with open_session(store) as session:
        result = register_models(entries, session.registry, session.terminal)
        rows = [vars(model) for model in result.models]
        output.write({"models": rows, "failed": result.failed})
        if output.is_for_people:
            session.terminal.table("registered models", rows)
            counts = Counter(model.action for model in result.models)
            echo(
                f"{len(rows)} of {count_of(len(entries), 'model')} registered: "
                f"{counts['created']} new, {counts['updated']} updated"
                + (f", {len(result.failed)} failed" if result.failed else "")
            )
    exit_if_failed(result.failed)
