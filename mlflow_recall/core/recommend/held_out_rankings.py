"""What a recommender would have said of every recorded dataset, had it been the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlflow_recall.core.arrays import FloatArray, is_within
from mlflow_recall.core.recommend.evidence import Evidence, Recommender
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True, eq=False)
class HeldOutRankings:
    """Predictions of whole datasets that had no part in them, beside what came out."""

    models: tuple[str, ...]
    datasets: tuple[str, ...]
    #: (m, d) place in the ranking as a share, in (0, 1), best first; NaN: not ranked or measured
    rank_shares: FloatArray
    #: (m, d) gap to the best of the dataset; NaN where ``places`` is
    gaps: FloatArray

    def count_needed(self, tolerance: float) -> FloatArray:
        """(d,) how many of the ranking's first are needed to hold one within ``tolerance``."""
        counts = []
        for places, gaps in zip(self.rank_shares.T, self.gaps.T, strict=True):
            near = places[is_within(gaps, tolerance)]
            counts.append(float((places <= near.min()).sum()))
        return np.array(counts, dtype=np.float64)


def rank_held_out(evidence: Evidence, recommend: Recommender) -> HeldOutRankings:
    """Let ``recommend`` rank for every recorded dataset from the others.

    Datasets with fewer than two measured models of the ranking are left out, and so are those
    that the recommender cannot rank for (as ``paper`` without scores of the past).
    """
    models = evidence.matrix.models
    names, all_places, all_gaps = [], [], []
    for number, dataset in enumerate(evidence.matrix.datasets):
        truth = evidence.matrix.values[:, number]
        try:
            ranking = recommend(evidence.hold_out(number))
        except ConfigError:
            continue
        order = {m: i for i, m in enumerate(ranking.models) if not np.isnan(ranking.scores[i])}
        ranked = np.array([order.get(model, np.nan) for model in models], dtype=np.float64)
        known = ~np.isnan(ranked) & ~np.isnan(truth)
        if known.sum() < 2:
            continue
        places = np.full(len(models), np.nan)
        places[known] = (np.argsort(np.argsort(ranked[known])) + 0.5) / known.sum()
        names.append(dataset)
        all_places.append(places)
        all_gaps.append(np.where(known, truth[known].max() - truth, np.nan))
    shape = (len(names), len(models))
    return HeldOutRankings(
        models,
        tuple(names),
        np.array(all_places, dtype=np.float64).reshape(shape).T,
        np.array(all_gaps, dtype=np.float64).reshape(shape).T,
    )
