"""Figures, Markdown tables and links for the pages of runs.

Figures are drawn by matplotlib: the UI shows a PNG of some 40 kB at once, whereas each
self-contained interactive page has 4.6 MB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.core.history.overview import Overview
from mlflow_recall.safe_text import escape_markdown, safe_line

_ROW_HEIGHT = 0.3  # inches
_COVERAGE_COLORS = ListedColormap(["#d62728", "#c7dcef"])  # missing, measured
_MAX_WIDTH, _MAX_HEIGHT = 40, 60  # inches
_DPI = 110
#: larger matrices are drawn without numbers
_MAX_NUMBERS = 1000
_MARKERS = "os^Dv*Px<>"


def matrix_figure(matrix: PerformanceMatrix, clustering: Clustering) -> Figure:
    """Draw the score of every model on every dataset, with the models sorted by cluster."""
    order = [model for cluster in clustering.clusters for model in cluster.members]
    values = matrix.values[indices_of(matrix.models, order)]
    rows, columns = values.shape
    figure, axes = _canvas(2.5 + 0.75 * columns, 1.6 + _ROW_HEIGHT * rows)
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    axes.set_xticks(range(columns), _labels(matrix.datasets), rotation=35, ha="right")
    labels = [f"{m}  {c.id}" for c in clustering.clusters for m in c.members]
    axes.set_yticks(range(rows), _labels(labels))
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    if values.size <= _MAX_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "white" if value < middle else "black"
                style = {"ha": "center", "va": "center", "fontsize": 7}
                axes.text(column, row, f"{value:.2f}", color=color, **style)
    figure.colorbar(image, ax=axes, label="final test score")
    return figure


def coverage_figure(overviews: Sequence[Overview], prefix: str = "") -> Figure:
    """Draw the measured and the missing cells of each overview, side by side.

    Models and datasets with the most measured cells come first.

    Args:
        overviews: At least one overview.
        prefix: Prefix of the models' names in the registry, which is left out.
    """
    shapes = [overview.matrix.values.shape for overview in overviews]
    width = sum(2.5 + 0.3 * columns for _, columns in shapes)
    height = 1.8 + _ROW_HEIGHT * max(rows for rows, _ in shapes)
    figure = _figure(width, height)
    all_axes = figure.subplots(1, len(overviews), squeeze=False)[0]
    for axes, overview in zip(all_axes, overviews, strict=True):
        matrix = overview.matrix
        is_measured = ~np.isnan(matrix.values)
        rows = np.argsort(-is_measured.sum(axis=1), kind="stable")
        columns = np.argsort(-is_measured.sum(axis=0), kind="stable")
        cells = is_measured[np.ix_(rows, columns)]
        axes.imshow(cells, aspect="auto", cmap=_COVERAGE_COLORS, vmin=0, vmax=1)
        _set_names(axes.yaxis, [matrix.models[row].removeprefix(prefix) for row in rows])
        _set_names(axes.xaxis, [matrix.datasets[column] for column in columns])
        axes.tick_params(axis="x", rotation=90)
        axes.set_title(
            f"{overview.modality} {_label(overview.label)}: {matrix.coverage:.1%} measured, "
            f"{len(overview.missing)} cells missing (red)".strip(),
            fontsize="medium",
        )
    return figure


def _label(name: str) -> str:
    """Return a name as matplotlib draws it: dollar signs would be a formula, or no formula."""
    return safe_line(name).replace("$", r"\$")


def _labels(names: Iterable[str]) -> list[str]:
    return [_label(name) for name in names]


def _set_names(axis: Any, names: Sequence[str], limit: int = 120) -> None:
    """Label an axis with the names; above the limit, with evenly spaced ones."""
    step = -(-len(names) // limit)
    axis.set_ticks(range(0, len(names), step), _labels(names[::step]), fontsize=7)


def dendrogram_figure(clustering: Clustering) -> Figure | None:
    """Draw the dendrogram of a hierarchical clustering; None for another clustering."""
    if clustering.linkage is None:
        return None
    figure, axes = _canvas(8, 1.2 + _ROW_HEIGHT * len(clustering.models))
    dendrogram(
        clustering.linkage,
        orientation="right",
        labels=_labels(clustering.models),
        color_threshold=0,
        above_threshold_color="#456",
        ax=axes,
    )
    axes.set_xlabel("distance: mean of the largest differences (eq. 1)")
    return figure


def race_figure(
    curves: Mapping[str, Sequence[float]],
    predicted: Mapping[str, Sequence[tuple[int, float]]],
    metric: str,
) -> Figure:
    """Draw the validation score of every candidate by stage, with hollow points for predictions.

    Args:
        curves: Model -> validation scores by stage.
        predicted: Model -> stages with the final scores that were predicted at them.
        metric: Name of the metric.
    """
    figure, axes = _canvas(8, 4.5)
    last = max(map(len, curves.values()), default=1)
    for model, scores in curves.items():
        (line,) = axes.plot(range(1, len(scores) + 1), scores, marker="o", label=_label(model))
        if points := predicted.get(model):
            axes.scatter(
                [stage for stage, _ in points],
                [score for _, score in points],
                facecolors="none",
                edgecolors=line.get_color(),
                s=70,
            )
    axes.set_xticks(range(1, last + 1))
    axes.set_xlabel("stage (hollow: final score predicted at this stage)")
    axes.set_ylabel(f"validation {_label(metric)}")
    _add_legend(axes)
    axes.grid(alpha=0.3)
    return figure


def ranking_figure(
    models: Sequence[str], parts: Mapping[str, Sequence[float]], selected: Sequence[str]
) -> Figure:
    """Draw every part of a ranking, with the selected models in bold.

    Args:
        models: Models in the order of the ranking.
        parts: Name of the part -> its value for each model; it is standardized here.
        selected: Models to train.
    """
    figure, axes = _canvas(8, 1.2 + _ROW_HEIGHT * len(models))
    height = 0.8 / max(1, len(parts))
    positions = np.arange(len(models))
    for i, (name, values) in enumerate(parts.items()):
        column = np.array([np.nan if v is None else v for v in values], dtype=float)
        known = column[~np.isnan(column)]
        std = known.std() if known.size else 0.0
        scaled = (column - known.mean()) / std if std > 0 else np.zeros_like(column)
        axes.barh(positions + (i - (len(parts) - 1) / 2) * height, scaled, height, label=name)
    axes.set_yticks(positions, _labels(models))
    for model, label in zip(models, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if model in selected else "normal")
    axes.set_title("recalled in bold", fontsize="medium")
    axes.invert_yaxis()
    axes.set_xlabel("standard deviations from the mean over models")
    _add_legend(axes)
    return figure


def frontier_figure(points: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Draw mean regret over mean epochs of every policy's settings; lower left is better.

    Args:
        points: Policy -> (epochs, regret) of each setting.
    """
    figure, axes = _canvas(8, 4.5)
    for (name, settings), marker in zip(points.items(), _MARKERS, strict=False):
        axes.plot(*zip(*settings, strict=True), marker=marker, markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("epochs of training on the target")
    axes.set_ylabel("regret: best model less the winner")
    axes.set_ylim(bottom=0)
    _add_legend(axes)
    axes.grid(alpha=0.3, which="both")
    return figure


def lift_figure(lifts: Mapping[str, Sequence[float]], sizes: Sequence[int]) -> Figure:
    """Draw how much better the first K models of each recommender are than K random ones.

    Args:
        lifts: Recommender -> mean final score of its first K less that of all, for each K.
        sizes: Numbers K of models.
    """
    figure, axes = _canvas(7, 4)
    for (name, values), marker in zip(lifts.items(), _MARKERS, strict=False):
        axes.plot(sizes, values, marker=marker, markersize=4, label=name)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(sizes)
    axes.set_xlabel("models recalled")
    axes.set_ylabel("mean of their final scores less that of all")
    _add_legend(axes)
    axes.grid(alpha=0.3)
    return figure


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches, or of the maximum size."""
    size = (min(width, _MAX_WIDTH), min(height, _MAX_HEIGHT))
    return Figure(figsize=size, layout="constrained", dpi=_DPI)


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure and its only axes."""
    figure = _figure(width, height)
    return figure, figure.add_subplot()


def _add_legend(axes: Any) -> None:
    """Add a legend to the right of the axes."""
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same keys as a Markdown table; unknown values are a dash."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(r[c]) for c in columns] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return escape_markdown(value)


def run_link(host: str, experiment_id: str, run_id: str) -> str:
    """Return the address of a run in the UI.

    Without the workflow type, the UI opens in another mode.
    """
    return f"{host}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def candidates_link(host: str, experiment_id: str, parent_id: str, metric: str) -> str:
    """Return the address in the UI of a selection's candidates with their curves, best first."""
    query = quote(f"tags.mlflow.parentRunId = '{parent_id}'")
    order = quote(f"metrics.`val/{metric}`", safe="")
    return (
        f"{host}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&searchFilter={query}&orderByKey={order}&orderByAsc=false"
    )
