"""The command ``adopt``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.groups import StoreOptions
from mlflow_recall.cli.options import CONTEXT, option, split_at_commas, split_names, takes
from mlflow_recall.cli.output import OutputOptions, echo, exit_if_failed
from mlflow_recall.cli.session import open_session

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import AdoptConfig
    from mlflow_recall.workflows.adopt import AdoptionResult

#: what is read from a run, in the order of a table
_ROLES = ("model", "dataset", "validation", "test", "metric", "unit", "modality", "logged by")


@dataclass(frozen=True, kw_only=True)
class AdoptOptions:
    """Which runs are adopted, and how they are read."""

    experiments: tuple[str, ...] = option(
        "--experiment",
        multiple=True,
        callback=split_at_commas,
        unset="none",
        help="Names, patterns or ids of experiments, comma separated or repeated.",
    )
    model: str | None = option(
        "--model",
        unset="guessed",
        help="Where the model is named: params.KEY, tags.KEY or run_name.",
    )
    dataset: str | None = option(
        "--dataset",
        unset="guessed",
        help="Where the dataset is named: params.KEY, tags.KEY, inputs, experiment or run_name; "
        "params.A+params.B joins two.",
    )
    validation: str | None = option(
        "--validation", unset="guessed", help="Metric that is the validation curve."
    )
    test: str | None = option(
        "--test",
        unset="guessed",
        help="Metric that is the final test score; runs without it are left out.",
    )
    metric: str | None = option(
        "--metric", unset="guessed", help="Name of the metric in the history, such as accuracy."
    )
    minimize: bool | None = option(
        "--minimize/--maximize",
        default=None,
        unset="as known",
        help="Direction of an unknown metric.",
    )
    unit: str | None = option(
        "--unit",
        unset="by values and names",
        help="percent or fraction: unit of scores such as accuracy, in all named experiments.",
    )
    modality: str | None = option(
        "--modality", unset="as registered, or guessed", help="text or image."
    )
    filter: str | None = option(
        "--filter", unset="none", help="A filter of MLflow's search, such as \"tags.team = 'x'\"."
    )
    keep: str | None = option(
        "--keep",
        unset="best",
        help="Which of several configurations on one model and dataset count: best by validation, "
        "last or all. Runs that differ in seed or paths alone are repeats, and all count.",
    )
    ignore: str | None = option(
        "--ignore", unset="none", help="More params that may differ between repeats."
    )
    rules: str | None = option(
        "--rules", unset="none", help="YAML file with these options as keys."
    )
    dry_run: bool = option("--dry-run", is_flag=True, help="Show what is understood, and stop.")
    release: bool = option("--release", is_flag=True, help="Remove all tags from adopted runs.")
    zoo_to: str | None = option(
        "--zoo-to", unset="none", help="Write a zoo file with the models that are not registered."
    )

    def config(self) -> AdoptConfig:
        """Return the settings: the options, and for the others the file of rules.

        Raises:
            ConfigError: The file cannot be read, or a value is not known.
        """
        from mlflow_recall.adapters.tracking.adopted_runs import read_rules
        from mlflow_recall.config import AdoptConfig
        from mlflow_recall.core.external_runs.rules import ImportRules

        rules = read_rules(self.rules) if self.rules else {}
        experiments = rules.pop("experiment", ())
        query = rules.pop("filter", None)
        for key in ("model", "dataset", "validation", "test", "ignore"):
            if value := getattr(self, key):
                rules[key] = split_names(value)
        for key in ("metric", "modality", "unit", "keep", "minimize"):
            if (value := getattr(self, key)) is not None:
                rules[key] = value
        return AdoptConfig(
            experiments=self.experiments or experiments,
            rules=ImportRules(**rules),
            filter=self.filter or query,
            dry_run=self.dry_run,
        )


@click.command(context_settings=CONTEXT)
@takes(options=AdoptOptions, store=StoreOptions, output=OutputOptions)
def adopt(options: AdoptOptions, store: StoreOptions, output: OutputOptions) -> None:
    """Take fine-tunings that are in MLflow already into the history; nothing is trained.

    What no option says is guessed by the names that HF Trainer, Lightning and timm use: look at it
    with --dry-run. Only tags named recall.* are changed. Run it again to take in what is new.
    """
    from mlflow_recall.core.formatting import count_of
    from mlflow_recall.workflows.adopt import adopt_runs, release_runs

    config = options.config()
    with open_session(store) as session:
        if options.release:
            released = release_runs(config, session.services)
            output.write({"released": released, "dry_run": config.dry_run})
            if output.is_for_people:
                verb = "would be released" if config.dry_run else "released"
                echo(f"{count_of(released, 'run')} {verb}")
            return
        result = adopt_runs(config, session.services, session.registry)
        prefix = session.registry.name_of("")
        if options.zoo_to:
            _write_zoo(result, prefix, Path(options.zoo_to))
        output.write(_result_json(result, prefix, dry_run=config.dry_run))
        if output.is_for_people:
            _show(result, session.terminal, dry_run=config.dry_run)
    exit_if_failed(result.selection.failed)


def _write_zoo(result: AdoptionResult, prefix: str, path: Path) -> None:
    import yaml

    from mlflow_recall.workflows.adopt import zoo_entry

    models = [zoo_entry(candidate, prefix) for candidate in result.selection.unregistered]
    path.write_text(yaml.safe_dump({"models": models}, sort_keys=False))


def _result_json(result: AdoptionResult, prefix: str, *, dry_run: bool) -> dict[str, Any]:
    from mlflow_recall.workflows.adopt import adoption_notes, zoo_entry

    selection = result.selection
    return {
        **vars(result.written),
        "dry_run": dry_run,
        "cells": selection.cells,
        "models": len(selection.models),
        "datasets": len(selection.datasets),
        "coverage": selection.coverage,
        "left_out": {
            reason: [run.run_id for run in runs] for reason, runs in selection.left_out.items()
        },
        "failed": dict(selection.failed),
        "rules": {
            experiment: {k: v for k, v in vars(rules).items() if k not in ("test_needed", "unit")}
            for experiment, rules in selection.rules.items()
        },
        "runs": [
            {
                "run_id": c.run.run_id,
                "model": c.model,
                "dataset": c.dataset,
                "modality": c.modality,
                "final_score": c.source.final_score(c.run.metrics),
                "tested": bool(c.source.test),
                "state": result.states[c.run.run_id],
            }
            for c in selection.accepted
        ],
        "unregistered": [zoo_entry(c, prefix) for c in selection.unregistered],
        "notes": adoption_notes(result),
    }


def _show(result: AdoptionResult, terminal: Terminal, *, dry_run: bool) -> None:
    """Show what is understood, the cells of a dry run, and the outcome."""
    from mlflow_recall.core.formatting import count_of
    from mlflow_recall.workflows.adopt import adoption_notes

    selection, written = result.selection, result.written
    terminal.table("understood as", _role_rows(result))
    if dry_run:
        terminal.table("datasets", _dataset_rows(result))
    rows = [
        {"runs": len(runs), "left out because": reason, "such as": runs[0].label}
        for reason, runs in selection.left_out.items()
    ]
    terminal.table("left out", rows)
    for note in adoption_notes(result):
        terminal.warning(note)
    for name, reason in selection.failed.items():
        terminal.warning(f"failed: experiment {name!r}: {reason}")
    left_out = sum(map(len, selection.left_out.values()))
    echo(
        f"{count_of(written.adopted, 'run')} {'would be ' if dry_run else ''}adopted, "
        f"{written.known} known"
        + (f", {written.updated} updated" if written.updated else "")
        + (f", {written.released} released" if written.released else "")
        + f", {left_out} left out: {count_of(len(selection.models), 'model')} on "
        f"{count_of(len(selection.datasets), 'dataset')}, {count_of(selection.cells, 'cell')}, "
        f"coverage {selection.coverage:.0%}"
    )


def _role_rows(result: AdoptionResult) -> list[dict[str, object]]:
    """Return one row for each role and place that it is read from."""
    from mlflow_recall.core.external_runs.logging_conventions import detect_convention, read_value

    selection, accepted = result.selection, result.selection.accepted
    counts: dict[str, Counter[str]] = {role: Counter() for role in _ROLES}
    for c in accepted:
        rules = selection.rules[c.run.experiment]
        direction = "lower" if rules.minimize else "higher"
        score_keys = (c.source.validation, c.source.test)
        units = dict.fromkeys(
            f"{key} in {rules.units[key]}" for key in score_keys if key in rules.units
        )
        values = {
            "model": next(key for key in rules.model if read_value(c.run, key)),
            "dataset": next(key for key in rules.dataset if read_value(c.run, key)),
            "validation": c.source.validation or "-",
            "test": c.source.test or "-",
            "metric": f"{rules.metric}, {direction} is better",
            "unit": ", ".join(units) or "-",
            "modality": c.modality,
            "logged by": detect_convention(c.run),
        }
        for role, value in values.items():
            counts[role][value] += 1
    return [
        {"role": role, "read from": value, "runs": n}
        for role in _ROLES
        for value, n in counts[role].items()
    ]


def _dataset_rows(result: AdoptionResult) -> list[dict[str, object]]:
    selection = result.selection
    rows: list[dict[str, object]] = []
    columns = {(c.dataset, selection.metric(c)) for c in selection.accepted}
    for name, metric in sorted(columns):
        runs = [c for c in selection.accepted if (c.dataset, selection.metric(c)) == (name, metric)]
        measured = {c.model for c in runs}
        models = {c.model for c in selection.accepted if c.modality == runs[0].modality}
        best = max(runs, key=lambda c: c.final_score)
        rows.append(
            {
                "dataset": name,
                "metric": metric,
                "models": len(measured),
                "missing": len(models - measured),
                "runs": len(runs),
                "best": best.source.final_score(best.run.metrics),
                "best model": best.model,
            }
        )
    return rows
