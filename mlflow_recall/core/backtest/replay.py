"""A selection replayed on recorded curves: what a policy would have cost and found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_recall.core.policies import Decide, PolicyHistory, PolicyOptions
from mlflow_recall.errors import HistoryError


@dataclass(frozen=True)
class ReplayOutcome:
    """How one replayed selection ended."""

    winner: str
    #: stages that were trained, over all candidates
    epochs: int
    #: model -> the stage after which it was stopped; the last one for finalists
    last_stage: Mapping[str, int]


def replay(
    policy: Decide,
    curves: Mapping[str, Sequence[float]],
    past: PolicyHistory | None,
    settings: PolicyOptions,
) -> ReplayOutcome:
    """Train the candidates on paper, stage by stage, stopping whom the policy stops.

    Args:
        policy: sees the validation scores so far, never what comes.
        curves: model -> validation score of every stage, in the order of recall.
        past: what the policy may know of other datasets.
        settings: of the policy; its stages are those of the curves.

    Returns:
        The winner is the best on validation of those that reach the last stage; of equals the
        better recalled.

    Raises:
        HistoryError: no candidate, or a curve that ends before the last stage.
    """
    _check(curves, settings.stages)
    alive, epochs = list(curves), 0
    stopped = dict.fromkeys(curves, settings.stages)
    for stage in range(1, settings.stages + 1):
        epochs += len(alive)
        if stage == settings.stages or len(alive) == 1:
            continue
        verdicts = policy({model: curves[model][:stage] for model in alive}, past, settings)
        stopped |= {model: stage for model in alive if verdicts[model].stop}
        alive = [model for model in alive if not verdicts[model].stop]
    return ReplayOutcome(max(alive, key=lambda model: curves[model][-1]), epochs, stopped)


def _check(curves: Mapping[str, Sequence[float]], stages: int) -> None:
    if not curves:
        raise HistoryError("replay: expected at least one candidate with a curve, got none")
    for model, curve in curves.items():
        if len(curve) != stages or any(math.isnan(score) for score in curve):
            raise HistoryError(
                f"replay: expected {stages} validation scores of {model}, got {list(curve)}"
            )
