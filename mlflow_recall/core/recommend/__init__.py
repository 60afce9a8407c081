"""Recommenders: rank the models of a zoo for a dataset that none of them has seen.

A recommender is a pure function ``rank(evidence) -> Ranking``. Each has a file, and a row in
``RECOMMENDERS``. ``rank_held_out`` replays one on the recorded datasets, ``predict_gaps`` turns
that into gaps to the best model with intervals, and ``find_smallest_set`` into how many models to
train.
"""

from __future__ import annotations

from mlflow_recall.core.plugins import PluginTable
from mlflow_recall.core.recommend.blend import blend
from mlflow_recall.core.recommend.evidence import Evidence, Ranking, Recommender
from mlflow_recall.core.recommend.factorization import factorization
from mlflow_recall.core.recommend.gaps import (
    PredictedGaps,
    SmallestSet,
    empirical_gaps,
    find_smallest_set,
    predict_gaps,
)
from mlflow_recall.core.recommend.held_out_rankings import HeldOutRankings, rank_held_out
from mlflow_recall.core.recommend.interleaved import interleaved
from mlflow_recall.core.recommend.linear import linear
from mlflow_recall.core.recommend.paper import paper, paper_code
from mlflow_recall.core.recommend.portfolio import portfolio
from mlflow_recall.core.recommend.prior import prior, prior_rank
from mlflow_recall.core.recommend.spec import RecommenderSpec

#: recommenders by name; the entry-point group ``mlflow_recall.recommenders`` adds to them
RECOMMENDERS: PluginTable[RecommenderSpec] = PluginTable(
    "recommender",
    "mlflow_recall.recommenders",
    {
        "blend": RecommenderSpec(
            rank=blend, summary="history and scores added, each standardized on its own"
        ),
        "factorization": RecommenderSpec(
            rank=factorization,
            summary="factorization machine on features, history and scores",
            reads_labels=True,
        ),
        "interleaved": RecommenderSpec(
            rank=interleaved,
            summary="one model from the history, one from the scores, in turn",
            needs_scores=True,
        ),
        "linear": RecommenderSpec(
            rank=linear,
            summary="ridge regression on features, history and scores",
            reads_labels=True,
        ),
        "paper": RecommenderSpec(
            rank=paper,
            summary="mean benchmark score times normalized score (Eq. 2-4)",
            needs_scores=True,
            takes_one_score=True,
        ),
        "paper_code": RecommenderSpec(
            rank=paper_code,
            summary="the same as the authors' released code computes it",
            needs_scores=True,
            takes_one_score=True,
        ),
        "portfolio": RecommenderSpec(
            rank=portfolio, summary="each next model raises the expected best of the set the most"
        ),
        "prior": RecommenderSpec(
            rank=prior, summary="mean z-score of the history", uses_scores=False
        ),
        "prior_rank": RecommenderSpec(
            rank=prior_rank, summary="mean rank in the history", uses_scores=False
        ),
    },
    RecommenderSpec,
)

__all__ = [
    "RECOMMENDERS",
    "Evidence",
    "HeldOutRankings",
    "PredictedGaps",
    "Ranking",
    "Recommender",
    "RecommenderSpec",
    "SmallestSet",
    "empirical_gaps",
    "find_smallest_set",
    "predict_gaps",
    "rank_held_out",
]
