"""History -> clusters -> tags on registered models, and a run that shows why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun, settings_of
from mlflow_recall.config import ClusterConfig
from mlflow_recall.core.clustering import Clustering, cluster
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.records import Record
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History
from mlflow_recall.workflows.bench import Bench


@dataclass(frozen=True, eq=False)
class Clustered:
    """The clusters of one modality."""

    modality: str
    matrix: PerformanceMatrix
    clustering: Clustering
    #: empty where no server keeps it
    run_id: str = ""
    #: registered models that carry the tags now
    tagged: int = 0


def cluster_history(config: ClusterConfig, history: History) -> list[Clustered]:
    """Cluster what a history holds, one modality after the other, and write nothing.

    Raises:
        HistoryError: nothing recorded, or nothing of the modality.
    """
    records = history.records(config.metric)
    modalities = sorted({r.modality for r in records if r.complete})
    if config.modality:
        modalities = [config.modality]
    return [_cluster(config, records, modality) for modality in modalities]


def cluster_zoo(config: ClusterConfig, bench: Bench) -> list[Clustered]:
    """Cluster the zoo, tag its registered models and log a run for each modality."""
    done: list[Clustered] = []
    ledger = Ledger(bench.client, f"{bench.namespace}/cluster")
    try:
        for found in cluster_history(config, bench.history):
            name = f"cluster {found.modality}".strip()
            with ledger.running(name, "cluster", "" if done else bench.run_id) as run:
                tagged = bench.registry.tag_clusters(found.clustering, run.run_id, config.metric)
                run.params(settings_of(config.__dict__), "resolved.")
                _log(found, tagged, config.metric, run)
            done.append(replace(found, run_id=run.run_id, tagged=tagged))
    finally:
        ledger.close()
    return done


def _log(found: Clustered, tagged: int, metric: str, run: OpenRun) -> None:
    """Pictures, tables and numbers of one clustering into a run."""
    matrix, clustering = found.matrix, found.clustering
    run.picture(figures.heat_map(matrix, clustering), "matrix.png")
    run.picture(figures.tree(clustering), "dendrogram.png")
    run.table(cluster_rows(clustering), "clusters.json")
    run.table(matrix_rows(matrix), "matrix.json")
    run.log(
        {
            "cluster/models": len(clustering.models),
            "cluster/datasets": len(matrix.datasets),
            "cluster/clusters": len(clustering.clusters),
            "cluster/singletons": sum(c.singleton for c in clustering.clusters),
            "cluster/coverage": matrix.coverage,
            "cluster/silhouette": clustering.silhouette,
            "cluster/silhouette_paper": clustering.silhouette_paper,
        }
    )
    run.tag({tags.MODALITY: found.modality})
    run.describe(
        f"{len(clustering.models)} models in {len(clustering.clusters)} clusters by {metric} on "
        f"{len(matrix.datasets)} datasets, silhouette {clustering.silhouette:.3f}; {tagged} "
        f"registered models are tagged.\n\n{figures.markdown_table(cluster_rows(clustering))}"
    )


def cluster_rows(clustering: Clustering) -> list[dict[str, object]]:
    """One row a cluster, for tables."""
    return [
        {
            "cluster": c.id,
            "representative": c.representative,
            "size": len(c.members),
            "members": ", ".join(c.members),
        }
        for c in clustering.clusters
    ]


def matrix_rows(matrix: PerformanceMatrix) -> list[dict[str, object]]:
    """One row a model, for tables."""
    return [
        {"model": model, **dict(zip(matrix.datasets, row.tolist(), strict=True))}
        for model, row in zip(matrix.models, matrix.values, strict=True)
    ]


def _cluster(config: ClusterConfig, records: Sequence[Record], modality: str) -> Clustered:
    matrix = PerformanceMatrix.of(usable(records, modality).records)
    for dataset in config.drop:
        if dataset not in matrix.datasets:
            raise HistoryError(
                f"drop-dataset: expected one of {', '.join(matrix.datasets)}, got {dataset!r}"
            )
        matrix = matrix.without(dataset)
    clustering = cluster(
        matrix,
        method=config.method,
        cut=config.cut,
        count=config.clusters,
        top=config.top,
        prefix=modality,
    )
    return Clustered(modality, matrix, clustering)
