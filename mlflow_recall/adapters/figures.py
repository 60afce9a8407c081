"""What a person looks at: pictures, and the Markdown of a run's page.

Pictures are matplotlib's, not a page of interactive ones: the UI previews a PNG of some 40 kB at
once, where every self-contained interactive page weighs 4.6 MB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.history.matrix import PerformanceMatrix, indices_of
from mlflow_recall.core.history.overview import Overview

_ROW = 0.3  # inches of a model in a figure
_MEASURED = ListedColormap(["#d62728", "#c7dcef"])  # missing, measured


def matrix_figure(matrix: PerformanceMatrix, clustering: Clustering) -> Figure:
    """Scores of every model on every dataset, models in the order of their clusters."""
    order = [model for cluster in clustering.clusters for model in cluster.members]
    values = matrix.values[indices_of(matrix.models, order)]
    rows, columns = values.shape
    figure, axes = _canvas(2.5 + 0.75 * columns, 1.6 + _ROW * rows)
    image = axes.imshow(values, aspect="auto", cmap="viridis")
    axes.set_xticks(range(columns), matrix.datasets, rotation=35, ha="right")
    labels = [f"{m}  {c.id}" for c in clustering.clusters for m in c.members]
    axes.set_yticks(range(rows), labels)
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    if values.size <= 1000:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "white" if value < middle else "black"
                place = {"ha": "center", "va": "center", "fontsize": 7}
                axes.text(column, row, f"{value:.2f}", color=color, **place)
    figure.colorbar(image, ax=axes, label="final test score")
    return figure


def coverage_figure(found: Sequence[Overview], prefix: str = "") -> Figure:
    """Which cells of each overview are measured, side by side; the best measured first.

    Args:
        found: at least one.
        prefix: of every model's name in the registry, which says nothing here.
    """
    shapes = [each.matrix.values.shape for each in found]
    width = sum(2.5 + 0.3 * columns for _, columns in shapes)
    figure = Figure(
        figsize=(min(width, 40), min(1.8 + _ROW * max(rows for rows, _ in shapes), 60)),
        layout="constrained",
        dpi=110,
    )
    for axes, each in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        measured = ~np.isnan(each.matrix.values)
        rows = np.argsort(-measured.sum(axis=1), kind="stable")
        columns = np.argsort(-measured.sum(axis=0), kind="stable")
        axes.imshow(measured[np.ix_(rows, columns)], aspect="auto", cmap=_MEASURED, vmin=0, vmax=1)
        names = [each.matrix.models[row].removeprefix(prefix) for row in rows]
        _label(axes.yaxis, names)
        _label(axes.xaxis, [each.matrix.datasets[column] for column in columns])
        axes.tick_params(axis="x", rotation=90)
        axes.set_title(
            f"{each.modality} {each.metric}: {each.matrix.coverage:.1%} measured, "
            f"{len(each.missing)} cells missing (red)".strip(),
            fontsize="medium",
        )
    return figure


def _label(axis: Any, names: Sequence[str], most: int = 120) -> None:
    """Every name, or evenly spaced ones where they would run into each other."""
    step = -(-len(names) // most)
    axis.set_ticks(range(0, len(names), step), names[::step], fontsize=7)


def dendrogram_figure(clustering: Clustering) -> Figure | None:
    """The dendrogram of a hierarchical clustering; None for any other."""
    if clustering.linkage is None:
        return None
    figure, axes = _canvas(8, 1.2 + _ROW * len(clustering.models))
    dendrogram(
        clustering.linkage,
        orientation="right",
        labels=list(clustering.models),
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
    """Validation score of every candidate by stage; hollow: the end its trend foretold then."""
    figure, axes = _canvas(8, 4.5)
    last = max(map(len, curves.values()), default=1)
    for model, scores in curves.items():
        (line,) = axes.plot(range(1, len(scores) + 1), scores, marker="o", label=model)
        if points := predicted.get(model):
            axes.scatter(
                [stage for stage, _ in points],
                [end for _, end in points],
                facecolors="none",
                edgecolors=line.get_color(),
                s=70,
            )
    axes.set_xticks(range(1, last + 1))
    axes.set_xlabel("stage (hollow: the end foretold at this stage)")
    axes.set_ylabel(f"validation {metric}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.grid(alpha=0.3)
    return figure


def ranking_figure(
    models: Sequence[str], parts: Mapping[str, Sequence[float]], chosen: Sequence[str]
) -> Figure:
    """Every part of a ranking, standardized so that they share an axis; the chosen in bold."""
    figure, axes = _canvas(8, 1.2 + _ROW * len(models))
    height = 0.8 / max(1, len(parts))
    place = np.arange(len(models))
    for i, (name, values) in enumerate(parts.items()):
        column = np.array([np.nan if v is None else v for v in values], dtype=float)
        known = column[~np.isnan(column)]
        spread = known.std() if known.size else 0.0
        scaled = (column - known.mean()) / spread if spread > 0 else np.zeros_like(column)
        axes.barh(place + (i - (len(parts) - 1) / 2) * height, scaled, height, label=name)
    axes.set_yticks(place, models)
    for model, label in zip(models, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if model in chosen else "normal")
    axes.set_title("recalled in bold", fontsize="medium")
    axes.invert_yaxis()
    axes.set_xlabel("standard deviations from the mean over models")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def frontier_figure(points: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Mean regret over mean epochs of every policy's settings; lower left is better."""
    figure, axes = _canvas(8, 4.5)
    for (name, found), marker in zip(points.items(), "os^Dv*Px<>", strict=False):
        axes.plot(*zip(*found, strict=True), marker=marker, markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("epochs of training on the target")
    axes.set_ylabel("regret: best model less the winner")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.grid(alpha=0.3, which="both")
    return figure


def lift_figure(found: Mapping[str, Sequence[float]], sizes: Sequence[int]) -> Figure:
    """How much better the first K of each recommender are on average than K at random.

    Args:
        found: recommender -> mean final score of its first K less that of all, for each K.
        sizes: the Ks.
    """
    figure, axes = _canvas(7, 4)
    for (name, values), marker in zip(found.items(), "os^Dv*Px<>", strict=False):
        axes.plot(sizes, values, marker=marker, markersize=4, label=name)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set_xticks(sizes)
    axes.set_xlabel("models recalled")
    axes.set_ylabel("mean of their final scores less that of all")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.grid(alpha=0.3)
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(min(width, 40), min(height, 60)), layout="constrained", dpi=110)
    return figure, figure.add_subplot()


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table; what is unknown is a dash."""
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
    return " ".join(str(value).split()).replace("|", "\\|")


def run_link(host: str, experiment_id: str, run_id: str) -> str:
    """Where the UI shows a run; without the last part it would open in another mode."""
    return f"{host}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def candidates_link(host: str, experiment_id: str, parent_id: str, metric: str) -> str:
    """Where the UI shows the candidates side by side, best first, with their curves."""
    query = quote(f"tags.mlflow.parentRunId = '{parent_id}'")
    order = quote(f"metrics.`val/{metric}`", safe="")
    return (
        f"{host}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&searchFilter={query}&orderByKey={order}&orderByAsc=false"
    )
