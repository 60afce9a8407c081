"""What a recommender would have ranked for every recorded dataset, had it been the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within
from mlflow_recall.core.recommend.evidence import Evidence, Recommender
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True, eq=False)
class HeldOutRankings:
    """Rankings for whole datasets that had no part in them, and the gaps that were observed."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    #: (m, d) rank as a share, in (0, 1), best first; NaN: not ranked or not measured
    rank_shares: FloatArray
    #: (m, d) gap to the best model of the dataset; NaN where ``rank_shares`` is
    gaps: FloatArray

    def count_needed(self, tolerance: float) -> FloatArray:
        """Return (d,) how many first models are needed to hold one within ``tolerance``."""
        counts = []
        for shares, gaps in zip(self.rank_shares.T, self.gaps.T, strict=True):
            near = shares[is_within(gaps, tolerance)]
            counts.append(float((shares <= near.min()).sum()))
        return np.array(counts, dtype=np.float64)


def rank_held_out(evidence: Evidence, recommend: Recommender) -> HeldOutRankings:
    """Let ``recommend`` rank for every recorded dataset from the others.

    Datasets with fewer than two measured models of the ranking are left out, and so are those
    that the recommender cannot rank for, as ``paper`` without recorded scores.
    """
    models = evidence.matrix.models
    names, all_shares, all_gaps = [], [], []
    for number, dataset in enumerate(evidence.matrix.datasets):
        final_scores = evidence.matrix.values[:, number]
        try:
            ranking = recommend(evidence.hold_out(number))
        except ConfigError:
            continue
        rank = {m: i for i, m in enumerate(ranking.models) if not np.isnan(ranking.scores[i])}
        ranks = np.array([rank.get(model, np.nan) for model in models], dtype=np.float64)
        known = ~np.isnan(ranks) & ~np.isnan(final_scores)
        if known.sum() < 2:
            continue
        shares = np.full(len(models), np.nan)
        shares[known] = (np.argsort(np.argsort(ranks[known])) + 0.5) / known.sum()
        names.append(dataset)
        all_shares.append(shares)
        all_gaps.append(np.where(known, final_scores[known].max() - final_scores, np.nan))
    shape = (len(names), len(models))
    return HeldOutRankings(
        models,
        tuple(names),
        np.array(all_shares, dtype=np.float64).reshape(shape).T,
        np.array(all_gaps, dtype=np.float64).reshape(shape).T,
    )
