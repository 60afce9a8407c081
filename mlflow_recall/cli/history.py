"""Commands that look at a history and move it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.options import CONTEXT, HISTORY, JSON, MINIMIZE, STORE, THE_METRIC
from mlflow_recall.cli.output import (
    coverage_lines,
    dataset_rows,
    out,
    overview_data,
    overview_line,
    overview_rows,
)
from mlflow_recall.cli.requests import folder_of, losses, refuse_tables, split_names
from mlflow_recall.cli.session import bench
from mlflow_recall.errors import ConfigError, HistoryError

if TYPE_CHECKING:
    from mlflow_recall.adapters.tables.validation import ImportOptions
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.core.history.overview import Overview
    from mlflow_recall.ports import History

FORMATS = {"tables": ".csv", "gzip": ".csv.gz", "parquet": ".parquet"}


@click.group(context_settings=CONTEXT)
def history() -> None:
    """Look at a zoo's benchmark history, and move it between MLflow and plain text files."""


@history.command("show", context_settings=CONTEXT)
@click.option("--metric", help="Whose scores to print; by default accuracy, or the first.")
@HISTORY
@click.option("--figure", metavar="FILE", help="Write what is missing as a picture, such as a PNG.")
@STORE
@JSON
def history_show(
    metric: str, history: str, minimize: tuple[str, ...], figure: str, tracking_uri: str,
    namespace: str, json_to: str,
) -> None:  # fmt: skip
    """Say how complete a history is, and how far repeats of one fine-tuning differ."""
    from mlflow_recall.adapters.terminal import Terminal

    if figure:
        _check_picture(figure)
    if history:
        folder = folder_of(history, minimize, metric, show=True)
        _show(folder, metric, json_to, Terminal(), figure=figure)
        return
    refuse_tables({"minimize": minimize})
    with bench(tracking_uri, namespace) as work:
        prefix = work.registry.name_of("")
        _show(work.bench.history, metric, json_to, work.terminal, prefix, figure)


def _show(
    history: History,
    metric: str,
    json_to: str,
    terminal: Terminal,
    prefix: str = "",
    figure: str = "",
) -> None:
    from mlflow_recall.core.history.overview import summarize_history

    metrics = history.metrics()
    metric = metric or ("accuracy" if "accuracy" in metrics or not metrics else metrics[0])
    found = [
        each
        for name in dict.fromkeys((metric, *metrics))
        for each in summarize_history(history.records(name), name, history.is_loss(name))
    ]
    if not found:
        raise HistoryError(
            "history: expected finished fine-tunings with a test score, got partial ones: "
            "run `mlflow-recall benchmark` again, which goes on where it stood"
        )
    chosen = [each for each in found if each.metric == metric]
    if figure:
        _draw(chosen, figure, prefix)
    out(json_to, overview_data(found))
    if json_to == "-":
        return
    terminal.table("history", overview_rows(found))
    for each in chosen:
        terminal.table(f"{each.modality} {metric}".strip(), dataset_rows(each, prefix))
        for line in coverage_lines(each, prefix):
            click.echo(line)
        for note in each.notes:
            terminal.warning(f"{note}")
        click.echo(overview_line(each))


def _draw(found: list[Overview], file: str, prefix: str) -> None:
    from mlflow_recall.adapters.figures import coverage_figure

    coverage_figure(found, prefix).savefig(file)


def _check_picture(file: str) -> None:
    """Refuse before anything is read."""
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    path = Path(file)
    if path.suffix[1:].lower() not in known or not path.absolute().parent.is_dir():
        raise ConfigError(
            f"figure: expected a file in an existing folder that ends in one of "
            f"{', '.join(known)}, got {file!r}"
        )


@history.command("export", context_settings=CONTEXT)
@click.option("--to", required=True, help="Folder to write.")
@click.option(
    "--format",
    "kind",
    default="runs",
    show_default=True,
    type=click.Choice(["runs", *FORMATS]),
    help="runs (JSON lines, nothing lost), or plain tables: CSV, gzipped, or Parquet.",
)
@STORE
@JSON
def history_export(to: str, kind: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Write all finished benchmark runs and registered models of a namespace."""
    with bench(tracking_uri, namespace) as work:
        if kind == "runs":
            moved = work.portable.export(Path(to), work.terminal)
            out(json_to, vars(moved))
            line = f"{moved.runs} runs and {moved.models} models are in {to}"
        else:
            from mlflow_recall.adapters.tables.table_export import TableExport

            tables = TableExport(work.bench.client, work.bench.namespace, work.registry)
            told = tables.export(Path(to), FORMATS[kind], work.terminal)
            out(json_to, vars(told))
            for note in told.notes:
                work.terminal.warning(f"{note}")
            turned = f"; losses among them: {', '.join(told.minimize)}" if told.minimize else ""
            line = (
                f"{told.runs} fine-tunings of {told.models} models on {told.datasets} datasets by "
                f"{', '.join(told.metrics)} are in {to}{turned}"
            )
        if json_to != "-":
            click.echo(line)


@history.command("import", context_settings=CONTEXT)
@click.option(
    "--from", "folder", required=True, help="Folder that `history export` wrote, or of tables."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME[=OTHER]",
    help="Metric of the tables to take in, and its name here, such as top1=accuracy [all].",
)
@MINIMIZE
@click.option("--modality", help="text or image, for tables that do not tell it.")
@click.option("--percent", is_flag=True, help="Accuracies of the tables are percentages.")
@STORE
@JSON
def history_import(
    folder: str, metrics: tuple[str, ...], minimize: tuple[str, ...], modality: str,
    percent: bool, tracking_uri: str, namespace: str, json_to: str,
) -> None:  # fmt: skip
    """Take a history into MLflow; what is there already is skipped."""
    from mlflow_recall.adapters.export.export_history import ExportHistory
    from mlflow_recall.adapters.tables.folder_history import FolderHistory

    told = {
        "metric": metrics, "minimize": minimize, "modality": modality, "percent": percent,
    }  # fmt: skip
    tables = FolderHistory.is_one(folder) and not ExportHistory.is_one(folder)
    if not tables and (given := [name for name, value in told.items() if value]):
        raise ConfigError(
            f"{given[0]}: expected only for a folder with a table matrix, got {folder!r}"
        )
    wanted = _wanted(metrics, minimize, modality, percent, folder) if tables else None
    with bench(tracking_uri, namespace) as work:
        if wanted is None:
            moved = work.portable.take_in(Path(folder), work.terminal)
        else:
            moved = _table_import(work).take_in(Path(folder), wanted, work.terminal)
        out(json_to, vars(moved))
        if json_to != "-":
            click.echo(
                f"{moved.runs} runs are new, {moved.known} were there, {moved.models} models"
            )


def _table_import(work: Any) -> Any:
    from mlflow_recall.adapters.tables.table_import import TableImport

    return TableImport(work.bench.client, work.bench.namespace, work.registry)


def _wanted(
    metrics: tuple[str, ...], minimize: tuple[str, ...], modality: str, percent: bool, folder: str
) -> ImportOptions:
    from mlflow_recall.adapters.tables.folder_history import FolderHistory
    from mlflow_recall.adapters.tables.validation import ImportOptions

    names = [name for text in metrics for name in split_names(text)]
    pairs = {name.strip(): (other or name).strip() for name, _, other in map(_pair, names)}
    used = tuple(pairs) or FolderHistory(folder).metrics() if THE_METRIC in minimize else ()
    return ImportOptions(pairs, losses(minimize, used), modality or "", percent)


def _pair(text: str) -> tuple[str, str, str]:
    return text.rpartition("=") if "=" in text else (text, "", "")
