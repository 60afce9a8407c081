"""The folder behind ``--history``, and which of its metrics are losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlflow_recall.cli.groups import METRIC_IN_USE, HistoryOptions
from mlflow_recall.cli.options import split_names
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_recall.ports import Reporter, Tables


def refuse_table_options(
    options: HistoryOptions, names: Sequence[str] = ("drop_dataset", "minimize")
) -> None:
    """Refuse options that apply to ``--history`` alone.

    Args:
        options: Options of the command.
        names: Fields that are refused.

    Raises:
        ConfigError: One of them is set.
    """
    for name in names:
        if values := getattr(options, name, ()):
            listed = ", ".join(v for v in values if v != METRIC_IN_USE) or "it alone"
            raise ConfigError(f"{name}: expected only beside --history, got {listed}")


def open_tables(
    options: HistoryOptions,
    reporter: Reporter,
    metric: str = PRIMARY,
    *,
    reads_other_metrics: bool = False,
) -> Tables:
    """Open plain tables, or what `history export` wrote, which knows its losses.

    Args:
        options: Folder, and names of losses.
        reporter: Reports a metric that looks like a loss and is not named as one, and datasets
            without a primary metric.
        metric: The metric in use, or ``primary``.
        reads_other_metrics: Whether other metrics are read beside that one.

    Raises:
        ConfigError: No metric is in use, or it is known to be better when higher.
    """
    from mlflow_recall.adapters.export.export_history import ExportHistory
    from mlflow_recall.adapters.tables.folder_history import FolderHistory
    from mlflow_recall.core.external_runs.logging_conventions import is_minimized

    folder, minimize = options.history or "", options.minimize
    if ExportHistory.is_one(folder):
        export = ExportHistory(folder)
        for line in export.left_out(metric):
            reporter.warning(line)
        return export
    names = _named_losses(minimize)
    history = FolderHistory(folder, minimize=names)
    metrics = history.metrics() if metric == PRIMARY else [metric]
    if METRIC_IN_USE in minimize:
        all_losses = losses(minimize, metrics)
        # the curves of the metric in use may have another name
        is_listed = bool(names) or reads_other_metrics
        return FolderHistory(folder, minimize=all_losses if is_listed else True)
    for name in metrics if len(metrics) == 1 else ():
        if is_minimized(name) and not history.is_loss(name):
            reporter.warning(f"{name} is taken as better when higher; --minimize if it is a loss")
    return history


def losses(minimize: Sequence[str], metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the losses that ``--minimize`` names where these metrics are in use.

    Raises:
        ConfigError: It has no name and not exactly one metric is in use, or that metric is known
            to be better when higher.
    """
    from mlflow_recall.core.history.metrics import METRICS, to_maximize

    names = _named_losses(minimize)
    if METRIC_IN_USE not in minimize:
        return names
    if len(metrics) != 1:
        raise ConfigError(
            f"minimize: expected the name of a loss among {', '.join(metrics) or 'none'}"
        )
    if metrics[0] in METRICS and to_maximize(metrics[0], 1.0) > 0:
        raise ConfigError(
            f"minimize: {metrics[0]!r} is better when higher, got it as a loss: leave out "
            "--minimize, or rename the metric in the tables"
        )
    return (*names, metrics[0])


def _named_losses(minimize: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for text in minimize if text != METRIC_IN_USE for name in split_names(text))
