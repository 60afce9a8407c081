"""Evidence -> who is recommended, which set is worth training, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlflow_recall.core.defaults import Defaults
from mlflow_recall.core.recommend import (
    Evidence,
    Gaps,
    Ranking,
    held_out,
    predicted_gaps,
    recommender,
    smallest_set,
)
from mlflow_recall.errors import SettingError


@dataclass(frozen=True)
class Wish:
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
    def picker(self) -> str:
        """Name of the recommender whose first are the set."""
        return self.defaults.picker if self.recommender == "auto" else self.recommender


@dataclass(frozen=True, eq=False)
class Advice:
    """A ranking of all candidates, and the set that is worth training."""

    ranking: Ranking
    #: the models to train, in the order in which they were picked
    chosen: tuple[str, ...]
    gaps: Gaps
    #: probability that ``chosen`` holds a model within the tolerance; NaN: nothing to tell it by
    p_holds_best: float
    ranker: str
    picker: str
    notes: tuple[str, ...] = field(default_factory=tuple)


def advise(evidence: Evidence, wish: Wish) -> Advice:
    """Rank, pick a set and say how far both can be trusted.

    What is promised was counted on the recorded datasets, each predicted from the others by the
    same recommender; see ``predicted_gaps`` and ``smallest_set``.

    Raises:
        SettingError: an unknown recommender, one that lacks what it needs, or no candidate.
    """
    if not evidence.matrix.models:
        raise SettingError("recommend: expected at least one model, got none")
    ranker, picker = recommender(wish.ranker), recommender(wish.picker)
    ranking = ranker(evidence)
    picked = ranking if wish.picker == wish.ranker else picker(evidence)
    past = held_out(evidence, ranker)
    gaps = predicted_gaps(ranking, evidence.matrix, past, tolerance=wish.tolerance)
    notes = []
    if wish.top_k is None:
        before = past if wish.picker == wish.ranker else held_out(evidence, picker)
        found = smallest_set(picked, before, tolerance=wish.tolerance, confidence=wish.confidence)
        chosen = found.models
        notes.append(_promise(found.promised, len(chosen), wish, len(before.datasets)))
    else:
        chosen = picked.models[: wish.top_k or wish.defaults.top_k or Defaults.top_k]
        if wish.top_k > len(picked.models):
            notes.append(f"top_k: {wish.top_k} wished, {len(picked.models)} models are eligible")
    return Advice(
        ranking, chosen, gaps, gaps.p_holds_best(chosen), wish.ranker, wish.picker, tuple(notes)
    )


def _promise(promised: bool, size: int, wish: Wish, datasets: int) -> str:
    if promised:
        return (
            f"top_k auto: {size} models hold one within {wish.tolerance:g} of the best with "
            f"probability {wish.confidence:.0%}, as counted on {datasets} datasets"
        )
    return (
        f"top_k auto: {datasets} datasets are too few to promise {wish.confidence:.0%}: the "
        f"{size} models that were enough for all of them"
    )
