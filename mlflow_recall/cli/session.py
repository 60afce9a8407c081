"""One command's session with MLflow: the place where concrete adapters are named."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlflow_recall.cli.example import EXAMPLE_NAMESPACE, import_example, is_example
from mlflow_recall.errors import RecallError
from mlflow_recall.safe_text import safe_line

if TYPE_CHECKING:
    from mlflow_recall.adapters.export.transfer import HistoryTransfer
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.adapters.tracking.registry import MlflowRegistry
    from mlflow_recall.cli.groups import EngineOptions, StoreOptions
    from mlflow_recall.workflows.services import Services


_TRACKING_URI = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    services: Services
    registry: MlflowRegistry
    terminal: Terminal

    @property
    def transfer(self) -> HistoryTransfer:
        """Import and export of the namespace."""
        from mlflow_recall.adapters.export.transfer import HistoryTransfer

        return HistoryTransfer(self.services.client, self.services.namespace, self.registry)


@contextmanager
def open_session(
    store: StoreOptions, engine: EngineOptions | None = None, *, dataset: str | None = None
) -> Iterator[Session]:
    """Connect to the store, close runs of dead processes, and hand out services.

    Args:
        store: Tracking server and namespace.
        engine: Where models are trained; None: nothing is trained.
        dataset: The target. For the example, its zoo and history are imported, into a namespace of
            their own.

    Raises:
        TrackingError: The tracking server cannot be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException

    from mlflow_recall.adapters import zoo
    from mlflow_recall.adapters.data.preparation import prepare
    from mlflow_recall.adapters.terminal import Terminal
    from mlflow_recall.adapters.tracking import ownership, tags
    from mlflow_recall.adapters.tracking.client import connect
    from mlflow_recall.adapters.tracking.registry import DEFAULT_NAMESPACE, MlflowRegistry
    from mlflow_recall.adapters.tracking.run_history import TrackingHistory
    from mlflow_recall.engines import get_engine
    from mlflow_recall.errors import TrackingError
    from mlflow_recall.workflows.services import Services

    _silence_libraries()
    terminal = Terminal()
    default = EXAMPLE_NAMESPACE if is_example(dataset) else DEFAULT_NAMESPACE
    namespace = (store.namespace or default).strip("/")
    run_id = os.environ.pop("MLFLOW_RUN_ID", None)
    client = connect(store.tracking_uri)
    workers = get_engine(engine.engine, engine.workers, engine.threads) if engine else get_engine()
    configured = os.environ.get(_TRACKING_URI)
    if store.tracking_uri:  # MLflow's SQL store finds a logged model by this variable alone
        os.environ[_TRACKING_URI] = store.tracking_uri
    try:
        for line in ownership.close_stale_runs(client):
            terminal.info(line)
        registry = MlflowRegistry(client, namespace)
        services = Services(
            client=client,
            namespace=namespace,
            history=TrackingHistory(client, namespace),
            registry=registry,
            engine=workers,
            train=zoo.train,
            probe=zoo.probe,
            prepare=prepare,
            reporter=terminal,
            run_id=run_id,
        )
        session = Session(services, registry, terminal)
        if namespace == EXAMPLE_NAMESPACE and dataset is not None:
            import_example(services, session.transfer, dataset)
        yield session
    except RecallError as error:
        if run_id:  # `mlflow run` marks its run FAILED, but cannot know why
            client.set_tag(run_id, tags.REASON, safe_line(str(error)))
        raise
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise TrackingError(f"{client.tracking_uri}: {reason}") from error
    finally:
        workers.close()
        if configured is None:
            os.environ.pop(_TRACKING_URI, None)
        else:
            os.environ[_TRACKING_URI] = configured


def _silence_libraries() -> None:
    """Keep messages of other libraries out of the output."""
    import optuna

    for name in ("mlflow", "alembic", "huggingface_hub", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
