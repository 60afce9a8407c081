"""The tables and pictures of the example's README, made from its export.

Each table stands between `<!-- NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.export.export_history import ExportHistory
from mlflow_recall.core.clusters.clustering import cluster_models, cluster_prefix
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.overview import Overview, summarize_history
from mlflow_recall.core.history.tasks import PRIMARY
from mlflow_recall_example import FOLDER, HISTORY, TARGETS
from mlflow_recall_example.draw import Dataset

PICTURES = FOLDER / "pictures"
README = FOLDER / "README.md"
#: models with a curve in color: more could not be distinguished in one small picture
DRAWN = 5


def write(datasets: Mapping[str, Dataset]) -> Iterator[Path]:
    """Write tables and pictures of the history, and yield the files as they are written."""
    records = ExportHistory(HISTORY).records(PRIMARY)
    overviews = summarize_history(records, PRIMARY)
    PICTURES.mkdir(exist_ok=True)
    for overview in overviews:
        benchmarks = overview.matrix
        for target in set(TARGETS) & set(benchmarks.datasets):
            benchmarks = benchmarks.without_dataset(target)
        groups = cluster_models(benchmarks, prefix=cluster_prefix(overview.modality, PRIMARY))
        curves = Curves.from_records(select_comparable(records, overview.modality).records)
        for name, figure in (
            ("matrix", figures.matrix_figure(overview.matrix, groups)),
            ("clusters", figures.dendrogram_figure(groups)),
            ("curves", curves_figure(curves, spread(overview.matrix))),
        ):
            if figure is not None:
                path = PICTURES / f"{overview.modality}-{name}.png"
                figure.savefig(path, dpi=80, bbox_inches="tight", metadata={"Software": None})
                yield path
    text = README.read_text(encoding="utf-8")
    tables = {
        "models": figures.markdown_table(model_rows()),
        "datasets": figures.markdown_table(dataset_rows(datasets, overviews)),
        "noise": figures.markdown_table(noise_rows(overviews)),
        **{f"{overview.modality} clusters": clusters_table(overview) for overview in overviews},
    }
    for name, table in tables.items():
        before, begin, after = text.partition(f"<!-- {name} -->\n")
        _, end, rest = after.partition("<!-- end -->")
        if begin and end:
            text = f"{before}{begin}{table}\n{end}{rest}"
    README.write_text(text, encoding="utf-8")
    yield README


def model_rows() -> list[dict[str, Any]]:
    """Return one row for each member of both zoo files."""
    return [
        {
            "model": model["name"],
            "modality": model["modality"],
            "checkpoint": model["source"].partition(":/")[2],
            "family": model["family"],
            "upstream data": model["upstream"],
            "real head": "yes" if model["source_head"] else "",
            "license": model["license"],
            "weights": _weights(model),
        }
        for zoo in ("zoo.yaml", "image_zoo.yaml")
        for model in yaml.safe_load((FOLDER / zoo).read_text(encoding="utf-8"))["models"]
    ]


def _weights(model: dict[str, Any]) -> str:
    if "rebuild" in model:
        return "trained here"
    return "random, seeded" if model["family"] == "scratch" else "package"


def dataset_rows(
    datasets: Mapping[str, Dataset], overviews: Sequence[Overview]
) -> list[dict[str, Any]]:
    """Return one row for each dataset that is recorded or can be prepared."""
    recorded = {
        name: (overview.modality, int((~np.isnan(column)).sum()), len(overview.matrix.models))
        for overview in overviews
        for name, column in zip(overview.matrix.datasets, overview.matrix.values.T, strict=True)
    }
    shipped = yaml.safe_load((FOLDER / "targets" / "targets.yaml").read_text())["datasets"]
    terms = {entry["name"]: (entry["license"], entry["origin"]) for entry in shipped}
    terms |= {name: (dataset.license, dataset.origin) for name, dataset in datasets.items()}
    rows = []
    for name, (terms_of_use, origin) in terms.items():
        modality, done, models = recorded.get(name, ("", 0, 0))
        rows.append(
            {
                "dataset": name,
                "role": "target" if name in TARGETS else "benchmark",
                "recorded": f"{done} of {models} {modality} models" if done else "not yet",
                "origin": origin,
                "license": terms_of_use,
            }
        )
    return rows


def noise_rows(overviews: Sequence[Overview]) -> list[dict[str, Any]]:
    """Return coverage and noise floor of each modality."""
    return [
        {
            "modality": overview.modality,
            "models": len(overview.matrix.models),
            "datasets": len(overview.matrix.datasets),
            "cells": overview.cells,
            "coverage": f"{overview.matrix.coverage:.0%}",
            "repeated cells": overview.noise.cells,
            "noise (one sd)": overview.noise.std if overview.noise.cells else "not yet",
        }
        for overview in overviews
    ]


def clusters_table(overview: Overview) -> str:
    """Return the clusters of one modality on its benchmarks."""
    matrix: PerformanceMatrix = overview.matrix
    for target in set(TARGETS) & set(matrix.datasets):
        matrix = matrix.without_dataset(target)
    groups = cluster_models(matrix, prefix=cluster_prefix(overview.modality, PRIMARY))
    return figures.markdown_table(
        [
            {"cluster": c.id, "representative": c.representative, "members": ", ".join(c.members)}
            for c in groups.clusters
        ]
    )


def spread(matrix: PerformanceMatrix) -> list[str]:
    """Return a few models, evenly spaced from the strongest to the weakest."""
    order = np.argsort(-matrix.mean_z_score)
    picked = order[np.linspace(0, len(order) - 1, DRAWN).round().astype(int)]
    return [matrix.models[i] for i in picked]


def curves_figure(curves: Curves, models: Sequence[str]) -> Figure:
    """Draw the validation scores of a few models by epoch, on every dataset."""
    columns = 4
    rows = -(-len(curves.datasets) // columns)
    figure = Figure(figsize=(3 * columns, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    stages = np.arange(1, curves.stages + 1)
    for panel, dataset, scores in zip(
        axes, curves.datasets, curves.scores.transpose(1, 0, 2), strict=False
    ):
        panel.plot(stages, scores.T, color="lightgray", linewidth=0.8)
        for model in models:
            panel.plot(stages, scores[curves.models.index(model)], label=model, linewidth=1.6)
        panel.set_title(dataset, fontsize="medium")
        panel.set_xticks(stages)
    for panel in axes[len(curves.datasets) :]:
        panel.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=DRAWN, frameon=False)
    figure.supylabel("validation score")
    for panel in axes[len(curves.datasets) - columns : len(curves.datasets)]:
        panel.set_xlabel("epoch")
    return figure
