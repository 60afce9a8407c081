"""Where the files of a source of a zoo file are on this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflow.exceptions import MlflowException

from mlflow_recall.errors import ZooError


def locate(source: str) -> Path | None:
    """Return the folder with the configuration of a source; None where nobody can tell.

    No weights are downloaded. Of a hub model that is not on this machine, the hub is asked whether
    it has weights, and its small files are downloaded.

    Args:
        source: Folder, ``hf:/org/name[@revision]`` or ``timm:/name[@revision]``; sources of other
            schemes are not looked at.

    Raises:
        ZooError: The weights of a hub model cannot be had.
    """
    scheme, separator, rest = source.partition(":/")
    if not separator:
        return Path(source)
    name, _, revision = rest.partition("@")
    repository = {"hf": name, "timm": f"timm/{name}"}.get(scheme)
    if repository is None:
        return None
    hub: Any = import_module("mlflow_recall_plugins.huggingface")
    try:
        return Path(hub.configuration(repository, unquote(revision), source))
    except MlflowException as error:
        raise ZooError(" ".join(str(error).split())) from error
