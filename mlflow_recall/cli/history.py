"""Commands that look at a history and move it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlflow_recall.cli.options import (
    CONTEXT,
    JSON,
    STORE,
)
from mlflow_recall.cli.settings import folder_of
from mlflow_recall.cli.show import dataset_rows, out, overview_data, overview_line, overview_rows
from mlflow_recall.cli.work import bench
from mlflow_recall.errors import HistoryError

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.ports import History


@click.group(context_settings=CONTEXT)
def history() -> None:
    """Look at a zoo's benchmark history, and move it between MLflow and plain text files."""


@history.command("show", context_settings=CONTEXT)
@click.option("--metric", help="Whose scores to print; by default accuracy, or the first.")
@click.option("--history", "folder", help="Folder of plain tables in place of the tracking server.")
@click.option("--minimize", is_flag=True, help="The metric of --history is a loss.")
@STORE
@JSON
def history_show(
    metric: str, folder: str, minimize: bool, tracking_uri: str, namespace: str, json_to: str
) -> None:
    """Say how complete a history is, and how far repeats of one fine-tuning differ."""
    from mlflow_recall.adapters.terminal import Terminal

    if folder:
        _show(folder_of(folder, minimize), metric, json_to, Terminal())
        return
    with bench(tracking_uri, namespace) as work:
        _show(work.bench.history, metric, json_to, work.terminal, work.registry.name_of(""))


def _show(
    history: History, metric: str, json_to: str, terminal: Terminal, prefix: str = ""
) -> None:
    from mlflow_recall.core.overview import overviews

    metrics = history.metrics()
    metric = metric or ("accuracy" if "accuracy" in metrics or not metrics else metrics[0])
    found = [
        each
        for name in dict.fromkeys((metric, *metrics))
        for each in overviews(history.records(name), name)
    ]
    if not found:
        raise HistoryError(
            "history: expected finished fine-tunings with a test score, got partial ones: "
            "run `mlflow-recall benchmark` again, which goes on where it stood"
        )
    out(json_to, overview_data(found))
    if json_to == "-":
        return
    terminal.table("history", overview_rows(found))
    for each in found:
        if each.metric == metric:
            terminal.table(f"{each.modality} {metric}".strip(), dataset_rows(each, prefix))
            click.echo(overview_line(each))


@history.command("export", context_settings=CONTEXT)
@click.option("--to", required=True, help="Folder for runs.jsonl and models.jsonl.")
@STORE
@JSON
def history_export(to: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Write all finished benchmark runs and registered models of a namespace."""
    with bench(tracking_uri, namespace) as work:
        moved = work.portable.export(Path(to), work.terminal)
        out(json_to, vars(moved))
        if json_to != "-":
            click.echo(f"{moved.runs} runs and {moved.models} models are in {to}")


@history.command("import", context_settings=CONTEXT)
@click.option("--from", "folder", required=True, help="Folder that `history export` wrote.")
@STORE
@JSON
def history_import(folder: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Replay an export into MLflow; what is there already is skipped."""
    with bench(tracking_uri, namespace) as work:
        moved = work.portable.take_in(Path(folder), work.terminal)
        out(json_to, vars(moved))
        if json_to != "-":
            click.echo(
                f"{moved.runs} runs are new, {moved.known} were there, {moved.models} models"
            )
