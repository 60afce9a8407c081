"""A recorded dataset as if it were new: the back-test and the plan select for it on paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlflow_recall.core.clusters.clustering import no_clusters
from mlflow_recall.core.history.curves import Curves
from mlflow_recall.core.history.ground_truth import GroundTruth
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.policies import PolicyHistory
from mlflow_recall.core.recommend import Evidence, get_recommender
from mlflow_recall.errors import HistoryError

#: who is better than whom in the history: the order of the candidates before anybody recommends
RANKED_BY = "prior_rank"


@dataclass(frozen=True, eq=False)
class Target:
    """One held-out dataset: what happens on it, and what was known before."""

    dataset: str
    #: of everyone who was measured on it, the most recommended first
    truth: GroundTruth
    #: those of them with a whole curve, in that order -> validation score by stage of one
    #: fine-tuning, as a selection would see it, while ``truth`` is the mean of all repeats
    curves: Mapping[str, Sequence[float]]
    #: curves on the other datasets; None: none are recorded
    past: PolicyHistory | None = None
    #: models that looked at it before they were put in that order
    probes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        dataset: str,
        order: Sequence[str],
        ends: Mapping[str, float],
        curves: Curves | None = None,
    ) -> Target:
        """Out of everything that is recorded.

        Args:
            dataset: its name.
            order: models, the most recommended first; others are no candidates.
            ends: model -> final test score on it; NaN and absent: not measured.
            curves: on all datasets; None: none are recorded.
        """
        known = {m: ends[m] for m in order if not math.isnan(ends.get(m, math.nan))}
        past = None if curves is None else PolicyHistory(curves.without_dataset(dataset))
        return cls(dataset, GroundTruth(known), _whole(curves, dataset, known), past)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Who can be selected, the most recommended first: with a curve, where there are any."""
        return tuple(self.curves or self.truth.final_scores)

    @property
    def stages(self) -> int:
        """Of a curve; 0 without any."""
        return len(next(iter(self.curves.values()), ()))

    def among(self, candidates: Iterable[str]) -> dict[str, Sequence[float]]:
        """The curves of these candidates, in their order."""
        return {model: self.curves[model] for model in candidates}

    def recommended(self, order: Sequence[str], probes: tuple[str, ...] = ()) -> Target:
        """The same dataset with the candidates in another order; who is not in it is none."""
        ends = {
            model: self.truth.final_scores[model]
            for model in order
            if model in self.truth.final_scores
        }
        curves = self.among(model for model in ends if model in self.curves)
        return replace(self, truth=GroundTruth(ends), curves=curves, probes=probes)


def held_out_targets(curves: Curves, *, min_models: int = 2) -> Iterator[Target]:
    """Every dataset with at least ``least`` complete curves, its models ranked by the others.

    Args:
        curves: recorded on all datasets; incomplete ones are no candidates and judge nobody.
        least: complete curves that a target needs.

    Raises:
        HistoryError: fewer than two datasets, so nothing would be left as history.
    """
    complete = ~np.isnan(curves.single_run_scores).any(axis=2) & ~np.isnan(curves.final_scores)
    if len(curves.datasets) < 2:
        raise HistoryError(
            f"backtest: expected curves on at least 2 datasets, one to hold out and one to learn "
            f"from, got {len(curves.datasets)}"
        )
    for j, dataset in enumerate(curves.datasets):
        if complete[:, j].sum() < max(2, min_models):
            continue
        ends = {
            curves.models[i]: float(curves.final_scores[i, j])
            for i in np.flatnonzero(complete[:, j])
        }
        yield Target.of(dataset, _ranked(curves.without_dataset(dataset)), ends, curves)


def _ranked(curves: Curves) -> tuple[str, ...]:
    matrix = PerformanceMatrix(curves.models, curves.datasets, curves.final_scores)
    return get_recommender(RANKED_BY)(Evidence(matrix, no_clusters())).models


def _whole(
    curves: Curves | None, dataset: str, models: Iterable[str]
) -> dict[str, Sequence[float]]:
    """Their complete curves on one dataset, trained once, in the order of ``models``."""
    if curves is None or dataset not in curves.datasets:
        return {}
    column = curves.single_run_scores[:, curves.datasets.index(dataset)]
    of = dict(zip(curves.models, column, strict=True))
    return {m: of[m].tolist() for m in models if m in of and not np.isnan(of[m]).any()}
