"""The connection to an MLflow tracking server, and searches that return all pages."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, RunStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mlflow_recall.adapters.tracking import tags
from mlflow_recall.adapters.tracking.locations import check_host
from mlflow_recall.bounded_json import parse_json
from mlflow_recall.errors import HistoryError, TrackingError
from mlflow_recall.safe_text import redact

_CONNECT_TIMEOUT = 4.0  # seconds
_PAGE = 1000  # results of one request
#: variable that says how often MLflow's client sends a request again
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
#: codes of errors after which a request may have had its effect, or may have it the next time
TRANSIENT = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
#: filter of runs that are complete
FINISHED = "attributes.status = 'FINISHED'"


def connect(uri: str | None = None) -> MlflowClient:
    """Return a client of a tracking server.

    Args:
        uri: Address of the server or store; None: the one that MLflow is configured for.

    Raises:
        TrackingError: The server does not answer, or cannot be used.
    """
    uri = uri or mlflow.get_tracking_uri()
    _check_address(uri)
    try:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrackingError(
            redact(f"{uri}: cannot be used as a tracking store: {reason}")
        ) from error
    return client


def _check_address(uri: str) -> None:
    """Check that a server answers, or that the folder of a store exists.

    Raises:
        TrackingError: It does not, or the address cannot be read.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # its text may quote a part of a password
        raise TrackingError(
            redact(f"{uri}: expected the address of a tracking server or store, got none: ")
            + "write / and @ of a password as %2F and %40"
        ) from None
    if parts.scheme in ("http", "https"):
        try:
            socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT).close()
        except (OSError, ValueError) as error:  # the name of a host may be none
            raise TrackingError(
                redact(f"{uri}: expected a tracking server, got no answer ({error}): ")
                + "start it, or set MLFLOW_TRACKING_URI to one that runs"
            ) from error
        return
    file = Path(unquote(parts.path.removeprefix("/")) if parts.scheme == "sqlite" else parts.path)
    if parts.scheme in ("sqlite", "file", "") and parts.path and not file.parent.is_dir():
        raise TrackingError(
            f"{uri}: expected a store in an existing folder, got none at {file.parent}: create it, "
            "or correct the address"
        )


def ensure_experiment(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is created if there is none of that name.

    Raises:
        TrackingError: The experiment was deleted, or keeps its artifacts on a foreign host.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage != "active":
            raise TrackingError(
                f"experiment {name!r} is deleted: restore it with "
                f"`mlflow experiments restore -x {experiment.experiment_id}`, or use --namespace"
            )
        check_host(client, str(experiment.artifact_location))
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another process was faster
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


@contextmanager
def without_retries() -> Iterator[None]:
    """Let MLflow's client send each request of a block once."""
    before = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_RETRIES]
        else:
            os.environ[_RETRIES] = before


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


def without_copies(runs: Iterable[Run]) -> list[Run]:
    """Return runs without those that trained a cell to its end which another one finished too.

    Two workers may both finish a cell where one was thought dead, and one that was killed may have
    logged its last stage. Of those that are FINISHED the lowest run id counts, for every reader;
    the other runs are copies, and no repeats, since a cell has one seed.
    """
    runs = list(runs)
    kept: dict[str, tuple[bool, str]] = {}
    for run in runs:
        cell = run.data.tags.get(tags.CELL)
        if cell and _is_whole(run):
            kept[cell] = min(kept.get(cell, _precedence(run)), _precedence(run))
    return [
        run
        for run in runs
        if not _is_whole(run)
        or kept.get(run.data.tags.get(tags.CELL, ""), _precedence(run)) == _precedence(run)
    ]


def _is_whole(run: Run) -> bool:
    """Return whether a run has the last stage of its recipe."""
    stage = run.data.tags.get(tags.STAGE)
    return is_finished(run) or (stage is not None and stage == run.data.tags.get(tags.EPOCHS))


def _precedence(run: Run) -> tuple[bool, str]:
    return not is_finished(run), str(run.info.run_id)


def is_finished(run: Run) -> bool:
    """Return whether a benchmark run finished its cell."""
    return bool(run.info.status == RunStatus.to_string(RunStatus.FINISHED))


def is_running(run: Run) -> bool:
    """Return whether a run is in progress."""
    return bool(run.info.status == RunStatus.to_string(RunStatus.RUNNING))


def match(key: str, value: str) -> str:
    """Return a filter in MLflow's syntax for the entities that have a value.

    MLflow has no escapes, so a value with both kinds of quotes, or with a backslash, matches all
    that begin like it: compare what is found.
    """
    quotes = [] if "\\" in value else [quote for quote in "'\"" if quote not in value]
    if quotes:
        return f"{key} = {quotes[0]}{value}{quotes[0]}"
    prefix = re.split(r"['\"\\]", value)[0]
    return f"{key} LIKE '{prefix}%'"


def search_adopted_runs(
    client: MlflowClient, experiments: Sequence[str], namespace: str, condition: str = ""
) -> Iterator[Run]:
    """Yield the runs that a namespace adopted or imported from tables.

    Args:
        client: Client of the tracking server.
        experiments: Ids of the experiments to search.
        namespace: Namespace whose history the runs are part of.
        condition: Further filter in MLflow's syntax; empty: none.
    """
    query = " AND ".join(filter(None, [match(f"tags.`{tags.ADOPTED}`", namespace), condition]))
    for run in search_runs(client, experiments, query):
        if run.data.tags.get(tags.ADOPTED) == namespace:
            yield run


def search_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return all versions of a registered model, whatever characters its name has."""
    versions: list[ModelVersion] = []
    token: str | None = None
    while token != "":
        page = client.search_model_versions(match("name", name), page_token=token)
        versions += [version for version in page if version.name == name]
        token = page.token or ""
    return versions


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
        return [str(number) for number in parse_json(text)["experiments"]] if text else []
    except (ValueError, TypeError, LookupError):
        raise HistoryError(
            f"experiment {experiment.name!r}: tag {tags.ADOPTED_FROM}: expected JSON with a list "
            f"of experiments, got {text!r:.60}: delete the tag and run `mlflow-recall adopt` again"
        ) from None
