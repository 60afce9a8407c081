"""Recommenders: rank the models of a zoo for a dataset that none of them has seen.

A recommender is a pure function ``rank(evidence) -> Ranking``; one file each, in the table
``RECOMMENDERS``. ``gaps`` says what a ranking has been worth on the recorded datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from mlflow_recall.core.recommend.evidence import Evidence, Ranking, Recommender
from mlflow_recall.core.recommend.gaps import Gaps, gaps_to_best
from mlflow_recall.core.recommend.interleaved import interleaved
from mlflow_recall.core.recommend.paper import paper
from mlflow_recall.core.recommend.prior import prior
from mlflow_recall.errors import SettingError, unknown

#: built-in recommenders by name; the entry-point group ``mlflow_recall.recommenders`` adds to them
RECOMMENDERS: Mapping[str, Recommender] = MappingProxyType(
    {"interleaved": interleaved, "paper": paper, "prior": prior}
)


def recommender(name: str) -> Recommender:
    """The recommender of that name, built in or installed.

    Raises:
        SettingError: there is none; the message lists the known ones.
    """
    if name in RECOMMENDERS:
        return RECOMMENDERS[name]
    installed = {entry.name: entry for entry in entry_points(group="mlflow_recall.recommenders")}
    if name not in installed:
        raise SettingError(unknown("recommender", name, {*RECOMMENDERS, *installed}))
    loaded: Recommender = installed[name].load()
    return loaded


__all__ = [
    "RECOMMENDERS",
    "Evidence",
    "Gaps",
    "Ranking",
    "Recommender",
    "gaps_to_best",
    "recommender",
]
