"""The connection to an MLflow tracking server, and searches that return all pages."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.errors import HistoryError, TrackingError

_CONNECT_TIMEOUT = 5.0  # seconds
_PAGE = 1000  # results of one request


def connect(uri: str | None = None) -> MlflowClient:
    """Return a client of a tracking server.

    Args:
        uri: Address of the server or store; None: the one that MLflow is configured for.

    Raises:
        TrackingError: The server does not answer, or cannot be used.
    """
    uri = uri or mlflow.get_tracking_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT).close()
        except OSError as error:
            raise TrackingError(
                f"{redact_password(uri)}: expected a tracking server, got no answer ({error}): "
                "start it, or set MLFLOW_TRACKING_URI to one that runs"
            ) from error
    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:
        reason = redact_password((str(error).strip() or type(error).__name__).splitlines()[0])
        where = redact_password(uri)
        raise TrackingError(f"{where}: cannot be used as a tracking store: {reason}") from error
    return client


def redact_password(uri: str) -> str:
    """Return the address of a store without its password."""
    return re.sub(r"(//[^/:@]*):[^@/]*@", r"\1:***@", uri)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is created if there is none of that name.

    Raises:
        TrackingError: The experiment was deleted.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {name!r} is deleted: restore it with "
                f"`mlflow experiments restore -x {experiment.experiment_id}`, or use --namespace"
            )
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another process was faster
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def search_runs(client: MlflowClient, experiments: Sequence[str], query: str) -> Iterator[Run]:
    """Yield all runs that match a query, page by page.

    Args:
        client: Client of the tracking server.
        experiments: Ids of the experiments to search; without any, nothing is yielded.
        query: Filter in MLflow's syntax; empty: all runs.
    """
    token: str | None = None
    while experiments:
        page = client.search_runs(list(experiments), query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def metric_points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    """Return the steps and values of a metric, by step; the last of several values counts."""
    by_step = {point.step: point.value for point in client.get_metric_history(run_id, key)}
    return sorted(by_step.items())


def adopted_experiments(experiment: Experiment) -> list[str]:
    """Return the ids of the experiments that a namespace adopted runs from.

    Args:
        experiment: Benchmark experiment of the namespace, whose tag lists them.

    Raises:
        HistoryError: The tag is damaged.
    """
    text = experiment.tags.get(tags.ADOPTED_FROM)
    try:
        return [str(number) for number in json.loads(text)["experiments"]] if text else []
    except (ValueError, TypeError, LookupError):
        raise HistoryError(
            f"experiment {experiment.name!r}: tag {tags.ADOPTED_FROM}: expected JSON with a list "
            f"of experiments, got {text!r}: delete the tag and run `mlflow-recall adopt` again"
        ) from None
