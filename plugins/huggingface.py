"""``hf:/org/name[@revision]``: a repository of the Hugging Face hub, or of a mirror of it."""

from __future__ import annotations

import os
from pathlib import Path

from .external import ExternalArtifactRepository, missing

#: a folder with ``org/name[@revision]/``, for machines that reach no hub
MIRROR = "MLFLOW_RECALL_HUB"
#: safetensors and the files of tokenizers and processors: never a pickle
WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.spm", "*.tiktoken")
_DEFAULT = "main"  # the branch of every hub repository


class HuggingFaceArtifactRepository(ExternalArtifactRepository):
    """See ``external.ExternalArtifactRepository``."""

    form = "hf:/org/name"

    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        return snapshot(name, revision, uri)


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
    """The mirror's folder; one without a revision is the default branch."""
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return None
    names = [f"{repository}@{revision or _DEFAULT}"]
    if revision in ("", _DEFAULT):
        names.append(repository)
    folders = (Path(mirror).expanduser() / name for name in names)
    return next((folder for folder in folders if folder.is_dir()), None)


def _downloaded(repository: str, revision: str, uri: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=[*WANTED])
        )
    except Exception as error:  # of the hub, of its HTTP client, of the disk
        got, remedy = _told(error, repository, revision)
        raise missing(
            f"{uri}: expected {repository} on the Hugging Face hub, got {got}: {remedy}"
        ) from error


def _told(error: Exception, repository: str, revision: str) -> tuple[str, str]:
    """What went wrong, and what mends it."""
    from huggingface_hub import errors

    line = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    if isinstance(error, errors.HFValidationError):
        return line, "give the name as the hub writes it"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"no revision {revision!r}", "name a branch, tag or commit that it has"
    if isinstance(error, errors.GatedRepoError):
        return line, "accept its terms there, then run `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return line, "check the name; if it is private, run `hf auth login`"
    mirrored = f"{repository}@{revision}" if revision else repository
    return f"nothing cached, and no download ({line})", (
        f"go online (is HF_HUB_OFFLINE set?), or put its files into a folder {mirrored} "
        f"and set {MIRROR} to the folder around that"
    )
