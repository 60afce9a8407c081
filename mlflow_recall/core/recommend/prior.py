"""The history alone: who has been strong on the benchmark datasets."""

from __future__ import annotations

from mlflow_recall.core.recommend.evidence import Evidence, Ranking


def prior(evidence: Evidence) -> Ranking:
    """Rank by mean z-score over the benchmark datasets; models without history come last."""
    strength = evidence.matrix.strength
    return Ranking.by(evidence.matrix.models, strength, {"prior": strength})
