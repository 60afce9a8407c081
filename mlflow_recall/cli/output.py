"""What a command prints: one JSON object for machines, or tables and an outcome for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.options import check_writable, option
from mlflow_recall.safe_text import safe_data, safe_line

if TYPE_CHECKING:
    from mlflow_recall.core.recommend.recommendation import Recommendation
    from mlflow_recall.workflows.recall import RecallResult


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where machines read the result."""

    json: str | None = option(
        "--json",
        metavar="FILE",
        callback=check_writable,
        unset="none",
        help="Write the result as JSON; - is standard output.",
    )

    @property
    def is_for_people(self) -> bool:
        """Whether standard output is read by people."""
        return self.json != "-"

    def write(self, data: Mapping[str, Any]) -> None:
        """Write one JSON object, if it is requested; numbers that are not finite are null."""
        if not self.json:
            return
        text = json.dumps(safe_data(_finite(data)), indent=2)
        if self.json == "-":
            click.echo(text)
        else:
            Path(self.json).write_text(text + "\n")


def echo(line: str) -> None:
    """Print one line to standard output."""
    click.echo(safe_line(line))


def exit_if_failed(failed: Mapping[str, str]) -> None:
    """End a command with exit code 1 if something that was asked for failed.

    It is called last: everything else is done and printed by then.

    Args:
        failed: What failed -> why.
    """
    if failed:
        click.get_current_context().exit(1)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_note(run_id: str | None) -> str:
    """Return the end of an outcome that names the run; empty without one."""
    return f"; run {run_id}" if run_id else ""


def recommendation_json(recommendation: Recommendation) -> dict[str, Any]:
    """Return a recommendation for machines."""
    from mlflow_recall.workflows.recommendation_tables import recommendation_data

    ranking = []
    for row in recommendation_data(recommendation):
        gap = {"mean": row.pop("gap"), "low": row.pop("low"), "high": row.pop("high")}
        ranking.append({**row, "gap": gap})
    return {
        "ranking": ranking,
        "set": {
            "models": list(recommendation.selected),
            "p_holds_best_within_tolerance": recommendation.p_holds_best,
        },
        "recommender": recommendation.ranker,
        "set_selector": recommendation.set_selector,
        "notes": list(recommendation.notes),
    }


def recall_json(result: RecallResult) -> dict[str, Any]:
    """Return a recall for machines."""
    return {
        **recommendation_json(result.recommendation),
        "metric": result.context.metric.target,
        "probes": list(result.probes),
        "scores": {name: dict(values) for name, values in result.scores.items()},
        "left_out": dict(result.left_out),
        "notes": list(result.notes),
        "cost": {"epochs": result.epochs, "seconds": result.seconds},
    }
