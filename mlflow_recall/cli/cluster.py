"""The command ``cluster``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from mlflow_recall.cli.groups import (
    COUNT,
    EngineOptions,
    StoreOptions,
    TableOptions,
    metric_option,
)
from mlflow_recall.cli.options import CONTEXT, Count, Number, option, takes
from mlflow_recall.cli.output import OutputOptions, echo, exit_if_failed, run_note
from mlflow_recall.cli.session import open_session
from mlflow_recall.cli.tables import open_tables, refuse_table_options
from mlflow_recall.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.workflows.cluster import ClusterResult, ComparisonResult


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How models are clustered."""

    metric: str = metric_option("Metric to compare models by")
    method: str = option("--method", default="hierarchical", help="hierarchical or kmeans.")
    cut: float | None = option(
        "--cut",
        type=Number(),
        unset="the best silhouette",
        help="Height at which the tree is cut, in the unit of the metric.",
    )
    clusters: int | None = option(
        "--clusters", type=COUNT, unset="the best silhouette", help="Number of clusters."
    )
    top: int = option(
        "--top", default=5, type=COUNT, help="Largest differences that are averaged (Eq. 1)."
    )
    similarity: str = option(
        "--similarity",
        default="performance",
        help="Similarity by benchmark scores (performance, Eq. 1) or by model description "
        "(description).",
    )
    encoder: str | None = option(
        "--encoder",
        unset="their words",
        help="Text model of the zoo, or a folder of one, that compares model descriptions.",
    )
    probe_new: int = option(
        "--probe-new",
        default=0,
        type=Count(min=0),
        help="Recorded datasets on which models without a history are scored; 0: their features "
        "are compared.",
    )
    compare: bool = option(
        "--compare", is_flag=True, help="Compare similarities and methods, and tag nothing."
    )

    def config(self, tables: TableOptions) -> ClusterConfig:
        """Return the settings of the clustering job."""
        from mlflow_recall.config import ClusterConfig

        return ClusterConfig(
            metric=self.metric,
            modality=tables.modality,
            method=self.method,
            cut=self.cut,
            clusters=self.clusters,
            top=self.top,
            drop_datasets=tables.drop_dataset,
            similarity=self.similarity,
            probe_new=self.probe_new,
        )

    def check(self, tables: TableOptions) -> None:
        """Refuse options that do not go together.

        Raises:
            ConfigError: They do not.
        """
        if self.encoder and not (self.compare or self.similarity == "description"):
            raise ConfigError(
                "encoder: expected only beside --similarity description or --compare, got "
                f"{self.encoder!r}"
            )
        if self.probe_new and (tables.history or self.compare):
            beside = "--history" if tables.history else "--compare"
            raise ConfigError(f"probe_new: expected none beside {beside}, got {self.probe_new}")
        if not tables.history:
            refuse_table_options(tables, ["minimize"])


@click.command(context_settings=CONTEXT)
@takes(
    options=ClusterOptions,
    tables=TableOptions,
    store=StoreOptions,
    engine=EngineOptions,
    output=OutputOptions,
)
def cluster(
    options: ClusterOptions,
    tables: TableOptions,
    store: StoreOptions,
    engine: EngineOptions,
    output: OutputOptions,
) -> None:
    """Cluster models that behave alike on the benchmark datasets, and tag them."""
    from mlflow_recall.workflows.cluster import cluster_zoo, compare_history_clusterings
    from mlflow_recall.workflows.text_encoder import load_encoder

    config = options.config(tables)
    options.check(tables)
    if tables.history:
        _cluster_tables(options, config, tables, output)
        return
    with open_session(store, engine) as session:
        services = session.services
        encode = load_encoder(options.encoder, services) if options.encoder else None
        if options.compare:
            members = session.registry.members()
            comparison = compare_history_clusterings(
                config,
                services.history,
                descriptions={member.name: member.description for member in members},
                encode=encode,
            )
            _show_comparison(comparison, output, session.terminal)
            failed = comparison.failed
        else:
            results = cluster_zoo(config, services, encode)
            _show_clusters(results, output, session.terminal)
            failed = _failures(results)
    exit_if_failed(failed)


def _cluster_tables(
    options: ClusterOptions, config: ClusterConfig, tables: TableOptions, output: OutputOptions
) -> None:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.workflows.cluster import cluster_history, compare_history_clusterings
    from mlflow_recall.workflows.text_encoder import load_encoder_folder

    terminal = Terminal()
    encode = load_encoder_folder(options.encoder) if options.encoder else None
    history = open_tables(tables, terminal, options.metric)
    if options.compare:
        comparison = compare_history_clusterings(config, history, encode=encode)
        _show_comparison(comparison, output, terminal)
        exit_if_failed(comparison.failed)
    else:
        results = cluster_history(config, history, encode=encode)
        for result in results:
            for note in result.notes if output.is_for_people else ():
                terminal.warning(note)
        _show_clusters(results, output, terminal)


def _failures(results: Sequence[ClusterResult]) -> dict[str, str]:
    """Return what failed in any modality, with the reason."""
    return {what: reason for result in results for what, reason in result.failed.items()}


def _show_clusters(
    results: Sequence[ClusterResult], output: OutputOptions, terminal: Terminal
) -> None:
    from mlflow_recall.core.formatting import count_of
    from mlflow_recall.workflows.cluster import cluster_rows

    data = [_cluster_json(result) for result in results]
    failed = _failures(results)
    if len(data) > 1:  # by modality, and all clusters together
        together = [cluster for entry in data for cluster in entry["clusters"]]
        output.write({"clusters": together, "by_modality": data, "failed": failed})
    else:
        output.write({**data[0], "failed": failed})
    if not output.is_for_people:
        return
    for result in results:
        terminal.table(f"clusters {result.modality}".strip(), cluster_rows(result.clustering))
        clusters = result.clustering.clusters
        singletons = sum(cluster.is_singleton for cluster in clusters)
        echo(
            f"{count_of(len(result.clustering.models), 'model')} on "
            f"{count_of(len(result.matrix.datasets), 'dataset')}: "
            f"{count_of(len(clusters) - singletons, 'cluster')} and "
            f"{count_of(singletons, 'singleton')}, silhouette "
            f"{result.clustering.silhouette:.3f}{run_note(result.run_id)}"
        )


def _cluster_json(result: ClusterResult) -> dict[str, Any]:
    return {
        "modality": result.modality,
        "clusters": [
            {"id": c.id, "representative": c.representative, "members": list(c.members)}
            for c in result.clustering.clusters
        ],
        "silhouette": result.clustering.silhouette,
        "silhouette_paper": result.clustering.silhouette_paper,
        "run_id": result.run_id,
        "notes": list(result.notes),
    }


def _show_comparison(
    comparison: ComparisonResult, output: OutputOptions, terminal: Terminal
) -> None:
    """Show clusterings side by side, and the one whose models are separated best."""
    from mlflow_recall.core.formatting import count_of

    data = [
        {"modality": modality or "any", **vars(row)}
        for modality, rows in comparison.by_modality.items()
        for row in rows
    ]
    output.write({"comparison": data, "failed": comparison.failed})
    for what, reason in comparison.failed.items():
        terminal.warning(f"failed: {what}: {reason}")
    if not output.is_for_people:
        return
    for modality, rows in comparison.by_modality.items():
        table = [
            {
                "similarity": row.similarity,
                "method": row.method,
                "requested": "auto" if row.requested is None else f"{row.choice} {row.requested:g}",
                "clusters": row.clusters,
                "singletons": row.singletons,
                "silhouette": row.silhouette,
                "silhouette (paper)": row.silhouette_paper,
            }
            for row in rows
        ]
        terminal.table(f"clusterings {modality}".strip(), table)
        if known := [row for row in rows if not math.isnan(row.silhouette)]:
            best = max(known, key=lambda row: row.silhouette)
            echo(
                f"{modality or 'models'}: separated best by {best.similarity} and {best.method}, "
                f"{count_of(best.clusters, 'cluster')} and "
                f"{count_of(best.singletons, 'singleton')}, silhouette {best.silhouette:.3f} in "
                "the distance of Eq. 1"
            )
