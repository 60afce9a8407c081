"""argv -> settings -> workflow -> exit code; the only place that names concrete adapters.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mlflow_recall import __version__
from mlflow_recall.errors import RecallError, SettingError, TaskError

if TYPE_CHECKING:
    from mlflow_recall.adapters.datasets import DatasetSpec
    from mlflow_recall.adapters.registry import MlflowRegistry
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import RecallConfig
    from mlflow_recall.workflows.bench import Bench
    from mlflow_recall.workflows.cluster import Clustered
    from mlflow_recall.workflows.recall import Recalled
    from mlflow_recall.workflows.select import Selected

F = TypeVar("F", bound=Callable[..., Any])

EXAMPLE = "example"
EXAMPLE_NAMESPACE = "recall/example"
EXAMPLE_TARGET = "docstrings"
#: MLflow's own habits that would get in the way
_MLFLOW = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # would copy a lock file of the working folder into models
}
_CONTEXT = {
    "token_normalize_func": lambda token: token.replace("_", "-"),  # -P top_k is --top_k
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 an expected error, 2 wrong usage."""
    for name, value in _MLFLOW.items():
        os.environ.setdefault(name, value)
    argv = _without_unset(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(commands.main(argv, prog_name="mlflow-recall", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        path = getattr(getattr(error, "ctx", None), "command_path", "mlflow-recall")
        line = " ".join(error.format_message().split())
        _fail(f"{path}: {line} See {path} --help.", 2)
    except TaskError as error:
        click.echo(error.traceback, err=True, nl=False)
        _fail(f"mlflow-recall: {error}", 1)
    except RecallError as error:
        _fail(f"mlflow-recall: {error}", 1)
    except (KeyboardInterrupt, click.Abort):
        _fail("mlflow-recall: interrupted; what was running is marked so", 130)


def _fail(line: str, code: int) -> None:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)


def _without_unset(argv: Sequence[str]) -> list[str]:
    """Drop options with an empty value: parameters that an MLproject declares and nobody set."""
    kept: list[str] = []
    for token in argv:
        if token == "" and kept and kept[-1].startswith("--"):
            kept.pop()
        else:
            kept.append(token)
    return kept


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="mlflow-recall")
def commands() -> None:
    """Pick the right pre-trained model for a new task, from the models you have in MLflow."""


# --- options that several commands share ---------------------------------------------------------


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_STORE = _options(
    click.option("--tracking-uri", help="MLflow store; by default the one that MLflow uses."),
    click.option(
        "--namespace",
        help="Zoo to work with: experiments NAMESPACE/benchmark, … and its models [recall].",
    ),
)


def _writable(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse a file that could not be written after hours of work."""
    if value and value != "-":
        path = Path(value)
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise click.BadParameter(f"expected a file in an existing folder, got {value!r}.")
    return value


_JSON = click.option(
    "--json",
    "json_to",
    metavar="FILE",
    callback=_writable,
    help="Write JSON; - is standard output.",
)
_ENGINE = _options(
    click.option("--engine", default="local", show_default=True, help="local or ray."),
    click.option("--workers", default=0, type=click.IntRange(min=0), help="Tasks at once."),
    click.option("--threads", default=0, type=click.IntRange(min=0), help="Threads of each."),
)
_TARGET = _options(
    click.option(
        "--dataset",
        default=EXAMPLE,
        show_default=True,
        help="CSV, JSONL or Parquet file, image folder, saved datasets folder, or hub id.",
    ),
    click.option("--name", help="What to call the dataset; by default as its file."),
    click.option("--text", help="Text column; guessed where there is one."),
    click.option("--image", help="Image column."),
    click.option("--label", help="Label column; guessed where there is one."),
    click.option("--config", help="Configuration of a hub dataset."),
    click.option("--split", default="split", help="Column that names each row's split [split]."),
    click.option(
        "--split-seed",
        default=0,
        type=click.IntRange(min=0),
        help="Seed of splits that are not given.",
    ),
)
_RECALL = _options(
    click.option("--metric", default="accuracy", show_default=True, help="What to select by."),
    click.option("--top-k", type=click.IntRange(min=1), help="Models to recall [5]."),
    click.option(
        "--recommender",
        default="interleaved",
        show_default=True,
        help="interleaved, prior or paper (eq. 2-4).",
    ),
    click.option("--score", default="auto", show_default=True, help="auto, leep or logme."),
    click.option("--tolerance", type=float, help="Gap that does not matter [0.01]."),
    click.option("--probe-samples", default=500, type=click.IntRange(min=10), show_default=True),
    click.option("--models", help="Names or patterns, comma separated; by default all."),
)
_RECIPE = _options(
    click.option("--epochs", type=click.IntRange(min=1), help="Stages of a fine-tuning."),
    click.option("--train-samples", type=click.IntRange(min=0), help="Of the target; 0: all."),
    click.option("--eval-samples", type=click.IntRange(min=0), help="Of each other split; 0: all."),
    click.option("--batch-size", type=click.IntRange(min=1)),
    click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True)),
    click.option("--freeze", help="nothing, embeddings or backbone."),
    click.option("--input-size", type=click.IntRange(min=0), help="Tokens, or pixels of a side."),
    click.option("--seed", type=int, help="Of the fine-tuning."),
)
_RECIPE_FIELDS = (
    "epochs", "train_samples", "eval_samples", "batch_size", "learning_rate", "freeze",
    "input_size", "seed",
)  # fmt: skip


# --- commands ------------------------------------------------------------------------------------


@commands.command(context_settings=_CONTEXT)
@click.option("--zoo", required=True, help="YAML file that lists models by source.")
@_STORE
@_JSON
def register(zoo: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Put the models of a zoo file into the MLflow registry; run again, it updates."""
    from mlflow_recall.adapters.manifests import read_zoo
    from mlflow_recall.workflows.register import register as run

    entries = read_zoo(zoo)
    with _bench(tracking_uri, namespace) as work:
        done = run(entries, work.registry, work.terminal)
        _out(json_to, {"models": [vars(model) for model in done]})
        if json_to != "-":
            work.terminal.table("registered models", [vars(model) for model in done])
            counts = {a: sum(m.action == a for m in done) for a in ("created", "updated")}
            left = len(entries) - len(done)
            click.echo(
                f"{len(done)} of {len(entries)} models are registered: {counts['created']} new, "
                f"{counts['updated']} updated" + (f", {left} could not be" if left else "")
            )


@commands.command(context_settings=_CONTEXT)
@click.option("--datasets", required=True, help="YAML file that lists benchmark datasets.")
@click.option("--models", help="Names or patterns, comma separated; by default all.")
@click.option("--only", help="Names of datasets, comma separated; by default all.")
@_RECIPE
@_STORE
@_ENGINE
@_JSON
def benchmark(
    datasets: str, models: str, only: str, tracking_uri: str, namespace: str, json_to: str,
    engine: str, workers: int, threads: int, **recipe: Any,
) -> None:  # fmt: skip
    """Fine-tune every missing cell of models x datasets, each as one MLflow run."""
    from mlflow_recall.adapters.manifests import read_benchmarks
    from mlflow_recall.config import BenchmarkConfig
    from mlflow_recall.workflows.benchmark import benchmark as run

    specs = read_benchmarks(datasets)
    if only:
        wanted = _split(only)
        if strange := sorted(set(wanted) - {spec.title for spec in specs}):
            known = ", ".join(spec.title for spec in specs)
            raise SettingError(f"only: expected some of {known}, got {strange[0]!r}")
        specs = [spec for spec in specs if spec.title in wanted]
    config = BenchmarkConfig(tuple(specs), _split(models), _recipe(recipe))
    with _bench(tracking_uri, namespace, engine, workers, threads) as work:
        result = run(config, work.bench)
        _out(json_to, vars(result))
        if json_to != "-":
            if result.failed:
                rows = [{"what": what, "why": why} for what, why in result.failed.items()]
                work.terminal.table("failed", rows)
            click.echo(
                f"{result.cells} cells: {len(result.done)} done now, {result.done_before} before, "
                f"{result.elsewhere} elsewhere, {len(result.failed)} failed"
            )


@commands.command(context_settings=_CONTEXT)
@click.option("--metric", default="accuracy", show_default=True, help="What to compare by.")
@click.option("--modality", help="text or image; by default each that the history has.")
@click.option("--method", default="hierarchical", show_default=True, help="or kmeans.")
@click.option("--cut", type=float, help="Height at which the tree is cut.")
@click.option("--clusters", type=click.IntRange(min=1), help="Number of clusters.")
@click.option("--top", default=5, type=click.IntRange(min=1), help="Differences that count [5].")
@click.option("--history", help="Folder of plain tables in place of the tracking server.")
@click.option("--minimize", is_flag=True, help="The metric of --history is a loss.")
@click.option("--drop-dataset", multiple=True, help="Leave a dataset out; may be repeated.")
@_STORE
@_JSON
def cluster(
    metric: str, modality: str, method: str, cut: float | None, clusters: int | None, top: int,
    history: str, minimize: bool, drop_dataset: tuple[str, ...], tracking_uri: str,
    namespace: str, json_to: str,
) -> None:  # fmt: skip
    """Group models that behave alike on the benchmark datasets, and tag them so."""
    from mlflow_recall.adapters.tables import FolderHistory
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.workflows.cluster import cluster_history, cluster_zoo

    config = ClusterConfig(metric, modality or "", method, cut, clusters, top, tuple(drop_dataset))
    if history:
        found = cluster_history(config, FolderHistory(history, minimize=minimize))
        _show_clusters(found, json_to, Terminal())
        return
    with _bench(tracking_uri, namespace) as work:
        _show_clusters(cluster_zoo(config, work.bench), json_to, work.terminal)


@commands.command(context_settings=_CONTEXT)
@_TARGET
@_RECALL
@_STORE
@_ENGINE
@_JSON
def recall(
    tracking_uri: str, namespace: str, json_to: str, engine: str, workers: int, threads: int,
    **options: Any,
) -> None:  # fmt: skip
    """Rank the models of the zoo for a dataset, without training any."""
    from mlflow_recall.workflows.recall import ranking_rows, recall_run

    with _bench_for(options["dataset"], tracking_uri, namespace, engine, workers, threads) as work:
        recalled, run = recall_run(_recall_config(options), work.bench)
        _out(json_to, {**_recall_data(recalled), "run_id": run.run_id})
        if json_to != "-":
            work.terminal.table("ranking", ranking_rows(recalled))
            click.echo(
                f"train these {len(recalled.chosen)}: {', '.join(recalled.chosen)} "
                f"({_by(recalled)}); run {run.run_id}"
            )


@commands.command(context_settings=_CONTEXT)
@_TARGET
@_RECALL
@click.option(
    "--policy",
    default="fine_selection",
    show_default=True,
    help="fine_selection, halving or brute_force.",
)
@click.option("--threshold", default=0.0, show_default=True, help="Share a rival must end higher.")
@click.option("--register-as", help="Name of the winner in the registry; by default the dataset's.")
@click.option("--alias", default="winner", show_default=True, help="Alias of the winner's version.")
@click.option(
    "--final",
    default="auto",
    show_default=True,
    help="full retrains the winner on all samples, same does not; auto where there are more.",
)
@_RECIPE
@_STORE
@_ENGINE
@_JSON
def select(
    policy: str, threshold: float, register_as: str, alias: str, final: str, tracking_uri: str,
    namespace: str, json_to: str, engine: str, workers: int, threads: int, **options: Any,
) -> None:  # fmt: skip
    """Recall the best models for a dataset, fine-tune them in stages, register the winner."""
    from mlflow_recall.config import SelectConfig
    from mlflow_recall.workflows.select import candidate_rows
    from mlflow_recall.workflows.select import select as run

    config = SelectConfig(
        _recall_config(options), policy, threshold, register_as or "", alias, final,
        _recipe(options),
    )  # fmt: skip
    with _bench_for(options["dataset"], tracking_uri, namespace, engine, workers, threads) as work:
        selected = run(config, work.bench, work.registry)
        _out(json_to, _select_data(selected))
        if json_to != "-":
            work.terminal.table("candidates", candidate_rows(selected))
            click.echo(_outcome(selected, work))


@commands.group(context_settings=_CONTEXT)
def history() -> None:
    """Move a zoo's benchmark history between MLflow and plain text files."""


@history.command("export", context_settings=_CONTEXT)
@click.option("--to", required=True, help="Folder for runs.jsonl and models.jsonl.")
@_STORE
@_JSON
def history_export(to: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Write all finished benchmark runs and registered models of a namespace."""
    with _bench(tracking_uri, namespace) as work:
        moved = work.portable.export(Path(to), work.terminal)
        _out(json_to, vars(moved))
        if json_to != "-":
            click.echo(f"{moved.runs} runs and {moved.models} models are in {to}")


@history.command("import", context_settings=_CONTEXT)
@click.option("--from", "folder", required=True, help="Folder that `history export` wrote.")
@_STORE
@_JSON
def history_import(folder: str, tracking_uri: str, namespace: str, json_to: str) -> None:
    """Replay an export into MLflow; what is there already is skipped."""
    with _bench(tracking_uri, namespace) as work:
        moved = work.portable.take_in(Path(folder), work.terminal)
        _out(json_to, vars(moved))
        if json_to != "-":
            click.echo(
                f"{moved.runs} runs are new, {moved.known} were there, {moved.models} models"
            )


# --- composition ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Work:
    """The concrete side of a command."""

    bench: Bench
    registry: MlflowRegistry
    terminal: Terminal

    @property
    def portable(self) -> Any:
        from mlflow_recall.adapters.portable import Portable

        return Portable(self.bench.client, self.bench.namespace, self.registry)


@contextmanager
def _bench(
    tracking_uri: str, namespace: str, engine: str = "local", workers: int = 0, threads: int = 0
) -> Iterator[_Work]:
    """Reach the store, close what the dead left open, and hand out the ports."""
    from mlflow.exceptions import MlflowException

    from mlflow_recall.adapters import ownership, tags, tracking, zoo
    from mlflow_recall.adapters.datasets import prepare
    from mlflow_recall.adapters.registry import DEFAULT, MlflowRegistry
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.engines import engine as engine_named
    from mlflow_recall.errors import TrackingError
    from mlflow_recall.workflows.bench import Bench

    _quiet()
    terminal = Terminal()
    namespace = (namespace or DEFAULT).strip("/")
    run_id = os.environ.pop("MLFLOW_RUN_ID", "")
    client = tracking.connect(tracking_uri or None)
    running = engine_named(engine, workers, threads)
    try:
        for line in ownership.sweep(client):
            terminal.say(line)
        registry = MlflowRegistry(client, namespace)
        bench = Bench(
            client=client,
            namespace=namespace,
            history=tracking.TrackingHistory(client, namespace),
            registry=registry,
            engine=running,
            train=zoo.train,
            probe=zoo.probe,
            prepare=prepare,
            voice=terminal,
            run_id=run_id,
        )
        yield _Work(bench, registry, terminal)
    except RecallError as error:
        if run_id:  # `mlflow run` marks its run FAILED, but cannot know why
            client.set_tag(run_id, tags.REASON, " ".join(str(error).split()))
        raise
    except MlflowException as error:
        where = tracking.shown(client.tracking_uri)
        raise TrackingError(f"{where}: {' '.join(str(error).split())}") from error
    finally:
        running.close()


@contextmanager
def _bench_for(
    dataset: str, tracking_uri: str, namespace: str, engine: str, workers: int, threads: int
) -> Iterator[_Work]:
    """As ``_bench``; for the example with its zoo and history at hand, in a place of their own."""
    wanted = EXAMPLE_NAMESPACE if dataset == EXAMPLE and not namespace else namespace
    with _bench(tracking_uri, wanted, engine, workers, threads) as work:
        if work.bench.namespace == EXAMPLE_NAMESPACE:
            _bring_example(work)
        yield work


def _bring_example(work: _Work) -> None:
    """Import the example's history, if it is not there yet, and cluster it."""
    import mlflow_recall_example
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.workflows.cluster import cluster_zoo

    moved = work.portable.take_in(mlflow_recall_example.FOLDER / "history", work.terminal)
    if moved.runs:
        # the target's own records are there to judge a selection, not to inform it
        cluster_zoo(ClusterConfig(drop=(EXAMPLE_TARGET,)), replace(work.bench, run_id=""))


def _quiet() -> None:
    """Third parties' news would drown ours."""
    import optuna

    for name in ("mlflow", "alembic", "huggingface_hub", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _spec(options: Mapping[str, Any]) -> DatasetSpec:
    from mlflow_recall.adapters.datasets import DatasetSpec

    if options["dataset"] == EXAMPLE:
        import mlflow_recall_example

        path = mlflow_recall_example.FOLDER / "targets" / f"{EXAMPLE_TARGET}.csv"
        return DatasetSpec(str(path), options["name"] or EXAMPLE_TARGET, text="text", label="label")
    return DatasetSpec(
        path=options["dataset"],
        name=options["name"] or "",
        config=options["config"] or "",
        text=options["text"] or "",
        image=options["image"] or "",
        label=options["label"] or "",
        split=options["split"],
        seed=options["split_seed"],
    )


def _recall_config(options: Mapping[str, Any]) -> RecallConfig:
    from mlflow_recall.config import RecallConfig

    return RecallConfig(
        dataset=_spec(options),
        metric=options["metric"],
        recommender=options["recommender"],
        score=options["score"],
        top_k=options["top_k"] or 0,
        tolerance=options["tolerance"],
        probe_samples=options["probe_samples"],
        models=_split(options["models"]),
    )


def _recipe(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: options.get(name) for name in _RECIPE_FIELDS}
    return {name: value for name, value in given.items() if value is not None}


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (names or "").split(",") if name.strip())


# --- what is printed -----------------------------------------------------------------------------


def _out(json_to: str | None, data: Mapping[str, Any]) -> None:
    """One JSON object, NaN as null."""
    if not json_to:
        return
    text = json.dumps(_finite(data), indent=2)
    if json_to == "-":
        click.echo(text)
    else:
        Path(json_to).write_text(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show_clusters(found: Sequence[Clustered], json_to: str, terminal: Terminal) -> None:
    from mlflow_recall.workflows.cluster import cluster_rows

    data = [
        {
            "modality": each.modality,
            "clusters": [
                {"id": c.id, "representative": c.representative, "members": list(c.members)}
                for c in each.clustering.clusters
            ],
            "silhouette": each.clustering.silhouette,
            "silhouette_paper": each.clustering.silhouette_paper,
            "run_id": each.run_id,
        }
        for each in found
    ]
    if len(data) > 1:  # each by itself, and all clusters together
        together = [c for entry in data for c in entry["clusters"]]  # type: ignore[attr-defined]
        _out(json_to, {"clusters": together, "by_modality": data})
    else:
        _out(json_to, data[0])
    if json_to == "-":
        return
    for each in found:
        terminal.table(f"clusters {each.modality}".strip(), cluster_rows(each.clustering))
        clusters = each.clustering.clusters
        click.echo(
            f"{len(each.clustering.models)} models on {len(each.matrix.datasets)} datasets: "
            f"{sum(not c.singleton for c in clusters)} clusters and "
            f"{sum(c.singleton for c in clusters)} singletons, silhouette "
            f"{each.clustering.silhouette:.3f}" + (f"; run {each.run_id}" if each.run_id else "")
        )


def _recall_data(recalled: Recalled) -> dict[str, Any]:
    from mlflow_recall.workflows.recall import ranking_data

    rows = []
    for row in ranking_data(recalled):
        gap = {"mean": row.pop("gap"), "low": row.pop("low"), "high": row.pop("high")}
        rows.append({**row, "gap": gap})
    return {
        "ranking": rows,
        "set": {
            "models": list(recalled.chosen),
            "p_holds_best_within_tolerance": recalled.gaps.p_holds_best(recalled.chosen),
        },
        "probes": list(recalled.proxies),
        "score": recalled.score,
        "scores": dict(recalled.proxies),
        "recommender": recalled.recommender,
        "left_out": dict(recalled.left_out),
        "notes": list(recalled.notes),
        "cost": {"epochs": recalled.epochs, "seconds": recalled.seconds},
    }


def _select_data(selected: Selected) -> dict[str, Any]:
    return {
        "winner": selected.winner.name,
        "registered": dict(selected.registered),
        "run_id": selected.run_id,
        "epochs": selected.epochs,
        "seconds": selected.seconds,
        "test": dict(selected.test),
        "candidates": [
            {
                "model": c.name,
                "status": c.status,
                "stage": c.stage,
                "reason": c.reason,
                "rival": c.rival,
                "run_id": c.run.run_id,
            }
            for c in selected.candidates
        ],
        "cost": dict(selected.cost),
        "final": dict(selected.final),
        "recall": _recall_data(selected.recalled),
    }


def _by(recalled: Recalled) -> str:
    return recalled.recommender + (f" with {recalled.score}" if recalled.score else "")


def _outcome(selected: Selected, work: _Work) -> str:
    """The last line: who won, what it cost, where to look."""
    from mlflow_recall.adapters.figures import run_link
    from mlflow_recall.adapters.tracking import shown

    uri = shown(work.bench.client.tracking_uri)
    served = uri.startswith("http")
    link = run_link(
        uri.rstrip("/") if served else "http://127.0.0.1:5000",
        selected.experiment_id,
        selected.run_id,
    )
    where = link if served else f"{link} after `mlflow ui --backend-store-uri {uri}`"
    name = "{name} version {version} @{alias}".format(**selected.registered)
    return (
        f"winner: {selected.winner.name}, test {selected.metric} "
        f"{selected.test[selected.metric]:.3f}, registered as {name}; {selected.epochs} epochs "
        f"where brute force takes {selected.cost['brute_force']} and halving "
        f"{selected.cost['halving']}; {where}"
    )
