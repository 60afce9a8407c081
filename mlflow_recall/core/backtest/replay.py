"""A selection replayed on recorded curves: what a policy would have cost and found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_recall.core.policies import Decide, PolicyHistory
from mlflow_recall.core.policies.spec import Options
from mlflow_recall.errors import HistoryError


@dataclass(frozen=True)
class ReplayOutcome:
    """How one replayed selection ended."""

    winner: str
    #: epochs that all candidates were trained for; a stage is an epoch
    epochs: int
    #: model -> the stage after which it was stopped; the last stage for finalists
    last_stage: Mapping[str, int]


def replay(
    decide: Decide[Options],
    curves: Mapping[str, Sequence[float]],
    history: PolicyHistory | None,
    options: Options,
) -> ReplayOutcome:
    """Replay the training of candidates stage by stage, and stop whoever the policy stops.

    Args:
        decide: Decision of a policy; it sees the validation scores so far and nothing else.
        curves: Model -> validation score of every stage, the most recommended model first.
        history: Recorded curves on other datasets; None: nothing is predicted.
        options: Options of the policy; their stages are those of the curves.

    Returns:
        The winner is the best on validation of the models that reach the last stage; of equal ones
        the more recommended.

    Raises:
        HistoryError: There is no candidate, or a curve ends before the last stage.
    """
    _check(curves, options.stages)
    active, epochs = list(curves), 0
    last_stage = dict.fromkeys(curves, options.stages)
    for stage in range(1, options.stages + 1):
        epochs += len(active)
        if stage == options.stages or len(active) == 1:
            continue
        verdicts = decide({model: curves[model][:stage] for model in active}, history, options)
        last_stage |= {model: stage for model in active if verdicts[model].stop}
        active = [model for model in active if not verdicts[model].stop]
    winner = max(active, key=lambda model: curves[model][-1])
    return ReplayOutcome(winner, epochs, last_stage)


def _check(curves: Mapping[str, Sequence[float]], stages: int) -> None:
    if not curves:
        raise HistoryError("replay: expected at least one candidate with a curve, got none")
    for model, curve in curves.items():
        if len(curve) != stages or any(math.isnan(score) for score in curve):
            raise HistoryError(
                f"replay: expected {stages} validation scores of {model}, got {list(curve)}"
            )
