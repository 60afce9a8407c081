"""Evidence -> which models are recommended, which set is worth training, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from mlflow_recall.core.defaults import DEFAULT_TOP_K, Defaults
from mlflow_recall.core.formatting import count_of
from mlflow_recall.core.history.score_units import RegretUnit
from mlflow_recall.core.recommend import (
    RECOMMENDERS,
    Evidence,
    PredictedGaps,
    Ranking,
    find_smallest_set,
    predict_gaps,
    rank_held_out,
)
from mlflow_recall.errors import ConfigError

#: number of models to train; ``auto``: as few as reach the confidence; None: the default
TopK: TypeAlias = int | Literal["auto"] | None


@dataclass(frozen=True, kw_only=True)
class RecommendOptions:
    """Options of a recommendation."""

    #: ``auto``: the ranker and the set selector of the defaults; another name does both
    recommender: str = "auto"
    top_k: TopK = None
    #: regret that is treated as zero
    tolerance: float = 0.01
    #: what regret, gaps and tolerance are measured in
    unit: RegretUnit = field(default_factory=RegretUnit)
    #: probability with which the set of ``auto`` shall hold a model within the tolerance
    confidence: float = 0.9
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def ranker(self) -> str:
        """Name of the recommender that ranks."""
        return self.defaults.ranker if self.recommender == "auto" else self.recommender

    @property
    def set_selector(self) -> str:
        """Name of the recommender whose first models are the set."""
        return self.defaults.set_selector if self.recommender == "auto" else self.recommender


@dataclass(frozen=True, eq=False, kw_only=True)
class Recommendation:
    """A ranking of all candidates, and the set that is worth training."""

    ranking: Ranking
    #: the models to train, in the order in which they were selected
    selected: tuple[str, ...]
    gaps: PredictedGaps
    #: probability that ``selected`` holds a model within the tolerance; NaN: unknown
    p_holds_best: float
    ranker: str
    set_selector: str
    notes: tuple[str, ...] = ()


def recommend(evidence: Evidence, options: RecommendOptions) -> Recommendation:
    """Rank the candidates, select a set, and say how far both can be trusted.

    What is promised was counted on the recorded datasets, each predicted from the others by the
    same recommender; see ``predict_gaps`` and ``find_smallest_set``.

    Raises:
        ConfigError: The recommender is unknown or lacks what it needs, or there is no candidate.
    """
    if not evidence.matrix.models:
        raise ConfigError("recommend: expected at least one model, got none")
    is_same = options.set_selector == options.ranker
    rank, select = RECOMMENDERS[options.ranker].rank, RECOMMENDERS[options.set_selector].rank
    ranking = rank(evidence)
    set_ranking = ranking if is_same else select(evidence)
    held_out = rank_held_out(evidence, rank)
    gaps = predict_gaps(ranking, evidence.matrix, held_out, tolerance=options.tolerance)
    if options.unit.is_share:  # only differences of such scores mean something
        gaps = replace(gaps, predicted=np.full(len(gaps.models), np.nan))
    notes = [*options.unit.notes]
    if options.top_k == "auto":
        set_held_out = held_out if is_same else rank_held_out(evidence, select)
        smallest = find_smallest_set(
            set_ranking, set_held_out, tolerance=options.tolerance, confidence=options.confidence
        )
        selected = smallest.models
        datasets = len(set_held_out.datasets)
        notes.append(_promise(smallest.is_promised, len(selected), datasets, options))
    else:
        selected = set_ranking.models[: options.top_k or options.defaults.top_k or DEFAULT_TOP_K]
        if options.top_k and options.top_k > len(set_ranking.models):
            eligible = count_of(len(set_ranking.models), "model")
            notes.append(f"top_k: {options.top_k} requested, {eligible} eligible")
    return Recommendation(
        ranking=ranking,
        selected=selected,
        gaps=gaps,
        p_holds_best=gaps.p_holds_best(selected),
        ranker=options.ranker,
        set_selector=options.set_selector,
        notes=tuple(notes),
    )


def _promise(is_promised: bool, size: int, datasets: int, options: RecommendOptions) -> str:
    models, recorded = count_of(size, "model"), count_of(datasets, "dataset")
    if is_promised:
        return (
            f"top_k auto: a set of {models} holds one within {options.tolerance:g}"
            f"{options.unit.suffix} of the best with probability {options.confidence:.0%}, as "
            f"counted on {recorded}"
        )
    return (
        f"top_k auto: {recorded}, too few to promise {options.confidence:.0%}: {models}, enough "
        "for each of them"
    )
