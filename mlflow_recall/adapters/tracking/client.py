"""An MLflow tracking server: reached or not, and its benchmark runs as records."""

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

_PATIENCE = 5.0  # seconds until a server counts as not reached
_PAGE = 1000


def connect(uri: str | None = None) -> MlflowClient:
    """A client of ``uri``, by default the one that MLflow is configured for.

    Raises:
        TrackingError: nobody answers there.
    """
    uri = uri or mlflow.get_tracking_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
        except OSError as error:
            raise TrackingError(
                f"{redact_password(uri)}: expected a tracking server, got no answer ({error}): start "
                "it, or "
                "set MLFLOW_TRACKING_URI to one that runs"
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
    """A store's address as people may see it: without its password."""
    return re.sub(r"(//[^/:@]*):[^@/]*@", r"\1:***@", uri)


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Id of the experiment of that name, made if need be."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {name!r} is deleted: restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`, or use --namespace"
            )
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another process was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def search_runs(client: MlflowClient, experiments: Sequence[str], query: str) -> Iterator[Run]:
    """All runs that match, page by page."""
    token: str | None = None
    while experiments:
        page = client.search_runs(list(experiments), query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def metric_points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float]]:
    """Step and value of a metric in order of steps; of several values of a step the last."""
    by_step = {point.step: point.value for point in client.get_metric_history(run_id, key)}
    return sorted(by_step.items())


def adopted_experiments(found: Experiment) -> list[str]:
    """Ids of the experiments that a namespace adopted runs from, as its own experiment tells.

    Raises:
        HistoryError: the tag was damaged.
    """
    told = found.tags.get(tags.ADOPTED_FROM)
    try:
        return [str(each) for each in json.loads(told)["experiments"]] if told else []
    except (ValueError, TypeError, LookupError):
        raise HistoryError(
            f"experiment {found.name!r}: tag {tags.ADOPTED_FROM}: expected JSON with a list of "
            f"experiments, got {told!r}: delete the tag and run `mlflow-recall adopt` again"
        ) from None
