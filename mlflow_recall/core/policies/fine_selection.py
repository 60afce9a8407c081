"""Fine-selection (Cui et al. 2024, algorithm 1): convergence trends first, then halving."""

from __future__ import annotations

from dataclasses import replace

from mlflow_recall.core.policies.halving import keep_half
from mlflow_recall.core.policies.policy_history import PolicyHistory
from mlflow_recall.core.policies.spec import (
    Cohort,
    PolicyOptions,
    Verdict,
    current_stage,
    rank_by_score,
)
from mlflow_recall.core.policies.trends import TrendPrediction, Trends


def fine_selection(
    cohort: Cohort, past: PolicyHistory | None, settings: PolicyOptions
) -> dict[str, Verdict]:
    """Stop whoever is behind now and foretold to stay behind, then the worse half.

    A candidate is stopped if some rival has a strictly better validation score and a predicted end
    that is higher by more than ``threshold`` of itself. Of n candidates at most floor(n / 2) go on,
    by validation score, so this never costs more epochs than successive halving. The best on
    validation has no such rival and always survives. Candidates without a trend neither stop by
    prediction nor stop others by it.
    """
    return decide_by_trends(cohort, past.trends if past else None, settings)


def decide_by_trends(
    cohort: Cohort, trends: Trends | None, settings: PolicyOptions
) -> dict[str, Verdict]:
    """``fine_selection`` with trends that were mined already; None: halving decides."""
    stage = current_stage(cohort)
    if stage >= settings.stages:
        return {model: Verdict(False, "trained to the last stage") for model in cohort}
    ranked = rank_by_score(cohort)
    score = {model: cohort[model][stage - 1] for model in cohort}
    ends = {
        model: end
        for model in ranked
        if trends is not None and (end := trends.predict(model, stage, score[model])) is not None
    }
    stopped: dict[str, Verdict] = {}
    for model in ranked:
        better = [r for r in ranked if score[r] > score[model] and r in ends]
        if model not in ends or not better:
            continue
        rival = max(better, key=lambda r: ends[r].final_score)
        bar = ends[rival].final_score - settings.threshold * abs(ends[rival].final_score)
        if ends[model].final_score < bar:
            stopped[model] = Verdict(
                True,
                f"stands at {score[model]:.3f} and is foretold {ends[model].final_score:.3f}; "
                f"{rival} stands at {score[rival]:.3f} and is foretold {ends[rival].final_score:.3f}",
                rival=rival,
            )
    verdicts = keep_half(cohort, ranked, stopped)
    return {model: _foretold(verdict, ends.get(model)) for model, verdict in verdicts.items()}


def _foretold(verdict: Verdict, end: TrendPrediction | None) -> Verdict:
    if end is None:
        return verdict
    return replace(verdict, predicted=end.final_score, low=end.low, high=end.high)
