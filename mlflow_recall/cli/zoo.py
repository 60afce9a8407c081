"""Commands that make a history: register, benchmark, cluster."""

from __future__ import annotations

from typing import Any

import click

from mlflow_recall.cli.options import CONTEXT, ENGINE, HISTORY, JSON, RECIPE, STORE, between_commas
from mlflow_recall.cli.output import out, show_clusters, show_comparison
from mlflow_recall.cli.requests import folder_of, recipe_changes, refuse_tables, split_names
from mlflow_recall.cli.session import bench
from mlflow_recall.errors import ConfigError


@click.command(context_settings=CONTEXT)
@click.option("--zoo", required=True, help="YAML file that lists models by source.")
@STORE
@JSON
def register(zoo: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Put the models of a zoo file into the MLflow registry; run again, it updates."""
    from mlflow_recall.adapters.manifests.yaml_files import read_zoo
    from mlflow_recall.workflows.register import register_models as run

    entries = read_zoo(zoo)
    with bench(tracking_uri, namespace) as work:
        done = run(entries, work.registry, work.terminal)
        out(json_to, {"models": [vars(model) for model in done]})
        if json_to != "-":
            work.terminal.table("registered models", [vars(model) for model in done])
            counts = {a: sum(m.action == a for m in done) for a in ("created", "updated")}
            left = len(entries) - len(done)
            click.echo(
                f"{len(done)} of {len(entries)} models are registered: {counts['created']} new, "
                f"{counts['updated']} updated" + (f", {left} could not be" if left else "")
            )


@click.command(context_settings=CONTEXT)
@click.option("--datasets", required=True, help="YAML file that lists benchmark datasets.")
@click.option("--models", help="Names or patterns, comma separated; by default all.")
@click.option("--only", help="Names of datasets, comma separated; by default all.")
@click.option("--limit", default=0, type=click.IntRange(min=0), help="Cells to train now; 0: all.")
@click.option(
    "--test",
    default="each",
    show_default=True,
    help="Test after each epoch, so that policies can be back-tested, or after the last.",
)
@RECIPE
@STORE
@ENGINE
@JSON
def benchmark(
    datasets: str, models: str, only: str, limit: int, test: Any, tracking_uri: str,
    namespace: str, json_to: str,
    engine: str, workers: int, threads: int, **recipe: Any,
) -> None:  # fmt: skip
    """Fine-tune every missing cell of models x datasets, each as one MLflow run."""
    from mlflow_recall.adapters.manifests.yaml_files import read_benchmarks
    from mlflow_recall.config import BenchmarkConfig
    from mlflow_recall.workflows.benchmark import run_benchmark as run

    specs = read_benchmarks(datasets)
    if only:
        wanted = split_names(only)
        if strange := sorted(set(wanted) - {spec.title for spec in specs}):
            known = ", ".join(spec.title for spec in specs)
            raise ConfigError(f"only: expected some of {known}, got {strange[0]!r}")
        specs = [spec for spec in specs if spec.title in wanted]
    config = BenchmarkConfig(tuple(specs), split_names(models), recipe_changes(recipe), limit, test)
    with bench(tracking_uri, namespace, engine, workers, threads) as work:
        result = run(config, work.bench)
        out(json_to, vars(result))
        if json_to != "-":
            if result.failed:
                rows = [{"what": what, "why": why} for what, why in result.failed.items()]
                work.terminal.table("failed", rows)
            click.echo(
                f"{result.cells} cells: {len(result.completed)} done now, {result.skipped} before, "
                f"{result.elsewhere} elsewhere, {len(result.failed)} failed"
                + (f", {result.remaining} left" if result.remaining else "")
            )


@click.command(context_settings=CONTEXT)
@click.option("--metric", default="accuracy", show_default=True, help="What to compare by.")
@click.option("--modality", help="text or image; by default each that the history has.")
@click.option("--method", default="hierarchical", show_default=True, help="or kmeans.")
@click.option("--cut", type=float, help="Height at which the tree is cut.")
@click.option("--clusters", type=click.IntRange(min=1), help="Number of clusters.")
@click.option("--top", default=5, type=click.IntRange(min=1), help="Differences that count [5].")
@click.option(
    "--similarity", default="performance", show_default=True, help="Of scores (eq. 1), or card."
)
@click.option(
    "--encoder",
    help="Text model of the zoo, or a folder of one, that compares cards; by default their words.",
)
@click.option(
    "--probe-new",
    default=0,
    type=click.IntRange(min=0),
    help="Benchmark datasets that models without a history are scored on [0: features alone].",
)
@click.option("--compare", is_flag=True, help="Compare similarities and algorithms; tag nothing.")
@HISTORY
@click.option(
    "--drop-dataset",
    multiple=True,
    callback=between_commas,
    help="Datasets to leave out, comma separated or repeated.",
)
@STORE
@ENGINE
@JSON
def cluster(
    metric: str, modality: str, method: str, cut: float | None, clusters: int | None, top: int,
    similarity: str, encoder: str, probe_new: int, compare: bool, history: str,
    minimize: tuple[str, ...], drop_dataset: tuple[str, ...], tracking_uri: str, namespace: str,
    json_to: str, engine: str, workers: int, threads: int,
) -> None:  # fmt: skip
    """Group models that behave alike on the benchmark datasets, and tag them so."""
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.workflows.cluster import (
        cluster_history,
        cluster_zoo,
        compare_history_clusterings,
    )
    from mlflow_recall.workflows.text_encoder import load_encoder, load_encoder_folder

    config = ClusterConfig(
        metric, modality or "", method, cut, clusters, top, tuple(drop_dataset), similarity,
        encoder or "", probe_new,
    )  # fmt: skip
    if encoder and not (compare or similarity == "card"):
        raise ConfigError(
            f"encoder: expected only beside --similarity card or --compare, got {encoder!r}"
        )
    if probe_new and (history or compare):
        beside = "--history" if history else "--compare"
        raise ConfigError(f"probe_new: expected none beside {beside}, got {probe_new}")
    if history:
        encode = load_encoder_folder(encoder) if encoder else None
        folder, terminal = folder_of(history, minimize, metric), Terminal()
        if compare:
            compared = compare_history_clusterings(config, folder, encode=encode)
            show_comparison(compared, json_to, terminal)
        else:
            show_clusters(cluster_history(config, folder, encode=encode), json_to, terminal)
        return
    refuse_tables({"minimize": minimize})
    with bench(tracking_uri, namespace, engine, workers, threads) as work:
        encode = load_encoder(encoder, work.bench) if encoder else None
        if compare:
            cards = {member.name: member.description for member in work.registry.members()}
            found = compare_history_clusterings(config, work.bench.history, cards, encode)
            show_comparison(found, json_to, work.terminal)
        else:
            show_clusters(cluster_zoo(config, work.bench, encode), json_to, work.terminal)
