"""The command ``backtest``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.groups import (
    COUNT,
    DEFAULT_TOLERANCE,
    StoreOptions,
    TableOptions,
    metric_option,
)
from mlflow_recall.cli.options import CONTEXT, Number, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, run_note
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import open_tables, refuse_table_options

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import BacktestConfig
    from mlflow_recall.core.backtest.strategies import ReplayResult
    from mlflow_recall.workflows.backtest import BacktestResult


@dataclass(frozen=True, kw_only=True)
class BacktestOptions:
    """How the history is judged."""

    metric: str = metric_option("Metric to judge by")
    stages: int | None = option(
        "--stages", type=COUNT, unset="as recorded", help="Stages of a curve."
    )
    min_models: int | None = option(
        "--min-models",
        type=COUNT,
        unset="half of them",
        help="Models that a step and a dataset of curves in --history need.",
    )
    top_k: int = option(
        "--top-k",
        default=10,
        type=COUNT,
        help="Candidates of the policies that do not choose them themselves.",
    )
    tolerance: float | None = option(
        "--tolerance",
        type=Number(),
        unset=DEFAULT_TOLERANCE,
        help="Regret treated as zero.",
    )
    min_gain_per_epoch: float = option(
        "--min-gain-per-epoch",
        default=0.001,
        help="Gain in the metric that one more epoch must be expected to bring.",
    )

    def config(self, tables: TableOptions) -> BacktestConfig:
        """Return the settings of the back-test."""
        from mlflow_recall.config import BacktestConfig

        return BacktestConfig(
            metric=self.metric,
            modality=tables.modality,
            stages=self.stages,
            min_models=self.min_models,
            top_k=self.top_k,
            tolerance=self.tolerance,
            min_gain_per_epoch=self.min_gain_per_epoch,
            drop_datasets=tables.drop_dataset,
        )


@click.command(context_settings=CONTEXT)
@takes(options=BacktestOptions, tables=TableOptions, store=StoreOptions, output=OutputOptions)
def backtest(
    options: BacktestOptions, tables: TableOptions, store: StoreOptions, output: OutputOptions
) -> None:
    """Replay recommenders and policies on the history, each dataset held out in turn.

    Says how far the history can be trusted, and stores what it prefers: `select` uses that from
    then on, unless another recommender or policy is requested.
    """
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.backtest import backtest_history, backtest_zoo

    config = options.config(tables)
    if tables.history:
        terminal = Terminal()
        history = open_tables(tables, terminal, options.metric)
        _show(backtest_history(config, history, terminal), output, terminal)
        return
    refuse_table_options(tables, ["minimize"])
    with open_session(store) as session:
        _show(backtest_zoo(config, session.services), output, session.terminal)


def _show(results: Sequence[BacktestResult], output: OutputOptions, terminal: Terminal) -> None:
    from mlflow_recall.workflows.backtest import backtest_tables

    data = [backtest_json(result) for result in results]
    output.write(data[0] if len(data) == 1 else {"by_modality": data})
    if not output.is_for_people:
        return
    for result in results:
        subject = f"{result.modality} {result.unit.metric}".strip()
        for title, rows in backtest_tables(result).items():
            terminal.table(f"{title.lower()}, {subject}", rows)
        for sentence in result.conclusion.sentences:
            echo(sentence)
        stored = f"; `auto` from now on{run_note(result.run_id)}" if result.run_id else ""
        echo(f"{subject}: {result.conclusion.outcome}{stored}")


def backtest_json(result: BacktestResult) -> dict[str, Any]:
    """Return a back-test for machines."""
    policies, conclusion = result.policies, result.conclusion
    return {
        "modality": result.modality,
        "metric": result.metric,
        "metrics": list(result.unit.metrics),
        "tolerance": result.tolerance,
        "notes": list(result.unit.notes),
        "models": len(result.matrix.models),
        "datasets": len(result.matrix.datasets),
        "recommenders": {
            name: {
                **{measure: estimate.mean for measure, estimate in recommender.summary.items()},
                "targets": len(recommender.datasets),
            }
            for name, recommender in result.comparison.results.items()
        },
        "left_out": dict(result.comparison.left_out),
        "calibration": {
            "recommender": result.calibration.name,
            "promised": result.calibration.promised,
            **{
                name: {"mean": estimate.mean, "se": estimate.standard_error}
                for name, estimate in result.calibration.summary.items()
            },
        },
        "policies": {
            name: {
                "epochs": float(replayed.epochs.mean()),
                "regret": float(replayed.regrets.mean()),
                "within_tolerance": replayed.share_within(result.tolerance),
                "candidates": float(replayed.candidates.mean()),
                "targets": len(replayed.datasets),
            }
            for name, replayed in (policies.table if policies else {}).items()
        },
        "end_to_end": {
            name: _whole_selection_json(replayed, result)
            for name, replayed in result.whole_selections.items()
        },
        "frontier": {
            name: {
                "points": [list(point) for point in frontier.points],
                "area": frontier.area,
                "area_nested": frontier.area_nested,
                "se": frontier.error,
            }
            for name, frontier in (policies.frontiers if policies else {}).items()
        },
        "verdict": {
            "applies": conclusion.applies,
            "misleading_datasets": list(conclusion.misleading_datasets),
            "defaults": vars(conclusion.defaults),
            "sentences": list(conclusion.sentences),
        },
        "run_id": result.run_id,
    }


def _whole_selection_json(replayed: ReplayResult, result: BacktestResult) -> dict[str, Any]:
    """Return a strategy, recall included; None is unknown."""
    probes = float(replayed.probes.mean())
    return {
        "candidates": float(replayed.candidates.mean()),
        "epochs": float(replayed.epochs.mean()),
        "probes": probes,
        "probe_epochs_paper": float((replayed.total_epochs() - replayed.epochs).mean()),
        "probe_epochs_measured": None
        if result.probe_epochs is None
        else result.probe_epochs * probes,
        **{
            f"speedup_{name}": replayed.speedup(result.whole_selections[name])
            for name in ("brute_force", "halving")
        },
        "regret": float(replayed.regrets.mean()),
        "within_tolerance": replayed.share_within(result.tolerance),
        "targets": len(replayed.datasets),
        "replayed": replayed.from_curves,
    }
