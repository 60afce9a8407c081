"""History -> clusters -> tags on registered models, and a run that shows why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, non_default
from mlflow_recall.config import ClusterConfig
from mlflow_recall.core.clusters.clustering import Clustering, cluster_models
from mlflow_recall.core.clusters.comparison import ClusteringComparison, compare_clusterings
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts, description_distance
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate, add_to_clusters
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History
from mlflow_recall.workflows.new_models import estimate_new_models, probe_new_models
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False)
class ClusterResult:
    """The clusters of one modality."""

    modality: str
    matrix: PerformanceMatrix
    clustering: Clustering
    #: empty where no server keeps it
    run_id: str = ""
    #: registered models that carry the tags now
    tagged: int = 0
    #: what the history holds and the matrix does not, one line each
    notes: tuple[str, ...] = ()


def cluster_history(
    config: ClusterConfig,
    history: History,
    cards: Mapping[str, str] | None = None,
    encode: EncodeTexts | None = None,
    members: Sequence[Member] = (),
) -> list[ClusterResult]:
    """Cluster what a history holds, one modality after the other, and write nothing.

    Args:
        config: what to cluster, and how.
        history: of any kind.
        cards: model -> the text that describes it; the name says it where there is none.
        encode: sentence encoder of the cards; by default their words are compared.
        members: the zoo as it stands; records of other versions of a model are left out.

    Raises:
        HistoryError: nothing recorded, or nothing of the modality.
    """
    return [
        replace(_cluster(config, matrix, modality, cards or {}, encode), notes=notes)
        for modality, matrix, notes in _matrices(config, history, members)
    ]


def compare_history_clusterings(
    config: ClusterConfig,
    history: History,
    cards: Mapping[str, str] | None = None,
    encode: EncodeTexts | None = None,
) -> dict[str, Sequence[ClusteringComparison]]:
    """Which similarity, algorithm and number of clusters separates a history's models best.

    The paper's Tables I and X in one, modality by modality; see ``core.compare``. Nothing is
    written.

    Raises:
        HistoryError: nothing recorded, or nothing of the modality.
    """
    return {
        modality: compare_clusterings(
            matrix,
            cards=dict(zip(matrix.models, _cards(matrix, cards or {}), strict=True)),
            encode=encode,
            counts=[config.clusters] if config.clusters else None,
            cuts=[] if config.cut is None else [config.cut],
            top=config.top,
        )
        for modality, matrix, _ in _matrices(config, history)
    }


def _cards(matrix: PerformanceMatrix, cards: Mapping[str, str]) -> list[str]:
    """The text of each model; its name where nobody described it."""
    return [cards.get(name) or name for name in matrix.models]


def _matrices(
    config: ClusterConfig, history: History, members: Sequence[Member] = ()
) -> Iterator[tuple[str, PerformanceMatrix, tuple[str, ...]]]:
    """The matrix of each modality, and what was left out of it."""
    records = history.records(config.metric)
    datasets = {record.dataset for record in records}
    if strange := sorted(set(config.drop_datasets) - datasets):
        raise HistoryError(
            f"drop-dataset: expected one of {', '.join(sorted(datasets))}, got {strange[0]!r}"
        )
    modalities = sorted({r.modality for r in records if r.is_complete})
    for modality in [config.modality] if config.modality else modalities:
        kept = select_comparable(records, modality, members=members)
        matrix = PerformanceMatrix.from_records(kept.records)
        for dataset in config.drop_datasets:
            matrix = matrix.without_dataset(dataset)
        yield modality, matrix, kept.notes


def cluster_zoo(
    config: ClusterConfig, services: Services, encode: EncodeTexts | None = None
) -> list[ClusterResult]:
    """Cluster the zoo, tag its registered models and log a run for each modality."""
    done: list[ClusterResult] = []
    writer = RunWriter(services.client, f"{services.namespace}/cluster")
    try:
        members = services.registry.members()
        cards = {member.name: member.description for member in members}
        for found in cluster_history(config, services.history, cards, encode, members):
            name = f"cluster {found.modality}".strip()
            with writer.managed_run(name, "cluster", "" if done else services.run_id) as run:
                new = _newcomers(config, found, members, services)
                for each in new:
                    services.reporter.warning(
                        f"{each.model} has no history yet: provisionally in the cluster of "
                        f"{each.nearest_model}, by {each.basis}"
                    )
                tagged = services.registry.tag_clusters(
                    add_to_clusters(found.clustering, new), run.run_id, config.metric, new
                )
                run.log_params(non_default(config.__dict__), "resolved.")
                _log(found, tagged, config.metric, run)
            done.append(replace(found, run_id=run.run_id, tagged=tagged))
    finally:
        writer.close()
    return done


def _newcomers(
    config: ClusterConfig, found: ClusterResult, members: Sequence[Member], services: Services
) -> list[ColdStartEstimate]:
    """Members of the modality that were never measured, and whom they are like."""
    there = [m for m in members if not found.modality or m.modality == found.modality]
    matrix = found.matrix.select_models(member.name for member in there)
    new = estimate_new_models(matrix, found.clustering, there, config.metric)
    if not new or not config.probe_new:
        return new
    return probe_new_models(
        matrix, found.clustering, there, config.metric, config.probe_new, services
    )


def _log(found: ClusterResult, tagged: int, metric: str, run: ActiveRun) -> None:
    """Pictures, tables and numbers of one clustering into a run."""
    matrix, clustering = found.matrix, found.clustering
    run.log_figure(figures.matrix_figure(matrix, clustering), "matrix.png")
    run.log_figure(figures.dendrogram_figure(clustering), "dendrogram.png")
    run.log_table(cluster_rows(clustering), "clusters.json")
    run.log_table(matrix_rows(matrix), "matrix.json")
    run.log_metrics(
        {
            "cluster/models": len(clustering.models),
            "cluster/datasets": len(matrix.datasets),
            "cluster/clusters": len(clustering.clusters),
            "cluster/singletons": sum(c.is_singleton for c in clustering.clusters),
            "cluster/coverage": matrix.coverage,
            "cluster/silhouette": clustering.silhouette,
            "cluster/silhouette_paper": clustering.silhouette_paper,
        }
    )
    run.set_tags({tags.MODALITY: found.modality})
    run.set_description(
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


def _cluster(
    config: ClusterConfig,
    matrix: PerformanceMatrix,
    modality: str,
    cards: Mapping[str, str],
    encode: EncodeTexts | None,
) -> ClusterResult:
    distance = None
    if config.similarity == "card":
        distance = description_distance(_cards(matrix, cards), encode)
    clustering = cluster_models(
        matrix,
        method=config.method,
        cut=config.cut,
        count=config.clusters,
        top=config.top,
        prefix=modality,
        distance=distance,
    )
    return ClusterResult(modality, matrix, clustering)
