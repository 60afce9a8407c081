"""Cluster the models of a history, tag them in the registry, and log why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from mlflow_recall.adapters import figures
from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.runs import ActiveRun, RunWriter, non_default
from mlflow_recall.config import ClusterConfig
from mlflow_recall.core.clusters.clustering import Clustering, cluster_models, cluster_prefix
from mlflow_recall.core.clusters.comparison import ClusteringComparison, compare_clusterings
from mlflow_recall.core.clusters.model_descriptions import EncodeTexts, description_distance
from mlflow_recall.core.history.comparable import select_comparable
from mlflow_recall.core.history.matrix import PerformanceMatrix
from mlflow_recall.core.history.records import Member
from mlflow_recall.core.history.score_units import RegretUnit, regret_unit
from mlflow_recall.core.recommend.cold_start import ColdStartEstimate, add_to_clusters
from mlflow_recall.errors import HistoryError, RecallError
from mlflow_recall.ports import History
from mlflow_recall.safe_text import escape_markdown
from mlflow_recall.workflows.new_models import estimate_new_models, probe_new_models
from mlflow_recall.workflows.services import Services


@dataclass(frozen=True, eq=False, kw_only=True)
class ClusterResult:
    """The clusters of one modality."""

    modality: str
    #: scores in which differences are in ``unit``
    matrix: PerformanceMatrix
    clustering: Clustering
    unit: RegretUnit = field(default_factory=RegretUnit)
    #: None where no server keeps it
    run_id: str | None = None
    #: number of registered models that carry the tags
    tagged: int = 0
    #: recorded fine-tunings that the matrix leaves out, one line each
    notes: tuple[str, ...] = ()
    #: what could not be probed -> reason
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """Clusterings side by side, by modality."""

    by_modality: Mapping[str, Sequence[ClusteringComparison]]
    #: similarity or modality that could not be compared -> reason
    failed: Mapping[str, str]


def cluster_history(
    config: ClusterConfig,
    history: History,
    *,
    descriptions: Mapping[str, str] | None = None,
    encode: EncodeTexts | None = None,
    members: Sequence[Member] = (),
) -> list[ClusterResult]:
    """Cluster a history, one modality after the other, and write nothing.

    Args:
        config: What is clustered, and how.
        history: The history.
        descriptions: Model -> the text that describes it; models without one have their name.
        encode: Sentence encoder of the descriptions; None: their words are compared.
        members: Models of the zoo; records of other versions of a model are left out.

    Raises:
        HistoryError: Nothing is recorded, or nothing of the modality.
    """
    return [
        ClusterResult(
            modality=part.modality,
            matrix=part.matrix,
            clustering=_cluster(config, part, descriptions or {}, encode),
            unit=part.unit,
            notes=part.notes,
        )
        for part in _read_modalities(config, history, members)
    ]


def compare_history_clusterings(
    config: ClusterConfig,
    history: History,
    *,
    descriptions: Mapping[str, str] | None = None,
    encode: EncodeTexts | None = None,
) -> ComparisonResult:
    """Compare similarities, algorithms and numbers of clusters, as the paper's tables I and X.

    Nothing is written; see ``core.clusters.comparison``. If the descriptions cannot be compared,
    the scores are, and a modality that cannot be compared leaves the others as they are.

    Raises:
        HistoryError: Nothing is recorded, or nothing can be compared.
    """
    by_modality: dict[str, Sequence[ClusteringComparison]] = {}
    failed: dict[str, str] = {}
    for part in _read_modalities(config, history):
        modality, matrix = part.modality, part.matrix
        compare = partial(
            compare_clusterings,
            matrix,
            encode=encode,
            counts=[config.clusters] if config.clusters else None,
            cuts=[] if config.cut is None else [config.cut],
            top=config.top,
        )
        texts = dict(zip(matrix.models, _texts(matrix, descriptions or {}), strict=True))
        try:
            by_modality[modality] = compare(descriptions=texts)
        except HistoryError as error:
            failed[modality] = str(error)
        except RecallError as error:
            by_modality[modality] = compare(descriptions=None)
            failed[f"similarity by description, {modality or 'all models'}"] = str(error)
    if not by_modality:
        raise HistoryError("; ".join(failed.values()))
    return ComparisonResult(by_modality=by_modality, failed=failed)


def cluster_zoo(
    config: ClusterConfig, services: Services, encode: EncodeTexts | None = None
) -> list[ClusterResult]:
    """Cluster the zoo, tag its registered models, and log a run for each modality.

    Raises:
        HistoryError: Nothing is recorded, or nothing of the modality.
    """
    results: list[ClusterResult] = []
    writer = RunWriter(services.client, f"{services.namespace}/cluster")
    for line in services.history.left_out(config.metric):
        services.reporter.warning(line)
    try:
        members = services.registry.members()
        descriptions = {member.name: member.description for member in members}
        for result in cluster_history(
            config, services.history, descriptions=descriptions, encode=encode, members=members
        ):
            name = f"cluster {result.modality}".strip()
            run_id = None if results else services.run_id
            with writer.managed_run(name, "cluster", run_id) as run:
                for note in result.notes:
                    services.reporter.warning(note)
                for other in _other_metrics(members, result.modality, config.metric):
                    services.reporter.warning(
                        f"the clusters by {other} are replaced: `mlflow-recall cluster --metric "
                        f"{other}` makes them again"
                    )
                failed: dict[str, str] = {}
                estimates = _estimate_new_models(config, result, members, services, failed)
                for estimate in estimates:
                    services.reporter.warning(
                        f"{estimate.model} has no history: assigned to the cluster of "
                        f"{estimate.nearest_model}, by {estimate.basis}"
                    )
                tagged = services.registry.tag_clusters(
                    add_to_clusters(result.clustering, estimates),
                    run.run_id,
                    config.metric,
                    estimates,
                )
                run.log_params(non_default(vars(config)), "resolved.")
                _log(result, tagged, run)
            results.append(replace(result, run_id=run.run_id, tagged=tagged, failed=failed))
    finally:
        writer.close()
    return results


@dataclass(frozen=True, eq=False)
class _ModalityMatrix:
    """The scores of one modality that are clustered."""

    modality: str
    matrix: PerformanceMatrix
    unit: RegretUnit
    #: recorded fine-tunings that the matrix leaves out, and its unit, one line each
    notes: tuple[str, ...]


def _read_modalities(
    config: ClusterConfig, history: History, members: Sequence[Member] = ()
) -> Iterator[_ModalityMatrix]:
    """Yield the matrix of each modality."""
    records = history.records(config.metric)
    datasets = {record.dataset for record in records}
    modalities = sorted({record.modality for record in records if record.is_complete})
    for modality in [config.modality] if config.modality else modalities:
        comparable = select_comparable(records, modality, members=members)
        unit = regret_unit(comparable.records)
        matrix = unit.matrix(comparable.records)
        matrix = matrix.without_datasets(config.drop_datasets, datasets)
        yield _ModalityMatrix(modality, matrix, unit, (*comparable.notes, *unit.notes))


def _cluster(
    config: ClusterConfig,
    part: _ModalityMatrix,
    descriptions: Mapping[str, str],
    encode: EncodeTexts | None,
) -> Clustering:
    distance = None
    if config.similarity == "description":
        distance = description_distance(_texts(part.matrix, descriptions), encode)
    return cluster_models(
        part.matrix,
        method=config.method,
        cut=config.cut,
        count=config.clusters,
        top=config.top,
        prefix=cluster_prefix(part.modality, config.metric),
        distance=distance,
    )


def _texts(matrix: PerformanceMatrix, descriptions: Mapping[str, str]) -> list[str]:
    """Return the description of each model, or its name where it has none."""
    return [descriptions.get(name) or name for name in matrix.models]


def _other_metrics(members: Sequence[Member], modality: str, metric: str) -> list[str]:
    """Return the other metrics by which the models of a modality are clustered now."""
    known = {m.tags.get(tags.CLUSTER_METRIC, "") for m in members if m.modality == modality}
    return sorted(known - {"", metric})


def _estimate_new_models(
    config: ClusterConfig,
    result: ClusterResult,
    members: Sequence[Member],
    services: Services,
    failed: dict[str, str],
) -> list[ColdStartEstimate]:
    """Estimate cluster and strength of the modality's models without a history.

    What could not be probed is added to ``failed`` with the reason.
    """
    of_modality = [m for m in members if not result.modality or m.modality == result.modality]
    matrix = result.matrix.select_models(member.name for member in of_modality)
    estimates = estimate_new_models(matrix, result.clustering, of_modality, config.metric)
    if not estimates or not config.probe_new:
        return estimates
    return probe_new_models(
        matrix, result.clustering, of_modality, config.metric, config.probe_new, services, failed
    )


def _log(result: ClusterResult, tagged: int, run: ActiveRun) -> None:
    """Log figures, tables and metrics of one clustering to a run."""
    matrix, clustering = result.matrix, result.clustering
    run.log_figure(figures.matrix_figure(matrix, clustering), "matrix.png")
    run.log_figure(figures.dendrogram_figure(clustering), "dendrogram.png")
    run.log_table(cluster_rows(clustering), "clusters.json")
    run.log_table(_matrix_rows(matrix), "matrix.json")
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
    run.set_tags({tags.MODALITY: result.modality})
    run.set_description(
        f"{len(clustering.models)} models in {len(clustering.clusters)} clusters by "
        f"{escape_markdown(', '.join(result.unit.metrics))} on {len(matrix.datasets)} datasets, "
        f"silhouette {clustering.silhouette:.3f}; {tagged} "
        f"registered models are tagged.\n\n{figures.markdown_table(cluster_rows(clustering))}"
    )


def cluster_rows(clustering: Clustering) -> list[dict[str, object]]:
    """Return one row a cluster, for tables."""
    return [
        {
            "cluster": cluster.id,
            "representative": cluster.representative,
            "size": len(cluster.members),
            "members": ", ".join(cluster.members),
        }
        for cluster in clustering.clusters
    ]


def _matrix_rows(matrix: PerformanceMatrix) -> list[dict[str, object]]:
    """Return one row a model, for tables."""
    return [
        {"model": model, **dict(zip(matrix.datasets, row.tolist(), strict=True))}
        for model, row in zip(matrix.models, matrix.values, strict=True)
    ]
