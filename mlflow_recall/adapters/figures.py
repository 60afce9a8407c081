"""What a person looks at: plotly figures in one page, and the Markdown of a run's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import plotly.graph_objects as go
from plotly.io import to_html
from scipy.cluster.hierarchy import dendrogram

from mlflow_recall.core.clustering import Clustering
from mlflow_recall.core.matrix import PerformanceMatrix, positions

_ROW = 22  # pixels of a model in a figure
_STYLE = "body{font-family:sans-serif;margin:1.5em;max-width:70em}h2{margin:1.5em 0 0}"


def page(title: str, figures: Mapping[str, go.Figure]) -> str:
    """One self-contained HTML page; the script of plotly is in it once."""
    parts = [
        f"<h2>{name}</h2>" + to_html(figure, full_html=False, include_plotlyjs=not i)
        for i, (name, figure) in enumerate(figures.items())
    ]
    return (
        f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1>{''.join(parts)}"
    )


def heat_map(matrix: PerformanceMatrix, clustering: Clustering) -> go.Figure:
    """Scores of every model on every dataset, models in the order of their clusters."""
    order = [model for cluster in clustering.clusters for model in cluster.members]
    values = matrix.values[positions(matrix.models, order)]
    labels = [
        f"{model} ({cluster.id})" for cluster in clustering.clusters for model in cluster.members
    ]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(matrix.datasets),
            y=labels,
            colorscale="Viridis",
            texttemplate="%{z:.2f}",
        )
    )
    figure.update_yaxes(autorange="reversed")
    return _sized(figure, len(order))


def tree(clustering: Clustering) -> go.Figure | None:
    """The dendrogram of a hierarchical clustering."""
    if clustering.merges is None:
        return None
    drawn = dendrogram(clustering.merges, no_plot=True, labels=list(clustering.models))
    figure = go.Figure()
    for x, y in zip(drawn["dcoord"], drawn["icoord"], strict=True):
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": "#444"}, hoverinfo="x")
    figure.update_layout(showlegend=False)
    ticks = [5 + 10 * i for i in range(len(drawn["ivl"]))]
    figure.update_yaxes(tickvals=ticks, ticktext=drawn["ivl"])
    figure.update_xaxes(title="mean of the largest differences (eq. 1)", rangemode="tozero")
    return _sized(figure, len(drawn["ivl"]))


def race(
    curves: Mapping[str, Sequence[float]],
    foretold: Mapping[str, Sequence[tuple[int, float]]],
    metric: str,
) -> go.Figure:
    """Validation score of every candidate by stage, and what its trend foretold (dotted)."""
    figure = go.Figure()
    colours = ["#636efa", "#ef553b", "#00cc96", "#ab63fa", "#ffa15a", "#19d3f3", "#ff6692"]
    for i, (model, scores) in enumerate(curves.items()):
        colour = colours[i % len(colours)]
        stages = list(range(1, len(scores) + 1))
        figure.add_scatter(
            x=stages, y=list(scores), name=model, mode="lines+markers", line={"color": colour}
        )
        if foretold.get(model):
            figure.add_scatter(
                x=[stage for stage, _ in foretold[model]],
                y=[end for _, end in foretold[model]],
                name=f"{model}: foretold end",
                mode="markers",
                marker={"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": colour}},
            )
    figure.update_xaxes(title="stage", dtick=1)
    figure.update_yaxes(title=f"validation {metric}")
    figure.update_layout(height=420, margin={"t": 20})
    return figure


def ranking(models: Sequence[str], parts: Mapping[str, Sequence[float]], chosen: int) -> go.Figure:
    """Every part of the ranking, standardised so that they share an axis; the chosen on top."""
    figure = go.Figure()
    for name, values in parts.items():
        column = np.asarray(values, dtype=float)
        spread = np.nanstd(column) if not np.isnan(column).all() else 0.0
        scaled = (column - np.nanmean(column)) / spread if spread > 0 else column * 0
        figure.add_bar(
            y=list(models),
            x=scaled,
            name=name,
            orientation="h",
            customdata=column,
            hovertemplate="%{y}: %{customdata:.3f}",
        )
    figure.add_hline(y=chosen - 0.5, line_dash="dot", annotation_text="recalled above")
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="standard deviations from the mean")
    return _sized(figure, len(models) * max(1, len(parts)))


def _sized(figure: go.Figure, rows: int) -> go.Figure:
    figure.update_layout(height=max(260, 120 + _ROW * rows), margin={"t": 20, "l": 220})
    return figure


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table; None is a dash."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(r[c]) for c in columns] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")


def run_link(host: str, experiment_id: str, run_id: str) -> str:
    """Where the UI shows a run; without the last part it would open in another mode."""
    return f"{host}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def candidates_link(host: str, experiment_id: str, parent_id: str, metric: str) -> str:
    """Where the UI shows the candidates side by side, best first, with their curves."""
    query = quote(f"tags.mlflow.parentRunId = '{parent_id}'")
    order = quote(f"metrics.`val/{metric}`")
    return (
        f"{host}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&searchFilter={query}&orderByKey={order}&orderByAsc=false"
    )
