"""What looking at a target costs before anybody is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_recall.core.clusters.clustering import Clustering

#: epochs of training that the paper charges for one representative
PAPER_EPOCHS_PER_PROBE = 0.5
#: recommenders that look at no score: nothing is probed for them
SCORELESS = frozenset({"prior", "prior_rank"})


@dataclass(frozen=True)
class ProbeCost:
    """What recall looks at before it ranks."""

    models: tuple[str, ...] = ()
    #: epochs of training that the forward passes of one model are worth
    epochs_per_model: float = PAPER_EPOCHS_PER_PROBE
    #: how that is known, for people
    basis: str = "nothing tells, so the paper's half epoch each"

    @property
    def epochs(self) -> float:
        """Of all forward passes."""
        return self.epochs_per_model * len(self.models)

    @property
    def paper_epochs(self) -> float:
        """What the paper charges for them."""
        return PAPER_EPOCHS_PER_PROBE * len(self.models)


def models_to_probe(clustering: Clustering, *recommenders: str) -> tuple[str, ...]:
    """Who looks at a target for recommenders of these names: one for each cluster of several."""
    return () if SCORELESS.issuperset(recommenders) else tuple(clustering.representatives)
