"""What probing a target costs before any model is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_recall.core.clusters.clustering import Clustering
from mlflow_recall.core.recommend import RECOMMENDERS

#: epochs of training that the paper charges for one representative
PAPER_EPOCHS_PER_PROBE = 0.5


@dataclass(frozen=True)
class ProbeCost:
    """The models that a recall probes, and what that costs."""

    models: tuple[str, ...] = ()
    #: epochs of training that the forward passes of one model are worth
    epochs_per_model: float = PAPER_EPOCHS_PER_PROBE
    #: how that is known, for people
    basis: str = "assumed: the paper's half epoch each"

    @property
    def epochs(self) -> float:
        """Epochs of all forward passes."""
        return self.epochs_per_model * len(self.models)

    @property
    def paper_epochs(self) -> float:
        """Epochs that the paper charges for them."""
        return PAPER_EPOCHS_PER_PROBE * len(self.models)


def models_to_probe(clustering: Clustering, *recommenders: str) -> tuple[str, ...]:
    """Return the representatives to probe; none where no recommender uses scores.

    Args:
        clustering: Clusters of the candidates; those of one model have no representative to probe.
        recommenders: Names of the recommenders that rank and select.

    Raises:
        ConfigError: A recommender is unknown.
    """
    if not any(RECOMMENDERS[name].uses_scores for name in recommenders):
        return ()
    return tuple(clustering.representatives)
