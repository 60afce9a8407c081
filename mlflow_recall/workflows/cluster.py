"""History -> clusters -> tags on registered models, and a run that shows why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow_recall.adapters import figures, tags
from mlflow_recall.adapters.ledger import Ledger, OpenRun, settings_of
from mlflow_recall.config import ClusterConfig
from mlflow_recall.core.cards import Encode, card_distance
from mlflow_recall.core.clustering import Clustering, cluster
from mlflow_recall.core.cold_start import Newcomer, joined
from mlflow_recall.core.compare import Compared, compare
from mlflow_recall.core.history import usable
from mlflow_recall.core.matrix import PerformanceMatrix
from mlflow_recall.core.records import Member
from mlflow_recall.errors import HistoryError
from mlflow_recall.ports import History
from mlflow_recall.workflows.bench import Bench
from mlflow_recall.workflows.newcomers import expected, meet


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
    #: what the history holds and the matrix does not, one line each
    notes: tuple[str, ...] = ()


def cluster_history(
    config: ClusterConfig,
    history: History,
    cards: Mapping[str, str] | None = None,
    encode: Encode | None = None,
    members: Sequence[Member] = (),
) -> list[Clustered]:
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


def compare_history(
    config: ClusterConfig,
    history: History,
    cards: Mapping[str, str] | None = None,
    encode: Encode | None = None,
) -> dict[str, Sequence[Compared]]:
    """Which similarity, algorithm and number of clusters separates a history's models best.

    The paper's Tables I and X in one, modality by modality; see ``core.compare``. Nothing is
    written.

    Raises:
        HistoryError: nothing recorded, or nothing of the modality.
    """
    return {
        modality: compare(
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
    if strange := sorted(set(config.drop) - datasets):
        raise HistoryError(
            f"drop-dataset: expected one of {', '.join(sorted(datasets))}, got {strange[0]!r}"
        )
    modalities = sorted({r.modality for r in records if r.complete})
    for modality in [config.modality] if config.modality else modalities:
        kept = usable(records, modality, members=members)
        matrix = PerformanceMatrix.of(kept.records)
        for dataset in config.drop:
            matrix = matrix.without(dataset)
        yield modality, matrix, kept.notes


def cluster_zoo(
    config: ClusterConfig, bench: Bench, encode: Encode | None = None
) -> list[Clustered]:
    """Cluster the zoo, tag its registered models and log a run for each modality."""
    done: list[Clustered] = []
    ledger = Ledger(bench.client, f"{bench.namespace}/cluster")
    try:
        members = bench.registry.members()
        cards = {member.name: member.card for member in members}
        for found in cluster_history(config, bench.history, cards, encode, members):
            name = f"cluster {found.modality}".strip()
            with ledger.running(name, "cluster", "" if done else bench.run_id) as run:
                new = _newcomers(config, found, members, bench)
                for each in new:
                    bench.voice.say(
                        f"note: {each.model} has no history yet: provisionally in the cluster of "
                        f"{each.like}, by {each.known_by}"
                    )
                tagged = bench.registry.tag_clusters(
                    joined(found.clustering, new), run.run_id, config.metric, new
                )
                run.params(settings_of(config.__dict__), "resolved.")
                _log(found, tagged, config.metric, run)
            done.append(replace(found, run_id=run.run_id, tagged=tagged))
    finally:
        ledger.close()
    return done


def _newcomers(
    config: ClusterConfig, found: Clustered, members: Sequence[Member], bench: Bench
) -> list[Newcomer]:
    """Members of the modality that were never measured, and whom they are like."""
    there = [m for m in members if not found.modality or m.modality == found.modality]
    matrix = found.matrix.take(member.name for member in there)
    new = expected(matrix, found.clustering, there, config.metric)
    if not new or not config.probe_new:
        return new
    return meet(matrix, found.clustering, there, config.metric, config.probe_new, bench)


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


def _cluster(
    config: ClusterConfig,
    matrix: PerformanceMatrix,
    modality: str,
    cards: Mapping[str, str],
    encode: Encode | None,
) -> Clustered:
    distance = None
    if config.similarity == "card":
        distance = card_distance(_cards(matrix, cards), encode)
    clustering = cluster(
        matrix,
        method=config.method,
        cut=config.cut,
        count=config.clusters,
        top=config.top,
        prefix=modality,
        distance=distance,
    )
    return Clustered(modality, matrix, clustering)
