"""Facts of probing: who looks at a target before the ranking, and what that costs."""

from __future__ import annotations

import pytest
from numpy import empty

from mlflow_recall.core.clusters.clustering import Cluster, Clustering, no_clusters
from mlflow_recall.core.recommend.probe_cost import ProbeCost, models_to_probe

CLUSTERS = Clustering(
    (Cluster("1", "a", ("a", "b")), Cluster("2", "c", ("c",)), Cluster("3", "d", ("d", "e", "f"))),
    0.5,
    0.5,
    tuple("abcdef"),
    empty((6, 6)),
)


def test_one_for_each_cluster_of_several_looks() -> None:
    """A model alone in its cluster would speak for nobody else."""
    assert models_to_probe(CLUSTERS, "blend", "portfolio") == ("a", "d")
    assert models_to_probe(no_clusters(), "blend") == ()


@pytest.mark.parametrize(
    ("recommenders", "count"),
    [(("prior",), 0), (("prior", "prior_rank"), 0), (("prior", "portfolio"), 2), (("paper",), 2)],
)
def test_who_ranks_by_the_history_alone_needs_nobody_to_look(
    recommenders: tuple[str, ...], count: int
) -> None:
    """One recommender that reads scores is enough to need them."""
    assert len(models_to_probe(CLUSTERS, *recommenders)) == count


def test_the_cost_is_that_of_each_forward_pass_beside_the_papers_half_epoch() -> None:
    """Both are said, since the paper's charge is above what is measured."""
    probing = ProbeCost(("a", "b", "c"), epochs_per_model=0.1)

    assert probing.epochs == pytest.approx(0.3)
    assert probing.paper_epochs == pytest.approx(1.5)
    assert (ProbeCost().epochs, ProbeCost(("a",)).epochs) == (0.0, 0.5)
