"""The command ``register``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import click

from mlflow_recall.cli.groups import StoreOptions
from mlflow_recall.cli.options import CONTEXT, option, takes
from mlflow_recall.cli.output import OutputOptions, echo
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
        results = register_models(entries, session.registry, session.terminal)
        rows = [vars(result) for result in results]
        output.write({"models": rows})
        if output.is_for_people:
            session.terminal.table("registered models", rows)
            counts = Counter(result.action for result in results)
            failed = len(entries) - len(results)
            echo(
                f"{len(results)} of {count_of(len(entries), 'model')} registered: "
                f"{counts['created']} new, {counts['updated']} updated"
                + (f", {failed} failed" if failed else "")
            )
