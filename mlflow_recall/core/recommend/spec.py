"""What a recommender is: the function that ranks, and all that others need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from mlflow_recall.core.recommend.evidence import Evidence, Ranking


@dataclass(frozen=True, kw_only=True)
class RecommenderSpec:
    """A row of ``RECOMMENDERS``.

    Example:
        A recommender that prefers the models with the best mean score::

            def by_mean(evidence):
                scores = evidence.matrix.mean_score
                return Ranking.from_scores(evidence.matrix.models, scores, {"mean": scores})

            BY_MEAN = RecommenderSpec(rank=by_mean, summary="mean score", uses_scores=False)
    """

    rank: Callable[[Evidence], Ranking]
    #: one line for help texts; empty: the name alone is listed
    summary: str = ""
    #: whether transferability scores of the target change its ranking; else nothing is probed
    uses_scores: bool = True
    #: whether it cannot rank without them; the history ranks in its place
    needs_scores: bool = False
    #: whether it takes one score alone, without its values on recorded datasets
    takes_one_score: bool = False
    #: whether it compares the class names of datasets
    reads_labels: bool = False

    def select_evidence(self, evidence: Evidence) -> Evidence:
        """Return the part of the evidence that the recommender looks at in a back-test."""
        if not self.takes_one_score:
            return evidence
        name = main_score(evidence.scores)
        scores = {name: evidence.scores[name]} if name else {}
        return replace(evidence, scores=scores, recorded_scores={})


def main_score(scores: Mapping[str, object]) -> str | None:
    """Return the score to use where only one can be: LogME, else the first by name."""
    logme = (name for name in sorted(scores) if name.lower() == "logme")
    return next(logme, min(scores, default=None))
