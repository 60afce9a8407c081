"""The history alone: who has been strong on the benchmark datasets."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.standardize import mean_ranks


def prior(evidence: Evidence) -> Ranking:
    """Rank by mean z-score over the benchmark datasets; models without history come last."""
    strength = evidence.mean_z_score
    return Ranking.from_scores(evidence.matrix.models, strength, {"prior": strength})


def prior_rank(evidence: Evidence) -> Ranking:
    """Rank by mean place over the benchmark datasets; models without history come last.

    The place on a dataset is the share of its models that are worse, ties half, in (0, 1). Against
    ``prior`` no single collapse counts for much, and neither does a lead.
    """
    values = evidence.matrix.values
    mean = nan_mean(
        np.array([_places(column) for column in values.T]).reshape(values.T.shape), axis=0
    )
    return Ranking.from_scores(evidence.matrix.models, mean, {"prior": mean})


def _places(column: FloatArray) -> FloatArray:
    places = np.full(column.shape, np.nan)
    known = ~np.isnan(column)
    if known.any():
        places[known] = (mean_ranks(column[known]) - 0.5) / known.sum()
    return places
