"""Evidence -> who is recommended, which set is worth training, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.recommend import (
    Evidence,
    PredictedGaps,
    Ranking,
    find_smallest_set,
    get_recommender,
    predict_gaps,
    rank_held_out,
)
from mlflow_recall.errors import ConfigError


@dataclass(frozen=True)
class RecommendOptions:
    """What is asked of a recommendation."""

    #: ``auto``: the ranker and the picker of the defaults; another name does both
    recommender: str = "auto"
    #: models to train; 0: those of the defaults; None: as few as reach the confidence
    top_k: int | None = 0
    #: gap to the best that does not matter, in the unit of the metric
    tolerance: float = 0.01
    #: wanted probability that the set holds a model within the tolerance
    confidence: float = 0.9
    defaults: Defaults = field(default_factory=Defaults)

    @property
    def ranker(self) -> str:
        """Name of the recommender that ranks."""
        return self.defaults.ranker if self.recommender == "auto" else self.recommender

    @property
    def set_selector(self) -> str:
        """Name of the recommender whose first are the set."""
        return self.defaults.set_selector if self.recommender == "auto" else self.recommender


@dataclass(frozen=True, eq=False)
class Recommendation:
    """A ranking of all candidates, and the set that is worth training."""

    ranking: Ranking
    #: the models to train, in the order in which they were picked
    selected: tuple[str, ...]
    gaps: PredictedGaps
    #: probability that ``chosen`` holds a model within the tolerance; NaN: nothing to tell it by
    p_holds_best: float
    ranker: str
    set_selector: str
    notes: tuple[str, ...] = field(default_factory=tuple)


def recommend(evidence: Evidence, options: RecommendOptions) -> Recommendation:
    """Rank, pick a set and say how far both can be trusted.

    What is promised was counted on the recorded datasets, each predicted from the others by the
    same recommender; see ``predicted_gaps`` and ``smallest_set``.

    Raises:
        SettingError: an unknown recommender, one that lacks what it needs, or no candidate.
    """
    if not evidence.matrix.models:
        raise ConfigError("recommend: expected at least one model, got none")
    ranker, picker = get_recommender(options.ranker), get_recommender(options.set_selector)
    ranking = ranker(evidence)
    picked = ranking if options.set_selector == options.ranker else picker(evidence)
    past = rank_held_out(evidence, ranker)
    gaps = predict_gaps(ranking, evidence.matrix, past, tolerance=options.tolerance)
    notes = []
    if options.top_k is None:
        before = past if options.set_selector == options.ranker else rank_held_out(evidence, picker)
        found = find_smallest_set(
            picked, before, tolerance=options.tolerance, confidence=options.confidence
        )
        chosen = found.models
        notes.append(_promise(found.is_promised, len(chosen), options, len(before.datasets)))
    else:
        chosen = picked.models[: options.top_k or options.defaults.top_k or Defaults.top_k]
        if options.top_k > len(picked.models):
            notes.append(f"top_k: {options.top_k} wished, {len(picked.models)} models are eligible")
    return Recommendation(
        ranking,
        chosen,
        gaps,
        gaps.p_holds_best(chosen),
        options.ranker,
        options.set_selector,
        tuple(notes),
    )


def _promise(promised: bool, size: int, options: RecommendOptions, datasets: int) -> str:
    if promised:
        return (
            f"top_k auto: {size} models hold one within {options.tolerance:g} of the best with "
            f"probability {options.confidence:.0%}, as counted on {datasets} datasets"
        )
    return (
        f"top_k auto: {datasets} datasets are too few to promise {options.confidence:.0%}: the "
        f"{size} models that were enough for all of them"
    )
