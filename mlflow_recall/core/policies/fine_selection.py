"""Fine-selection (Cui et al. 2024, algorithm 1): convergence trends first, then halving."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlflow_recall.core.policies.halving import FINISHED, keep_half
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import (
    Cohort,
    PolicyOptions,
    PolicySpec,
    Verdict,
    current_stage,
    rank_by_score,
)
from mlflow_recall.core.policies.trends import TrendPrediction, Trends
from mlflow_recall.errors import ConfigError

#: thresholds of the paper's table IV
_TABLE_IV = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class FineSelectionOptions(PolicyOptions):
    """Options of fine-selection."""

    #: relative lead that a rival's predicted final score must have, in [0, 1)
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold: expected a share in [0, 1), got {self.threshold:g}")


def fine_selection(
    cohort: Cohort, history: PolicyHistory | None, options: FineSelectionOptions
) -> dict[str, Verdict]:
    """Stop whoever is behind and predicted to stay behind, then the worse half.

    A candidate is stopped if some rival has a strictly better validation score and a predicted
    final score that is higher by more than ``threshold`` of itself. Of n candidates at most
    floor(n / 2) go on, by validation score, so this never costs more epochs than successive
    halving. The best model on validation has no such rival and always goes on. Candidates without
    a trend are neither stopped by a prediction nor stop others by one.

    Example:
        >>> import numpy as np
        >>> from mlflow_recall.core.history.curves import Curves
        >>> scores = np.array([[[0.5, 0.6]], [[0.6, 0.9]], [[0.4, 0.8]]])
        >>> curves = Curves(
        ...     models=("a", "b", "c"),
        ...     datasets=("x",),
        ...     scores=scores,
        ...     final_scores=np.array([[0.6], [0.9], [0.8]]),
        ... )
        >>> cohort = {"a": [0.5], "b": [0.7], "c": [0.6]}
        >>> verdicts = fine_selection(cohort, PolicyHistory(curves), FineSelectionOptions(stages=2))
        >>> [model for model, verdict in verdicts.items() if verdict.stop]
        ['a', 'c']
        >>> verdicts["a"].reason
        'validation 0.500, predicted final 0.600; b: validation 0.700, predicted final 0.900'
    """
    return decide_by_trends(cohort, history.trends if history else None, options)


def decide_by_trends(
    cohort: Cohort, trends: Trends | None, options: FineSelectionOptions
) -> dict[str, Verdict]:
    """Decide as ``fine_selection`` with trends that were mined already; None: halving decides."""
    stage = current_stage(cohort)
    if stage >= options.stages:
        return {model: Verdict(stop=False, reason=FINISHED) for model in cohort}
    ranked = rank_by_score(cohort)
    score = {model: cohort[model][stage - 1] for model in cohort}
    predictions = {
        model: prediction
        for model in ranked
        if trends is not None
        and (prediction := trends.predict(model, stage, score[model])) is not None
    }
    stopped: dict[str, Verdict] = {}
    for model in ranked:
        better = [r for r in ranked if score[r] > score[model] and r in predictions]
        if model not in predictions or not better:
            continue
        rival = max(better, key=lambda r: predictions[r].final_score)
        leader = predictions[rival].final_score
        own = predictions[model].final_score
        if own < leader - options.threshold * abs(leader):
            stopped[model] = Verdict(
                stop=True,
                reason=f"validation {score[model]:.3f}, predicted final {own:.3f}; "
                f"{rival}: validation {score[rival]:.3f}, predicted final {leader:.3f}",
                rival=rival,
            )
    verdicts = keep_half(cohort, ranked, stopped)
    return {
        model: _with_prediction(verdict, predictions.get(model))
        for model, verdict in verdicts.items()
    }


def _with_prediction(verdict: Verdict, prediction: TrendPrediction | None) -> Verdict:
    if prediction is None:
        return verdict
    return replace(
        verdict, predicted=prediction.final_score, low=prediction.low, high=prediction.high
    )


FINE_SELECTION = PolicySpec(
    decide=fine_selection,
    summary="stops by convergence trends, then the worse half",
    options=FineSelectionOptions,
    needs_history=True,
    variants={f"fine_selection {share:.0%}": {"threshold": share} for share in _TABLE_IV},
)
