"""The command ``check``."""

from __future__ import annotations

import click

from mlflow_recall.cli.groups import TargetOptions
from mlflow_recall.cli.options import CONTEXT, takes
from mlflow_recall.cli.output import OutputOptions, echo


@click.command(context_settings=CONTEXT)
@takes(target=TargetOptions, output=OutputOptions)
def check(target: TargetOptions, output: OutputOptions) -> None:
    """Say what of a dataset is used, what is left out and why, and what to look at."""
    from mlflow_recall.adapters.data.preparation import check_splits, read_account
    from mlflow_recall.adapters.terminal import Terminal

    spec = target.target()
    account = read_account(spec)
    output.write({"name": spec.title, **account.to_dict()})
    if output.is_for_people:
        terminal = Terminal()
        name, plural = account.class_words
        terminal.table(plural, [{name: n, "rows": c} for n, c in account.classes.items()])
        terminal.table("numbers", [dict(account.numbers)] if account.numbers else [])
        left_out = [
            {account.unit + "s": count, "left out": reason, "such as": ", ".join(places)}
            for reason, count in account.left_out.items()
            for places in [account.places.get(reason, ())[:3]]
        ]
        terminal.table("left out", left_out)
        for warning in account.warnings:
            terminal.warning(warning)
        echo(f"{spec.title}: {account.summary}")
    check_splits(spec, account)
