"""``hf:/org/name[@revision]``: a repository of the Hugging Face hub, or of a mirror of it."""

from __future__ import annotations

import os
from pathlib import Path

from mlflow_recall_plugins.external import ExternalArtifactRepository, missing

#: a folder with ``org/name[@revision]/``, for machines that reach no hub
MIRROR = "MLFLOW_RECALL_HUB"
#: weights as safetensors and what tokenizers and processors are made of: never a pickle
WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.spm", "*.vocab", "*.tiktoken")


class HuggingFaceArtifactRepository(ExternalArtifactRepository):
    """See ``external.ExternalArtifactRepository``."""

    def _resolve(self, name: str, revision: str) -> Path:
        return snapshot(name, revision, self.artifact_uri)


def snapshot(repository: str, revision: str, uri: str) -> Path:
    """The local folder of a hub repository, downloaded unless a mirror or the hub's cache has it.

    Args:
        repository: ``org/name``.
        revision: branch, tag or commit; empty: the default branch.
        uri: named in errors.

    Raises:
        MlflowException: the repository cannot be reached or found, or has no safetensors.
    """
    folder = _mirrored(repository, revision) or _downloaded(repository, revision, uri)
    if not any(folder.rglob("*.safetensors")):
        raise missing(
            f"{uri}: expected weights as *.safetensors in {repository}, got none: convert them "
            "where you trust their source, with save_pretrained(folder) of a recent transformers, "
            "and register that folder"
        )
    return folder


def _mirrored(repository: str, revision: str) -> Path | None:
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return None
    name = f"{repository}@{revision}" if revision else repository
    folder = Path(mirror).expanduser() / name
    return folder if folder.is_dir() else None


def _downloaded(repository: str, revision: str, uri: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=[*WANTED])
        )
    except HFValidationError as error:
        got, remedy = _line(error), "write hf:/org/name[@revision] or timm:/name[@revision]"
    except GatedRepoError as error:
        got, remedy = _line(error), "accept its terms on the hub, then run `hf auth login`"
    except RevisionNotFoundError:
        got, remedy = f"no revision {revision!r}", "name a branch, tag or commit that it has"
    except RepositoryNotFoundError as error:
        got, remedy = _line(error), "check the name; for a private one run `hf auth login`"
    except (LocalEntryNotFoundError, OSError) as error:
        got = f"no connection to the hub, and nothing cached ({_line(error)})"
        remedy = (
            f"go online (unset HF_HUB_OFFLINE), or put the files into a folder named {repository} "
            f"and set {MIRROR} to the folder around it"
        )
    raise missing(f"{uri}: expected hub repository {repository}, got {got}: {remedy}")


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
