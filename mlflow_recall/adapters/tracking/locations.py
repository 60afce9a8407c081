"""Where the files of a version or run are, and which of these places may be read.

Anyone who may write to the registry names the source of a version. MLflow sends the credentials of
the tracking server to whatever host a source names, and reads any path, so every source is resolved
and checked here before anything is requested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import url2pathname

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from mlflow_recall.errors import TrackingError

#: sources that the plugins of this package read, which know no credentials of the tracking server
EXTERNAL = ("hf", "timm", "example")
#: stores whose endpoint only the user's own settings name
_FIXED_ENDPOINTS = ("s3", "gs")
#: sources that MLflow reads with the credentials of the tracking server
_WITH_CREDENTIALS = ("http", "https", "mlflow-artifacts")
_LOCAL = ("", "file")
#: longest chain of sources that name other versions
_MAX_LINKS = 5
#: host and port; a backslash or a user would be another host for another parser
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-fA-F:.]+\](:\d+)?", re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


def resolve_source(client: MlflowClient, version: ModelVersion) -> str:
    """Return where the files of a version are, if that place may be read.

    Allowed are the sources of this package's plugins, S3 and GCS, the tracking server itself, and
    what lies under an artifact root of the server.

    Raises:
        TrackingError: The source is elsewhere, or cannot be resolved. Nothing was requested of it.
    """
    location = client.get_model_version_download_uri(version.name, str(version.version))
    return resolve_location(client, str(location))


def resolve_location(client: MlflowClient, location: str) -> str:
    """Return where the files behind a source are; see ``resolve_source``.

    Raises:
        TrackingError: The source is elsewhere, or cannot be resolved.
    """
    for _ in range(_MAX_LINKS):
        scheme, _, path = location.partition(":/")
        if scheme == "models":
            location = _model_location(client, path)
        elif scheme == "runs":
            location = _run_location(client, path)
        else:
            _check_readable(client, location)
            return location
    raise TrackingError(f"{location}: expected the place of files, got another version once more")


def check_host(client: MlflowClient, location: str) -> None:
    """Check that credentials of the tracking server stay with it.

    Args:
        client: Client of the tracking server.
        location: Place that MLflow is about to read or write.

    Raises:
        TrackingError: MLflow would send them to a host that is not the server's own.
    """
    parts = _split(location)
    if parts.scheme not in _WITH_CREDENTIALS:
        return
    if parts.scheme == "mlflow-artifacts" and not parts.netloc:
        return  # relative to the tracking server
    if _HOST.fullmatch(parts.netloc) and any(
        _is_same_host(parts, own) for own in _own_hosts(client)
    ):
        return
    host = parts.netloc.rpartition("@")[2] or "none"
    raise TrackingError(
        f"{location}: expected an artifact store of the tracking server, got the host {host!r}: "
        "nothing was sent to it; log the files to the server"
    )


def _check_readable(client: MlflowClient, location: str) -> None:
    """Check that files may be read from a place.

    Raises:
        TrackingError: They may not.
    """
    check_host(client, location)
    parts = _split(location)
    if parts.scheme in (*EXTERNAL, *_FIXED_ENDPOINTS, *_WITH_CREDENTIALS):
        return
    if any(_is_inside(location, root) for root in _artifact_roots(client)):
        return
    raise TrackingError(
        f"{location}: expected files under an artifact root of the tracking server, or a source "
        "such as hf:/org/name, got another place: log the files to a run, and register that"
    )


def _split(location: str) -> SplitResult:
    """Return the parts of a place.

    Raises:
        TrackingError: It is no place, or parsers differ about it.
    """
    try:
        parts = urlsplit(location)
        is_address = parts.port is None or parts.port > 0  # a port that is no number raises
    except ValueError:
        is_address = False
    is_address = is_address and ".." not in re.split(r"[/\\]", unquote(location))
    if not is_address or (parts.scheme not in _LOCAL and _UNSAFE.search(location)):
        raise TrackingError(
            f"{location!r}: expected the address of files, got none: register the version again"
        )
    return parts


def _is_same_host(parts: SplitResult, own: SplitResult) -> bool:
    """Return whether a place has scheme, host and port of one of the server's own places."""
    scheme = own.scheme if parts.scheme == "mlflow-artifacts" else parts.scheme
    default = {"http": 80, "https": 443}.get(scheme)
    return (scheme, parts.hostname, parts.port or default) == (
        own.scheme,
        own.hostname,
        own.port or default,
    )


def _own_hosts(client: MlflowClient) -> Iterator[SplitResult]:
    """Yield the tracking server, and the host of its default artifact root."""
    server = urlsplit(client.tracking_uri)
    yield server
    root = urlsplit(_default_root(client))
    if root.netloc and root.scheme in _WITH_CREDENTIALS:
        yield root._replace(scheme=server.scheme) if root.scheme == "mlflow-artifacts" else root


def _artifact_roots(client: MlflowClient) -> Iterator[str]:
    """Yield the places below which the server keeps artifacts.

    Anyone who may create an experiment of a server names its place, so only the server's own root
    counts there. A store on this machine has one root for each folder that it was used in.
    """
    if root := _default_root(client):
        yield root
    if urlsplit(client.tracking_uri).scheme not in ("http", "https"):
        token: str | None = None
        while token != "":
            page = client.search_experiments(max_results=1000, page_token=token)
            yield from (str(experiment.artifact_location) for experiment in page)
            token = page.token or ""


def _default_root(client: MlflowClient) -> str:
    """Return the place around the artifacts of the server's first experiment; empty without it."""
    try:
        location = str(client.get_experiment("0").artifact_location)
    except MlflowException:
        return ""
    return location.rstrip("/").rpartition("/")[0]


def _is_inside(location: str, root: str) -> bool:
    """Return whether a place is below a root, after resolving links of local paths."""
    place, around = _split(location), _split(root)
    if place.scheme in _LOCAL and around.scheme in _LOCAL:
        return place.netloc in ("", "localhost") and _local_path(location).is_relative_to(
            _local_path(root)
        )
    return location.startswith(f"{root.rstrip('/')}/")


def _local_path(location: str) -> Path:
    is_uri = location.startswith("file:")
    return Path(url2pathname(urlsplit(location).path) if is_uri else location).resolve()


def _model_location(client: MlflowClient, path: str) -> str:
    """Return the source behind ``models:/<path>``: a logged model, a version or an alias."""
    name, _, version = path.strip("/").partition("/")
    if not version and "@" in name:
        name, _, alias = name.partition("@")
        version = str(client.get_model_version_by_alias(name, alias).version)
    if version:
        return str(client.get_model_version_download_uri(name, version))
    return str(client.get_logged_model(name).artifact_location)


def _run_location(client: MlflowClient, path: str) -> str:
    """Return the source behind ``runs:/<path>``: a model that the run logged, or its artifacts."""
    run_id, _, artifact = path.strip("/").partition("/")
    run = client.get_run(run_id)
    for output in run.outputs.model_outputs if run.outputs else ():
        model = client.get_logged_model(output.model_id)
        if model.name == artifact:
            return str(model.artifact_location)
    return f"{str(run.info.artifact_uri).rstrip('/')}/{artifact}".rstrip("/")
