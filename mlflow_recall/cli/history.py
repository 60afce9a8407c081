"""The commands ``history show``, ``history export`` and ``history import``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.groups import (
    METRIC_IN_USE,
    HistoryOptions,
    StoreOptions,
    metric_option,
)
from mlflow_recall.cli.options import CONTEXT, is_writable, option, split_names, takes
from mlflow_recall.cli.output import OutputOptions, echo
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import losses, open_tables, refuse_table_options
from mlflow_recall.errors import ConfigError, HistoryError

if TYPE_CHECKING:
    from mlflow_recall.adapters.tables.validation import ImportOptions
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.core.history.overview import Overview
    from mlflow_recall.ports import History

#: format of plain tables -> ending of their files
_TABLE_FORMATS = {"tables": ".csv", "gzip": ".csv.gz", "parquet": ".parquet"}
#: largest length of a label in the map of missing cells
_MAX_LABEL = 36
#: characters of the map: nothing measured, up to a third, up to two thirds, more, all
_SHADES = "·░▒▓█"


@click.group(context_settings=CONTEXT)
def history() -> None:
    """Look at a zoo's benchmark history, and move it between MLflow and files."""


@dataclass(frozen=True, kw_only=True)
class ShowOptions(HistoryOptions):
    """What of a history is shown."""

    metric: str = metric_option("Metric whose scores are printed")
    figure: str | None = option(
        "--figure",
        metavar="FILE",
        unset="none",
        help="Draw the measured cells as a figure, such as a PNG.",
    )


@history.command("show", context_settings=CONTEXT)
@takes(options=ShowOptions, store=StoreOptions, output=OutputOptions)
def show_history(options: ShowOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Say how complete a history is, and how far repeats of one fine-tuning differ."""
    from mlflow_recall.adapters.terminal import Terminal

    if options.figure:
        _check_figure(options.figure)
    if options.history:
        terminal = Terminal()
        tables = open_tables(options, terminal, options.metric, reads_other_metrics=True)
        _show(tables, options, output, terminal)
        return
    refuse_table_options(options)
    with open_session(store) as session:
        prefix = session.registry.name_of("")
        for line in session.services.history.left_out(options.metric):
            session.terminal.warning(line)
        _show(session.services.history, options, output, session.terminal, prefix)


def _show(
    history: History,
    options: ShowOptions,
    output: OutputOptions,
    terminal: Terminal,
    prefix: str = "",
) -> None:
    from mlflow_recall.core.history.overview import summarize_history

    metrics = history.metrics()
    losses = [metric for metric in metrics if history.is_loss(metric)]
    by_metric = {
        name: summarize_history(history.records(name), name, losses)
        for name in dict.fromkeys((options.metric, *metrics))
    }
    chosen = by_metric.pop(options.metric)
    others = [overview for named in by_metric.values() for overview in named]
    # what one metric says is not said twice
    overviews = [*(o for o in chosen if not any(map(o.is_same, others))), *others]
    if not overviews:
        raise HistoryError(
            "history: expected finished fine-tunings with a test score, got partial ones: "
            "run `mlflow-recall benchmark` again, which continues them"
        )
    if options.figure:
        _draw(chosen, options.figure, prefix)
    output.write(_overview_json(overviews))
    if not output.is_for_people:
        return
    terminal.table("history", _overview_rows(overviews))
    for overview in chosen:
        title = f"{overview.modality} {overview.label}".strip()
        terminal.table(title, _dataset_rows(overview, prefix))
        for line in coverage_lines(overview, prefix):
            echo(line)
        for note in overview.notes:
            terminal.warning(note)
        echo(_outcome(overview))


def _draw(overviews: Sequence[Overview], file: str, prefix: str) -> None:
    from mlflow_recall.adapters.figures import coverage_figure

    coverage_figure(overviews, prefix).savefig(file)


def _check_figure(file: str) -> None:
    """Refuse a file that cannot be drawn, before anything is read."""
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    path = Path(file)
    if path.suffix[1:].lower() not in known or not is_writable(file):
        raise ConfigError(
            f"figure: expected a file in an existing folder that ends in one of "
            f"{', '.join(known)}, got {file!r}"
        )


def _overview_json(overviews: Sequence[Overview]) -> dict[str, Any]:
    """Return modality -> metric -> overview; tables without a modality are ``any``."""
    data: dict[str, Any] = {}
    for overview in overviews:
        data.setdefault(overview.modality or "any", {})[overview.metric] = {
            "models": len(overview.matrix.models),
            "datasets": len(overview.matrix.datasets),
            "cells": overview.cells,
            "coverage": overview.matrix.coverage,
            "noise": overview.noise.std,
            "repeated": {"cells": overview.noise.cells, "runs": overview.noise.runs},
            "missing": [{"model": m, "dataset": d} for m, d in overview.missing],
            "notes": overview.notes,
        }
    return data


def _overview_rows(overviews: Sequence[Overview]) -> list[dict[str, object]]:
    return [
        {
            "modality": overview.modality or "any",
            "metric": overview.metric,
            "models": len(overview.matrix.models),
            "datasets": len(overview.matrix.datasets),
            "cells": overview.cells,
            "coverage": f"{overview.matrix.coverage:.1%}",
            "noise": overview.noise.std,
            "repeated cells": overview.noise.cells,
        }
        for overview in overviews
    ]


def _dataset_rows(overview: Overview, prefix: str) -> list[dict[str, object]]:
    """Return one row a dataset: how many models are measured, and what they reached."""
    matrix, has_several = overview.matrix, len(overview.unit.metrics) > 1
    rows: list[dict[str, object]] = []
    for dataset, column in zip(matrix.datasets, matrix.values.T, strict=True):
        pairs = zip(column.tolist(), matrix.models, strict=True)
        measured = sorted((-value, model) for value, model in pairs if not math.isnan(value))
        best, model = measured[0]
        metric = overview.metrics[dataset]
        sign = -1.0 if metric in overview.losses else 1.0
        rows.append(
            {
                "dataset": dataset,
                **({"metric": metric} if has_several else {}),
                "measured": len(measured),
                "missing": len(column) - len(measured),
                "best": sign * -best,
                "best model": model.removeprefix(prefix),
                "median": sign * -measured[len(measured) // 2][0],
                "worst": sign * -measured[-1][0],
            }
        )
    return rows


def coverage_lines(overview: Overview, prefix: str = "") -> list[str]:
    """Return a map in characters of what is missing; none where nothing is.

    Args:
        overview: One modality and metric.
        prefix: Prefix of the names of models in the registry, which is left out.
    """
    from mlflow_recall.core.history.overview import coverage_map

    if not overview.missing:
        return []
    blocks = coverage_map(overview.matrix)
    labels = [_block_label([name.removeprefix(prefix) for name in row]) for row in blocks.rows]
    width = max(map(len, labels))
    lines = [f"measured {_SHADES[-1]}, missing {_SHADES[0]}; the most measured come first"]
    for label, shares in zip(labels, blocks.shares, strict=True):
        shades = (_SHADES[0 if s == 0 else 4 if s == 1 else 1 + int(3 * s)] for s in shares)
        lines.append(f"{label:<{width}} {''.join(shades)}")
    first, last = blocks.columns[0], blocks.columns[-1]
    lines.append(f"{'columns':<{width}} {first[0]} … {last[-1]}")
    return lines


def _block_label(names: Sequence[str]) -> str:
    """Return the only model of a row, or how many they are and one of them."""
    label = names[0] if len(names) == 1 else f"{len(names)} models, {names[0]} …"
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _outcome(overview: Overview) -> str:
    """Return how complete the history is, and its noise floor."""
    from mlflow_recall.core.formatting import count_of

    matrix = overview.matrix
    line = (
        f"{overview.modality or 'history'}: {count_of(len(matrix.models), 'model')} on "
        f"{count_of(len(matrix.datasets), 'dataset')}, {count_of(overview.cells, 'cell')}, "
        f"coverage {matrix.coverage:.0%}"
    )
    if overview.noise.cells:
        return (
            f"{line}; {count_of(overview.noise.cells, 'repeated cell')} with a standard deviation "
            f"of {overview.noise.std:.4f} {_noise_unit(overview)}"
        )
    return f"{line}; no repeated cells, so the noise floor is unknown"


def _noise_unit(overview: Overview) -> str:
    """Return what follows the standard deviation of repeats."""
    if overview.unit.is_share:
        return "of the spread over models"
    return "in each dataset's metric" if len(overview.unit.metrics) > 1 else overview.label


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Where and how a history is written."""

    to: str = option("--to", required=True, help="Folder to write.")
    format: str = option(
        "--format",
        default="runs",
        type=click.Choice(["runs", *_TABLE_FORMATS]),
        help="runs (JSON lines, nothing is lost), or plain tables: CSV, gzipped, or Parquet.",
    )


@history.command("export", context_settings=CONTEXT)
@takes(options=ExportOptions, store=StoreOptions, output=OutputOptions)
def export_history(options: ExportOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Write all finished benchmark runs and registered models of a namespace."""
    from mlflow_recall.adapters.tables.table_export import TableExport
    from mlflow_recall.core.formatting import count_of

    with open_session(store) as session:
        if options.format == "runs":
            summary = session.transfer.export(Path(options.to), session.terminal)
            line = (
                f"{count_of(summary.runs, 'run')} and {count_of(summary.models, 'model')} are in "
                f"{options.to}"
            )
        else:
            services = session.services
            tables = TableExport(services.client, services.namespace, session.registry)
            ending = _TABLE_FORMATS[options.format]
            summary = tables.export(Path(options.to), ending, session.terminal)
            for note in summary.notes:
                session.terminal.warning(note)
            loss_names = ", ".join(summary.minimize)
            metrics = ", ".join(summary.metrics)
            line = (
                f"{count_of(summary.runs, 'fine-tuning')} of {count_of(summary.models, 'model')} "
                f"on {count_of(summary.datasets or 0, 'dataset')} by {metrics} are in {options.to}"
                + (f"; losses: {loss_names}" if loss_names else "")
            )
        output.write(vars(summary))
        if output.is_for_people:
            echo(line)


@dataclass(frozen=True, kw_only=True)
class ImportCommandOptions:
    """What is imported."""

    folder: str = option(
        "--from", required=True, help="Folder that `history export` wrote, or of plain tables."
    )
    metrics: tuple[str, ...] = option(
        "--metric",
        multiple=True,
        metavar="NAME[=OTHER]",
        unset="all",
        help="Metric of the tables to import, and its name here, such as top1=accuracy.",
    )
    minimize: tuple[str, ...] = option(
        "--minimize",
        multiple=True,
        is_flag=False,
        flag_value=METRIC_IN_USE,
        metavar="[NAME]",
        unset="as known",
        help="Metrics of the tables that are losses, comma separated or repeated; without a name: "
        "the only metric.",
    )
    modality: str | None = option(
        "--modality", unset="as the tables say", help="text or image, for tables that do not say."
    )
    percent: bool = option(
        "--percent", is_flag=True, help="Accuracies of the tables are percentages."
    )

    def table_options(self) -> ImportOptions:
        """Return how plain tables are imported.

        Raises:
            ConfigError: A loss is not named.
        """
        from mlflow_recall.adapters.tables.folder_history import FolderHistory
        from mlflow_recall.adapters.tables.validation import ImportOptions

        names = [name for text in self.metrics for name in split_names(text)]
        renamed = dict(_split_rename(name) for name in names)
        metrics: Sequence[str] = ()
        if METRIC_IN_USE in self.minimize:
            metrics = tuple(renamed) or FolderHistory(self.folder).metrics()
        return ImportOptions(
            metrics=renamed,
            minimize=losses(self.minimize, metrics),
            modality=self.modality,
            percent=self.percent,
        )


@history.command("import", context_settings=CONTEXT)
@takes(options=ImportCommandOptions, store=StoreOptions, output=OutputOptions)
def import_history(
    options: ImportCommandOptions, store: StoreOptions, output: OutputOptions
) -> None:
    """Import a history into MLflow; runs that are there already are skipped."""
    from mlflow_recall.adapters.export.export_history import ExportHistory
    from mlflow_recall.adapters.tables.folder_history import FolderHistory
    from mlflow_recall.adapters.tables.table_import import TableImport
    from mlflow_recall.core.formatting import count_of

    folder = options.folder
    is_tables = FolderHistory.is_one(folder) and not ExportHistory.is_one(folder)
    if not is_tables:
        _refuse_import_options(options)
    table_options = options.table_options() if is_tables else None
    with open_session(store) as session:
        if table_options is None:
            summary = session.transfer.import_history(Path(folder), session.terminal)
        else:
            services = session.services
            tables = TableImport(services.client, services.namespace, session.registry)
            summary = tables.import_history(Path(folder), table_options, session.terminal)
        output.write(vars(summary))
        if output.is_for_people:
            echo(
                f"{count_of(summary.runs, 'run')} imported, {summary.known} skipped, "
                f"{count_of(summary.models, 'model')}"
            )


def _refuse_import_options(options: ImportCommandOptions) -> None:
    table_options = {
        "metric": options.metrics,
        "minimize": options.minimize,
        "modality": options.modality,
        "percent": options.percent,
    }
    for name, value in table_options.items():
        if value:
            raise ConfigError(
                f"{name}: expected only for a folder with a table matrix, got {options.folder!r}"
            )


def _split_rename(text: str) -> tuple[str, str]:
    """Return the metric of the tables and its name here, from ``NAME`` or ``NAME=OTHER``."""
    name, _, other = text.rpartition("=") if "=" in text else (text, "", "")
    return name.strip(), (other or name).strip()
