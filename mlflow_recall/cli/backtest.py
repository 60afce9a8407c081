"""The command that says how far a history can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.options import CONTEXT, HISTORY, JSON, STORE, between_commas
from mlflow_recall.cli.output import out
from mlflow_recall.cli.requests import folder_of, refuse_tables
from mlflow_recall.cli.session import bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.core.backtest.strategies import ReplayResult
    from mlflow_recall.workflows.backtested import BacktestResult


@click.command(context_settings=CONTEXT)
@click.option("--metric", help="What to judge by [accuracy, or the only one of --history].")
@click.option("--modality", help="text or image; by default all that are recorded.")
@click.option("--stages", default=0, type=click.IntRange(min=0), help="Of a curve; 0: as recorded.")
@click.option(
    "--min-models",
    default=0,
    type=click.IntRange(min=0),
    help="Models that a step and a dataset of curves in --history need; 0: half of them.",
)
@click.option(
    "--top-k", default=10, show_default=True, type=click.IntRange(min=1), help="Candidates."
)
@click.option("--tolerance", type=float, help="Gap that does not matter [0.01].")
@click.option("--price", default=0.001, show_default=True, help="Score that an epoch must bring.")
@HISTORY
@click.option(
    "--drop-dataset",
    multiple=True,
    callback=between_commas,
    help="Datasets to leave out, comma separated or repeated.",
)
@STORE
@JSON
def backtest(
    metric: str, modality: str, stages: int, min_models: int, top_k: int, tolerance: float | None,
    price: float, history: str, minimize: tuple[str, ...], drop_dataset: tuple[str, ...],
    tracking_uri: str, namespace: str, json_to: str,
) -> None:  # fmt: skip
    """Replay recommenders and policies on what is recorded, each dataset held out in turn.

    Says how far the history can be trusted, and keeps what it favors: `select` uses that from
    then on where nobody asks for something else.
    """
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import BacktestConfig
    from mlflow_recall.workflows.backtest import backtest_history, backtest_zoo

    config = BacktestConfig(
        metric or "", modality or "", stages, min_models, top_k, tolerance, price,
        tuple(drop_dataset),
    )  # fmt: skip
    if history:
        terminal = Terminal()
        folder = folder_of(history, minimize, metric)
        _show(backtest_history(config, folder, terminal), json_to, terminal)
        return
    refuse_tables({"minimize": minimize})
    with bench(tracking_uri, namespace) as work:
        _show(backtest_zoo(config, work.bench), json_to, work.terminal)


def _show(found: Sequence[BacktestResult], json_to: str, terminal: Terminal) -> None:
    from mlflow_recall.workflows.backtested import backtest_tables

    data = [backtest_data(each) for each in found]
    out(json_to, data[0] if len(data) == 1 else {"by_modality": data})
    if json_to == "-":
        return
    for each in found:
        title = f"{each.modality} {each.metric}".strip()
        for what, rows in backtest_tables(each).items():
            terminal.table(f"{what.lower()}, {title}", rows)
        for sentence in each.conclusion.sentences:
            click.echo(sentence)
        kept = f"; `auto` from now on, run {each.run_id}" if each.run_id else ""
        click.echo(f"{title}: {each.conclusion.outcome}{kept}")


def backtest_data(found: BacktestResult) -> dict[str, Any]:
    """A back-test for machines."""
    tested, conclusion = found.policies, found.conclusion
    return {
        "modality": found.modality,
        "metric": found.metric,
        "models": len(found.matrix.models),
        "datasets": len(found.matrix.datasets),
        "recommenders": {
            name: {
                **{measure: each.mean for measure, each in judged.summary.items()},
                "targets": len(judged.datasets),
            }
            for name, judged in found.comparison.results.items()
        },
        "left_out": dict(found.comparison.left_out),
        "calibration": {
            "recommender": found.calibration.name,
            "promised": found.calibration.promised,
            **{
                name: {"mean": value.mean, "se": value.standard_error}
                for name, value in found.calibration.summary.items()
            },
        },
        "policies": {
            name: {
                "epochs": float(each.epochs.mean()),
                "regret": float(each.regrets.mean()),
                "within_tolerance": each.share_within(found.tolerance),
                "candidates": float(each.candidates.mean()),
                "targets": len(each.datasets),
            }
            for name, each in (tested.table if tested else {}).items()
        },
        "end_to_end": {name: _whole(each, found) for name, each in found.whole_selections.items()},
        "frontier": {
            name: {
                "points": [list(point) for point in each.points],
                "area": each.area,
                "area_nested": each.area_nested,
                "se": each.error,
            }
            for name, each in (tested.frontiers if tested else {}).items()
        },
        "verdict": {
            "applies": conclusion.applies,
            "misleads": list(conclusion.misleading_datasets),
            "defaults": vars(conclusion.defaults),
            "sentences": list(conclusion.sentences),
        },
        "run_id": found.run_id,
    }


def _whole(each: ReplayResult, found: BacktestResult) -> dict[str, Any]:
    """A way to select, recall included; None is unknown."""
    probes = float(each.probes.mean())
    return {
        "candidates": float(each.candidates.mean()),
        "epochs": float(each.epochs.mean()),
        "probes": probes,
        "probe_epochs_paper": float((each.total_epochs() - each.epochs).mean()),
        "probe_epochs_measured": None
        if found.probe_epochs is None
        else found.probe_epochs * probes,
        **{
            f"speedup_{name}": each.speedup(found.whole_selections[name])
            for name in ("brute_force", "halving")
        },
        "regret": float(each.regrets.mean()),
        "within_tolerance": each.share_within(found.tolerance),
        "targets": len(each.datasets),
        "replayed": each.from_curves,
    }
