"""Where concrete adapters are named and handed to a workflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mlflow_recall.cli.requests import is_example, shipped
from mlflow_recall.errors import RecallError

if TYPE_CHECKING:
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.adapters.tracking.registry import MlflowRegistry
    from mlflow_recall.workflows.services import Services

EXAMPLE_NAMESPACE = "recall/example"


@dataclass(frozen=True)
class Work:
    """The concrete side of a command."""

    bench: Services
    registry: MlflowRegistry
    terminal: Terminal

    @property
    def portable(self) -> Any:
        """Import and export of the namespace."""
        from mlflow_recall.adapters.export.transfer import HistoryTransfer

        return HistoryTransfer(self.bench.client, self.bench.namespace, self.registry)


@contextmanager
def bench(
    tracking_uri: str, namespace: str, engine: str = "local", workers: int = 0, threads: int = 0
) -> Iterator[Work]:
    """Reach the store, close what the dead left open, and hand out the ports."""
    from mlflow.exceptions import MlflowException

    from mlflow_recall.adapters import zoo
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.adapters.tracking import ownership, tags
    from mlflow_recall.adapters.tracking.client import connect, redact_password
    from mlflow_recall.adapters.tracking.registry import DEFAULT_NAMESPACE, MlflowRegistry
    from mlflow_recall.adapters.tracking.run_history import TrackingHistory
    from mlflow_recall.engines import get_engine as engine_named
    from mlflow_recall.errors import TrackingError
    from mlflow_recall.workflows.services import Services

    _quiet()
    terminal = Terminal()
    namespace = (namespace or DEFAULT_NAMESPACE).strip("/")
    run_id = os.environ.pop("MLFLOW_RUN_ID", "")
    client = connect(tracking_uri or None)
    running = engine_named(engine, workers, threads)
    try:
        for line in ownership.close_stale_runs(client):
            terminal.info(line)
        registry = MlflowRegistry(client, namespace)
        bench = Services(
            client=client,
            namespace=namespace,
            history=TrackingHistory(client, namespace),
            registry=registry,
            engine=running,
            train=zoo.train,
            probe=zoo.probe,
            prepare=prepare,
            reporter=terminal,
            run_id=run_id,
        )
        yield Work(bench, registry, terminal)
    except RecallError as error:
        if run_id:  # `mlflow run` marks its run FAILED, but cannot know why
            client.set_tag(run_id, tags.REASON, " ".join(str(error).split()))
        raise
    except MlflowException as error:
        where = redact_password(client.tracking_uri)
        raise TrackingError(f"{where}: {' '.join(str(error).split())}") from error
    finally:
        running.close()


@contextmanager
def bench_for(
    dataset: str, tracking_uri: str, namespace: str, engine: str, workers: int, threads: int
) -> Iterator[Work]:
    """As ``bench``; for the example with its zoo and history at hand, in a place of their own."""
    wanted = EXAMPLE_NAMESPACE if is_example(dataset) and not namespace else namespace
    with bench(tracking_uri, wanted, engine, workers, threads) as work:
        if work.bench.namespace == EXAMPLE_NAMESPACE:
            _bring_example(work, _modality(dataset) if is_example(dataset) else "")
        yield work


def _modality(dataset: str) -> str:
    """Of a target of the example, whose column is named."""
    return "image" if shipped(dataset).image else "text"


def _bring_example(work: Work, modality: str) -> None:
    """Import the example's history of a modality, if it is not there yet, and cluster it."""
    import mlflow_recall_example
    from mlflow_recall.config import ClusterConfig
    from mlflow_recall.workflows.cluster import cluster_zoo

    moved = work.portable.take_in(mlflow_recall_example.FOLDER / "history", work.terminal, modality)
    if moved.runs:
        # the targets' own records are there to judge a selection, not to inform it
        there = {record.dataset for record in work.bench.history.records("accuracy")}
        drop = tuple(name for name in mlflow_recall_example.TARGETS if name in there)
        config = ClusterConfig(modality=modality, drop_datasets=drop)
        cluster_zoo(config, replace(work.bench, run_id=""))


def _quiet() -> None:
    """Third parties' news would drown ours."""
    import optuna

    for name in ("mlflow", "alembic", "huggingface_hub", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
