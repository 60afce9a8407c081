"""Recommenders: rank the models of a zoo for a dataset that none of them has seen.

A recommender is a pure function ``rank(evidence) -> Ranking``; one file each, in the table
``RECOMMENDERS``. ``held_out`` replays one on the recorded datasets, ``predicted_gaps`` turns that
into gaps to the best model with intervals, and ``smallest_set`` into how many models to train.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

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
from mlflow_recall.errors import ConfigError, unknown_name

#: built-in recommenders by name; the entry-point group ``mlflow_recall.recommenders`` adds to them
RECOMMENDERS: Mapping[str, Recommender] = MappingProxyType(
    {
        "blend": blend,
        "factorization": factorization,
        "interleaved": interleaved,
        "linear": linear,
        "paper": paper,
        "paper_code": paper_code,
        "portfolio": portfolio,
        "prior": prior,
        "prior_rank": prior_rank,
    }
)


def get_recommender(name: str) -> Recommender:
    """The recommender of that name, built in or installed.

    Raises:
        SettingError: there is none; the message lists the known ones.
    """
    if name in RECOMMENDERS:
        return RECOMMENDERS[name]
    installed = {entry.name: entry for entry in entry_points(group="mlflow_recall.recommenders")}
    if name not in installed:
        raise ConfigError(unknown_name("recommender", name, {*RECOMMENDERS, *installed}))
    loaded: Recommender = installed[name].load()
    return loaded


__all__ = [
    "RECOMMENDERS",
    "Evidence",
    "HeldOutRankings",
    "PredictedGaps",
    "Ranking",
    "Recommender",
    "SmallestSet",
    "empirical_gaps",
    "find_smallest_set",
    "get_recommender",
    "predict_gaps",
    "rank_held_out",
]
