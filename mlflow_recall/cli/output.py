"""What is printed: one JSON object for machines, a short table and an outcome for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.cli.session import Work
    from mlflow_recall.core.clusters.comparison import ClusteringComparison
    from mlflow_recall.core.history.overview import Overview
    from mlflow_recall.core.recommend.recommendation import Recommendation
    from mlflow_recall.workflows.cluster import ClusterResult
    from mlflow_recall.workflows.recall import RecallResult
    from mlflow_recall.workflows.recommendation_tables import Explanation
    from mlflow_recall.workflows.selection import SelectionResult


def out(json_to: str | None, data: Mapping[str, Any]) -> None:
    """One JSON object, NaN as null."""
    if not json_to:
        return
    text = json.dumps(_finite(data), indent=2)
    if json_to == "-":
        click.echo(text)
    else:
        Path(json_to).write_text(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_clusters(found: Sequence[ClusterResult], json_to: str, terminal: Terminal) -> None:
    """Clusters of every modality."""
    from mlflow_recall.workflows.cluster import cluster_rows

    data = [
        {
            "modality": each.modality,
            "clusters": [
                {"id": c.id, "representative": c.representative, "members": list(c.members)}
                for c in each.clustering.clusters
            ],
            "silhouette": each.clustering.silhouette,
            "silhouette_paper": each.clustering.silhouette_paper,
            "run_id": each.run_id,
            "notes": list(each.notes),
        }
        for each in found
    ]
    if len(data) > 1:  # each by itself, and all clusters together
        together = [c for entry in data for c in entry["clusters"]]  # type: ignore[attr-defined]
        out(json_to, {"clusters": together, "by_modality": data})
    else:
        out(json_to, data[0])
    if json_to == "-":
        return
    for each in found:
        for note in each.notes:
            terminal.warning(f"{note}")
        terminal.table(f"clusters {each.modality}".strip(), cluster_rows(each.clustering))
        clusters = each.clustering.clusters
        click.echo(
            f"{len(each.clustering.models)} models on {len(each.matrix.datasets)} datasets: "
            f"{sum(not c.is_singleton for c in clusters)} clusters and "
            f"{sum(c.is_singleton for c in clusters)} singletons, silhouette "
            f"{each.clustering.silhouette:.3f}" + (f"; run {each.run_id}" if each.run_id else "")
        )


def show_comparison(
    compared: Mapping[str, Sequence[ClusteringComparison]], json_to: str, terminal: Terminal
) -> None:
    """Clusterings side by side, and the one whose models are best separated."""
    data = [
        {"modality": modality or "any", **vars(row)}
        for modality, rows in compared.items()
        for row in rows
    ]
    out(json_to, {"comparison": data})
    if json_to == "-":
        return
    for modality, rows in compared.items():
        shown = [
            {
                "similarity": row.similarity,
                "method": row.method,
                "asked": "auto" if row.requested is None else f"{row.choice} {row.requested:g}",
                "clusters": row.clusters,
                "singletons": row.singletons,
                "silhouette": row.silhouette,
                "as in the paper": row.silhouette_paper,
            }
            for row in rows
        ]
        terminal.table(f"clusterings {modality}".strip(), shown)
        if known := [row for row in rows if not math.isnan(row.silhouette)]:
            best = max(known, key=lambda row: row.silhouette)
            click.echo(
                f"{modality or 'models'}: best separated by {best.similarity} and {best.method}, "
                f"{best.clusters} clusters and {best.singletons} singletons, silhouette "
                f"{best.silhouette:.3f} in the distance of eq. 1"
            )


def overview_data(found: Sequence[Overview]) -> dict[str, Any]:
    """Modality -> metric -> what there is of it; datasets without a modality are ``any``."""
    data: dict[str, Any] = {}
    for each in found:
        data.setdefault(each.modality or "any", {})[each.metric] = {
            "models": len(each.matrix.models),
            "datasets": len(each.matrix.datasets),
            "cells": each.cells,
            "coverage": each.matrix.coverage,
            "noise": each.noise.std,
            "repeated": {"cells": each.noise.cells, "runs": each.noise.runs},
            "missing": [{"model": m, "dataset": d} for m, d in each.missing],
            "notes": each.notes,
        }
    return data


def overview_rows(found: Sequence[Overview]) -> list[dict[str, object]]:
    """One row a modality and metric."""
    return [
        {
            "modality": each.modality or "any",
            "metric": each.metric,
            "models": len(each.matrix.models),
            "datasets": len(each.matrix.datasets),
            "cells": each.cells,
            "coverage": f"{each.matrix.coverage:.1%}",
            "noise": None if math.isnan(each.noise.std) else each.noise.std,
            "repeated cells": each.noise.cells,
        }
        for each in found
    ]


def dataset_rows(each: Overview, prefix: str = "") -> list[dict[str, object]]:
    """One row a dataset: how many models were measured, and what the best and the others reached.

    Args:
        each: of one modality and metric.
        prefix: of every model's name in the registry, which says nothing here.
    """
    sign = -1.0 if each.is_loss else 1.0
    rows: list[dict[str, object]] = []
    for dataset, column in zip(each.matrix.datasets, each.matrix.values.T, strict=True):
        known = sorted(
            (-value, model) for model, value in zip(each.matrix.models, column, strict=True)
            if value == value
        )  # fmt: skip
        best, model = known[0]
        rows.append(
            {
                "dataset": dataset,
                "measured": len(known),
                "missing": len(column) - len(known),
                "best": sign * -best,
                "by": model.removeprefix(prefix),
                "median": sign * -known[len(known) // 2][0],
                "worst": sign * -known[-1][0],
            }
        )
    return rows


def coverage_lines(each: Overview, prefix: str = "") -> list[str]:
    """A heat map in characters of what is missing: none where nothing is.

    Args:
        each: of one modality and metric.
        prefix: of every model's name in the registry, which says nothing here.
    """
    from mlflow_recall.core.history.overview import coverage_map

    if not each.missing:
        return []
    found = coverage_map(each.matrix)
    labels = [_block_label([name.removeprefix(prefix) for name in row]) for row in found.rows]
    width = max(map(len, labels))
    shades = "·░▒▓█"  # nothing, up to a third, up to two thirds, more, all
    lines = [f"measured {shades[-1]}, missing {shades[0]}; the best measured come first"]
    for label, shares in zip(labels, found.shares, strict=True):
        blocks = (shades[0 if s == 0 else 4 if s == 1 else 1 + int(3 * s)] for s in shares)
        lines.append(f"{label:<{width}} {''.join(blocks)}")
    ends = found.columns[0], found.columns[-1]
    lines.append(f"{'columns':<{width}} {ends[0][0]} … {ends[1][-1]}")
    return lines


def _block_label(names: Sequence[str], most: int = 36) -> str:
    """A row's models: its only one, or how many they are and one of them."""
    label = names[0] if len(names) == 1 else f"{len(names)} models, {names[0]} …"
    return label if len(label) <= most else f"{label[: most - 1]}…"


def overview_line(each: Overview) -> str:
    """The outcome: how complete, and what the noise floor means."""
    matrix = each.matrix
    line = (
        f"{each.modality or 'history'}: {len(matrix.models)} models on {len(matrix.datasets)} "
        f"datasets, {each.cells} cells, coverage {matrix.coverage:.0%}"
    )
    if each.noise.cells:
        return (
            f"{line}; {each.noise.cells} cells were repeated and differ by "
            f"{each.noise.std:.4f} {each.metric} (one standard deviation)"
        )
    return f"{line}; no cell was repeated, so the noise floor is unknown"


def advice_json(advice: Recommendation) -> dict[str, Any]:
    """A recommendation for machines."""
    from mlflow_recall.workflows.recommendation_tables import recommendation_data

    rows = []
    for row in recommendation_data(advice):
        gap = {"mean": row.pop("gap"), "low": row.pop("low"), "high": row.pop("high")}
        rows.append({**row, "gap": gap})
    return {
        "ranking": rows,
        "set": {
            "models": list(advice.selected),
            "p_holds_best_within_tolerance": advice.p_holds_best,
        },
        "recommender": advice.ranker,
        "set_by": advice.set_selector,
        "notes": list(advice.notes),
    }


def recall_data(recalled: RecallResult) -> dict[str, Any]:
    """A recall for machines."""
    return {
        **advice_json(recalled.recommendation),
        "probes": list(recalled.probes),
        "scores": {name: dict(values) for name, values in recalled.scores.items()},
        "left_out": dict(recalled.left_out),
        "notes": list(recalled.notes),
        "cost": {"epochs": recalled.epochs, "seconds": recalled.seconds},
    }


def show_explained(found: Explanation, json_to: str, terminal: Terminal) -> None:
    """Why a model stands where it stands."""
    out(json_to, vars(found))
    if json_to == "-":
        return
    terminal.table("what each part adds", found.parts)
    terminal.table("on recorded datasets", found.recorded)
    if found.representative:
        terminal.info(f"cluster of {found.representative}: {', '.join(found.cluster)}")
    click.echo(
        f"{found.model} is number {found.rank} of {found.out_of} and is "
        f"{'in' if found.is_selected else 'not in'} the set to train"
    )


def select_data(selected: SelectionResult) -> dict[str, Any]:
    """A selection for machines."""
    return {
        "winner": selected.winner.name,
        "registered": dict(selected.registered),
        "run_id": selected.run_id,
        "epochs": selected.epochs,
        "seconds": selected.seconds,
        "test": dict(selected.test),
        "candidates": [
            {
                "model": c.name,
                "status": c.status,
                "stage": c.stage,
                "reason": c.reason,
                "rival": c.rival,
                "run_id": c.run.run_id,
            }
            for c in selected.candidates
        ],
        "cost": dict(selected.cost),
        "final": {"epochs": selected.final.epochs, "test": dict(selected.final.test)},
        "regret": selected.regret,
        "cut": selected.budget_stop,
        "recall": recall_data(selected.recall),
    }


def outcome(selected: SelectionResult, work: Work) -> str:
    """The last line: who won, what it cost, where to look."""
    from mlflow_recall.adapters.figures import run_link
    from mlflow_recall.adapters.tracking.client import redact_password

    uri = redact_password(work.bench.client.tracking_uri)
    served = uri.startswith("http")
    link = run_link(
        uri.rstrip("/") if served else "http://127.0.0.1:5000",
        selected.experiment_id,
        selected.run_id,
    )
    where = link if served else f"{link} after `mlflow ui --backend-store-uri {uri}`"
    regret = f", regret {selected.regret:.3f}" if selected.regret is not None else ""
    name = "{name} version {version} @{alias}".format(**selected.registered)
    cut = f" ({selected.budget_stop})" if selected.budget_stop else ""
    return (
        f"winner: {selected.winner.name}, test {selected.metric} "
        f"{selected.test[selected.metric]:.3f}{regret}, registered as {name}; "
        f"{selected.epochs} epochs{cut} where brute force takes {selected.cost['brute_force']} and "
        f"halving {selected.cost['halving']}; {where}"
    )
