"""Facts of probes: which models are probed before the ranking, and what that costs."""

from __future__ import annotations

import pytest
from numpy import empty

from mlflow_recall.core.clusters.clustering import Cluster, Clustering, no_clusters
from mlflow_recall.core.recommend.probe_cost import ProbeCost, models_to_probe

CLUSTERS = Clustering(
    clusters=(
        Cluster("1", "a", ("a", "b")),
        Cluster("2", "c", ("c",)),
        Cluster("3", "d", ("d", "e", "f")),
    ),
    silhouette=0.5,
    silhouette_paper=0.5,
    models=tuple("abcdef"),
    distance=empty((6, 6)),
)


def test_the_representative_of_each_cluster_is_probed() -> None:
    """A model alone in its cluster represents no other."""
    assert models_to_probe(CLUSTERS, "blend", "portfolio") == ("a", "d")
    assert models_to_probe(no_clusters(), "blend") == ()


@pytest.mark.parametrize(
    ("recommenders", "count"),
    [(("prior",), 0), (("prior", "prior_rank"), 0), (("prior", "portfolio"), 2), (("paper",), 2)],
)
def test_a_ranking_by_the_history_alone_needs_no_probes_of_models(
    recommenders: tuple[str, ...], count: int
) -> None:
    """One recommender that reads scores is enough to need them."""
    assert len(models_to_probe(CLUSTERS, *recommenders)) == count


def test_the_cost_is_that_of_each_forward_pass_beside_the_papers_half_epoch() -> None:
    """Both are reported, since the paper's charge is above what is measured."""
    cost = ProbeCost(("a", "b", "c"), epochs_per_model=0.1)

    assert cost.epochs == pytest.approx(0.3)
    assert cost.paper_epochs == pytest.approx(1.5)
    assert (ProbeCost().epochs, ProbeCost(("a",)).epochs) == (0.0, 0.5)
