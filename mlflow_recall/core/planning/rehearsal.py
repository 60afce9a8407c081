"""Selections rehearsed on recorded datasets, each as if it were the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlflow_recall.core.backtest.cases import spread_out
from mlflow_recall.core.backtest.target import Target
from mlflow_recall.core.backtest.ways import Replayed, Setting, alive_in, on_paper, replayed, way
from mlflow_recall.core.curves import Curves
from mlflow_recall.core.policies import Settings
from mlflow_recall.core.recommend import Evidence, Recommender
from mlflow_recall.errors import HistoryError, SettingError

#: datasets on which selections are rehearsed, evenly spread where there are more
_MOST = 48
#: what these policies cost depends on nothing but the number of candidates
_EXACT = ("brute_force", "halving")


def recorded_targets(
    evidence: Evidence, recommend: Recommender, curves: Curves | None = None
) -> list[Target]:
    """Recorded datasets, each ranked for without it; at most 48, evenly spread.

    Args:
        evidence: history of the candidates.
        recommend: picks the candidates.
        curves: of the same models and datasets; None: none were recorded.
    """
    matrix = evidence.matrix
    measured = np.flatnonzero((~np.isnan(matrix.values)).sum(axis=0) >= 2)
    found = []
    for number in spread_out(measured.tolist(), _MOST):
        try:
            order = recommend(evidence.leaving(number)).models
        except SettingError:  # a recommender that needs scores, which this dataset has not
            continue
        ends = dict(zip(matrix.models, matrix.values[:, number].tolist(), strict=True))
        found.append(Target.of(matrix.datasets[number], order, ends, curves))
    return found


def rehearse(name: str, models: int, targets: Sequence[Target], settings: Settings) -> Replayed:
    """Replay a policy on the first ``models`` of every target's order.

    Targets with fewer models of a whole curve are left out, unless there is no other; what costs
    the same whatever the scores are then costs as if nobody were missing. Without any curve the
    epochs are at most so many, and the best of the set wins.

    Raises:
        SettingError: no such policy.
        HistoryError: no target.
    """
    if not targets:
        raise HistoryError(
            "plan: expected recorded datasets with at least two measured models, got none: run "
            "`mlflow-recall benchmark` first"
        )
    staged = [target for target in targets if target.curves]
    large = [target for target in staged if len(target.candidates) >= models]
    if staged:
        setting = Setting(models, settings.threshold, settings.price)
        found = replayed(large or staged, way(name, setting))
        if large or name not in _EXACT:
            return found
    else:
        found = on_paper(name, models, targets, settings.stages)
    alive = alive_in(name, models, settings.stages)  # those that are missing cost as much
    return replace(
        found,
        epochs=np.full(len(found.epochs), alive.sum()),
        reached=found.reached * alive / found.reached.sum(axis=0),
    )
