"""Fine-tunings that are in MLflow already become history."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.options import CONTEXT, JSON, STORE, between_commas, options
from mlflow_recall.cli.output import out
from mlflow_recall.cli.requests import split_names
from mlflow_recall.cli.session import bench

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import AdoptConfig
    from mlflow_recall.workflows.adopt import AdoptionResult

_KEYS = ("model", "dataset", "validation", "test", "ignore")
_READING = options(
    click.option(
        "--experiment",
        "experiments",
        multiple=True,
        callback=between_commas,
        help="Names, patterns or ids, comma separated or repeated.",
    ),
    click.option("--model", help="params.KEY, tags.KEY or run_name that names the model."),
    click.option(
        "--dataset",
        help="params.KEY, tags.KEY, inputs, experiment or run_name that names the dataset; "
        "params.A+params.B joins two.",
    ),
    click.option("--validation", help="Metric that is the validation curve."),
    click.option("--test", help="Metric that is the final test score; runs without are left out."),
    click.option("--metric", help="What the history calls the metric, e.g. accuracy."),
    click.option(
        "--minimize/--maximize", default=None, help="Direction of a metric that we do not know."
    ),
    click.option("--modality", help="text or image; by default as registered, or guessed."),
    click.option("--filter", "query", help="As MLflow's search: \"tags.team = 'x'\"."),
    click.option(
        "--keep",
        help="Of several configurations on one model and dataset: best by validation, last or all "
        "[best]. Runs that differ in seed or paths alone are repeats, and all are kept.",
    ),
    click.option("--ignore", help="More params that may differ between repeats."),
    click.option("--rules", help="YAML file with these options as keys."),
)


@click.command(context_settings=CONTEXT)
@_READING
@click.option("--dry-run", is_flag=True, help="Say what was understood; change nothing.")
@click.option("--release", is_flag=True, help="Take all tags back from adopted runs.")
@click.option("--zoo-to", help="Write a zoo file with the models that are not registered.")
@STORE
@JSON
def adopt(
    dry_run: bool, release: bool, zoo_to: str, tracking_uri: str, namespace: str, json_to: str,
    **reading: Any,
) -> None:  # fmt: skip
    """Take fine-tunings that are in MLflow already into the history; nothing is trained.

    What no option says is guessed by the names that HF Trainer, Lightning and timm use: look at it
    with --dry-run. Of the runs only tags named recall.* are changed. Run again, it takes in what
    is new.
    """
    from mlflow_recall.workflows.adopt import adopt_runs as run
    from mlflow_recall.workflows.adopt import release_runs as take_back

    config = _config(reading, dry_run)
    with bench(tracking_uri, namespace) as work:
        if release:
            runs = take_back(config, work.bench)
            out(json_to, {"released": runs, "dry_run": dry_run})
            if json_to != "-":
                click.echo(f"{runs} runs {'would be' if dry_run else 'are'} history no more")
            return
        adopted = run(config, work.bench, work.registry)
        prefix = work.registry.name_of("")
        if zoo_to:
            _write_zoo(adopted, prefix, Path(zoo_to))
        out(json_to, _data(adopted, prefix, dry_run))
        if json_to != "-":
            _show(adopted, work.terminal, dry_run)


def _config(reading: dict[str, Any], dry_run: bool) -> AdoptConfig:
    """Options over the file of rules."""
    from mlflow_recall.adapters.tracking.adopted_runs import read_rules
    from mlflow_recall.config import AdoptConfig
    from mlflow_recall.core.external_runs.rules import ImportRules

    told = read_rules(reading["rules"]) if reading["rules"] else {}
    experiments = tuple(reading["experiments"]) or told.pop("experiment", ())
    query = reading["query"] or told.pop("filter", "")
    told = {key: value for key, value in told.items() if key not in ("experiment", "filter")}
    told |= {key: split_names(reading[key]) for key in _KEYS if reading[key]}
    told |= {key: reading[key] for key in ("metric", "modality", "keep") if reading[key]}
    if reading["minimize"] is not None:
        told["minimize"] = reading["minimize"]
    return AdoptConfig(experiments, ImportRules(**told), query, dry_run)


def _write_zoo(adopted: AdoptionResult, prefix: str, path: Path) -> None:
    import yaml

    from mlflow_recall.workflows.adopt import zoo_entry

    models = [zoo_entry(candidate, prefix) for candidate in adopted.selection.unregistered]
    path.write_text(yaml.safe_dump({"models": models}, sort_keys=False))


def _data(adopted: AdoptionResult, prefix: str, dry_run: bool) -> dict[str, Any]:
    """What machines read."""
    from mlflow_recall.workflows.adopt import adoption_notes, zoo_entry

    found = adopted.selection
    return {
        **vars(adopted.written),
        "dry_run": dry_run,
        "cells": found.cells,
        "models": len(found.models),
        "datasets": len(found.datasets),
        "coverage": found.coverage,
        "left_out": {
            reason: [run.run_id for run in runs] for reason, runs in found.left_out.items()
        },
        "rules": {k: v for k, v in vars(adopted.rules).items() if k != "test_needed"},
        "runs": [
            {
                "run_id": c.run.run_id,
                "model": c.model,
                "dataset": c.dataset,
                "modality": c.modality,
                "final": c.source.final_score(c.run.metrics),
                "tested": bool(c.source.test),
                "state": adopted.states[c.run.run_id],
            }
            for c in found.accepted
        ],
        "unregistered": [zoo_entry(c, prefix) for c in found.unregistered],
        "notes": adoption_notes(adopted),
    }


def _show(adopted: AdoptionResult, terminal: Terminal, dry_run: bool) -> None:
    """What was understood, cell by cell in a dry run, and the outcome."""
    from mlflow_recall.workflows.adopt import adoption_notes

    found, rules, written = adopted.selection, adopted.rules, adopted.written
    terminal.table("understood as", _understood(adopted))
    if dry_run:
        terminal.table(f"datasets by {rules.metric}", _datasets(adopted))
    rows = [
        {"runs": len(runs), "left out because": reason, "such as": runs[0].label}
        for reason, runs in found.left_out.items()
    ]
    terminal.table("left out", rows)
    for line in adoption_notes(adopted):
        terminal.info(f"note: {line}")
    verb = "would be adopted" if dry_run else "are adopted"
    left = sum(map(len, found.left_out.values()))
    click.echo(
        f"{written.adopted} runs {verb}, {written.known} were there"
        + (f", {written.updated} updated" if written.updated else "")
        + (f", {written.released} released" if written.released else "")
        + f", {left} left out: {len(found.models)} models on {len(found.datasets)} datasets, "
        f"{found.cells} cells, coverage {found.coverage:.0%}"
    )


def _understood(adopted: AdoptionResult) -> list[dict[str, object]]:
    """Role by role, where it is read from and how many runs say it."""
    from mlflow_recall.core.external_runs.logging_conventions import detect_convention, read_value

    rules, kept = adopted.rules, adopted.selection.accepted
    rows: list[dict[str, object]] = []
    for role, keys in (("model", rules.model), ("dataset", rules.dataset)):
        first = Counter(next(k for k in keys if read_value(c.run, k)) for c in kept)
        rows += [{"role": role, "read from": key, "runs": n} for key, n in first.items()]
    for role in ("validation", "test"):
        used = Counter(getattr(c.source, role) or "-" for c in kept)
        rows += [{"role": role, "read from": key, "runs": n} for key, n in used.items()]
    better = "lower" if rules.minimize else "higher"
    rows.append(
        {"role": "metric", "read from": f"{rules.metric}, {better} is better", "runs": len(kept)}
    )
    for role, counts in (
        ("modality", Counter(c.modality for c in kept)),
        ("logged by", Counter(detect_convention(c.run) for c in kept)),
    ):
        rows += [{"role": role, "read from": name, "runs": n} for name, n in counts.items()]
    return rows


def _datasets(adopted: AdoptionResult) -> list[dict[str, object]]:
    """One row a dataset."""
    found = adopted.selection
    rows: list[dict[str, object]] = []
    for name in found.datasets:
        here = [c for c in found.accepted if c.dataset == name]
        models = {c.model for c in here}
        everyone = {c.model for c in found.accepted if c.modality == here[0].modality}
        best = max(here, key=lambda c: c.final_score)
        rows.append(
            {
                "dataset": name,
                "models": len(models),
                "missing": len(everyone - models),
                "runs": len(here),
                "best": best.source.final_score(best.run.metrics),
                "by": best.model,
            }
        )
    return rows
