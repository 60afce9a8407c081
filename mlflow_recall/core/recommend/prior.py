"""Rankings by the history alone."""

from __future__ import annotations

import numpy as np

from mlflow_recall.core.arrays import FloatArray, nan_mean
from mlflow_recall.core.recommend.evidence import Evidence, Ranking
from mlflow_recall.core.standardize import mean_ranks


def prior(evidence: Evidence) -> Ranking:
    """Rank by mean z-score over the benchmark datasets; models without history come last.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix)
        ... )
        >>> prior(evidence).models
        ('a', 'b', 'c')
    """
    mean_z_score = evidence.mean_z_score
    return Ranking.from_scores(evidence.matrix.models, mean_z_score, {"prior": mean_z_score})


def prior_rank(evidence: Evidence) -> Ranking:
    """Rank by mean rank over the benchmark datasets; models without history come last.

    The rank on a dataset is the share of its models that are worse, ties half, in (0, 1). Unlike in
    ``prior``, a single collapse has little weight, and so has a large lead.

    Example:
        >>> from mlflow_recall.core.clusters.clustering import cluster_models
        >>> from mlflow_recall.core.history.matrix import PerformanceMatrix
        >>> values = np.array([[0.9, 0.8], [0.7, 0.9], [0.5, 0.4]])
        >>> matrix = PerformanceMatrix(("a", "b", "c"), ("x", "y"), values)
        >>> evidence = Evidence(
        ...     matrix=matrix, clustering=cluster_models(matrix)
        ... )
        >>> prior_rank(evidence).models
        ('a', 'b', 'c')
    """
    values = evidence.matrix.values
    mean = nan_mean(
        np.array([_rank_shares(column) for column in values.T]).reshape(values.T.shape), axis=0
    )
    return Ranking.from_scores(evidence.matrix.models, mean, {"prior": mean})


def _rank_shares(column: FloatArray) -> FloatArray:
    """Return (m,) ranks from below as shares, in (0, 1); NaN where not measured."""
    shares = np.full(column.shape, np.nan)
    known = ~np.isnan(column)
    if known.any():
        shares[known] = (mean_ranks(column[known]) - 0.5) / known.sum()
    return shares
