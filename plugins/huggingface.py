"""``hf:/org/name[@revision]``: a repository of the Hugging Face hub, or of a mirror of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .external import (
    ExternalArtifactRepository,
    check_links,
    invalid,
    is_plain,
    missing,
)

if TYPE_CHECKING:
    from mlflow.exceptions import MlflowException

#: variable that names a folder with ``org/name[@revision]/``, for machines without a hub
MIRROR = "MLFLOW_RECALL_HUB"
#: files to download: safetensors, tokenizers and processors, never a pickle
WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "*.spm", "*.tiktoken")
_DEFAULT = "main"  # the branch of every hub repository


class HuggingFaceArtifactRepository(ExternalArtifactRepository):
    """Repositories of the hub; see ``external.ExternalArtifactRepository``."""

    form = "hf:/org/name"

    def _resolve(self, name: str, revision: str, uri: str) -> Path:
        return snapshot(name, revision, uri)

    def _roots(self, folder: Path) -> tuple[Path, ...]:
        return mirror_roots(folder)


def snapshot(repository: str, revision: str, uri: str) -> Path:
    """Return the local folder of a hub repository, downloaded if no mirror or cache has it.

    Args:
        repository: ``org/name``.
        revision: Branch, tag or commit; empty: the default branch.
        uri: Source as it is registered, for error messages.

    Raises:
        MlflowException: The repository cannot be reached or found, or has no safetensors.
    """
    _check_names(repository, revision, uri)
    folder = _mirrored(repository, revision) or _downloaded(repository, revision, uri)
    if not _has_weights(folder):
        raise _without_weights(repository, uri)
    return folder


def mirror_roots(folder: Path) -> tuple[Path, ...]:
    """Return the mirror where a folder is in it, since its repositories may share files."""
    mirror = os.environ.get(MIRROR)
    root = Path(mirror).expanduser() if mirror else None
    return (root,) if root and folder.is_relative_to(root) else ()


def configuration(repository: str, revision: str, uri: str) -> Path:
    """Return the local folder of a hub repository, with its weights only if they are there already.

    Args:
        repository: ``org/name``.
        revision: Branch, tag or commit; empty: the default branch.
        uri: Source as it is registered, for error messages.

    Raises:
        MlflowException: The repository cannot be reached or found, or has no safetensors.
    """
    from huggingface_hub import HfApi, constants, snapshot_download

    _check_names(repository, revision, uri)
    folder = _mirrored(repository, revision) or _cached(repository, revision)
    if folder is not None:
        check_links(folder, uri, *mirror_roots(folder))
    if folder is not None or constants.HF_HUB_OFFLINE:
        return folder if folder and _has_weights(folder) else snapshot(repository, revision, uri)
    try:
        files = HfApi().model_info(repository, revision=revision or None).siblings or ()
        if any(file.rfilename.endswith(".safetensors") for file in files):
            small = [pattern for pattern in WANTED if pattern != "*.safetensors"]
            return Path(
                snapshot_download(repository, revision=revision or None, allow_patterns=small)
            )
    except Exception as error:  # of the hub, of its HTTP client, or of the disk
        raise _unreachable(error, repository, revision, uri) from error
    raise _without_weights(repository, uri)


def _check_names(repository: str, revision: str, uri: str) -> None:
    """Check that neither a repository nor its unquoted revision is a path to elsewhere.

    Raises:
        MlflowException: One of them is.
    """
    if not is_plain(repository.split("/")) or repository.count("/") != 1:
        raise invalid(f"{uri}: expected org/name, got {repository!r}: correct the name")
    if revision and not is_plain(revision.split("/")):
        raise invalid(
            f"{uri}: expected a branch, tag or commit after the @, got {revision!r}: "
            "give one that the repository has"
        )


def _has_weights(folder: Path) -> bool:
    return any(folder.rglob("*.safetensors"))


def _cached(repository: str, revision: str) -> Path | None:
    """Return the folder of a repository in the hub's cache; None if its weights are not there."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, local_files_only=True)
        )
    except Exception:  # of many kinds, for names and for what is missing
        return None
    return folder if _has_weights(folder) else None


def _without_weights(repository: str, uri: str) -> MlflowException:
    return missing(
        f"{uri}: expected weights as *.safetensors in {repository}, got none: convert them "
        "where you trust their source, with save_pretrained(folder) of a recent transformers, "
        "and register that folder"
    )


def _unreachable(error: Exception, repository: str, revision: str, uri: str) -> MlflowException:
    got, remedy = _describe(error, repository, revision)
    return missing(f"{uri}: expected {repository} on the Hugging Face hub, got {got}: {remedy}")


def _mirrored(repository: str, revision: str) -> Path | None:
    """Return the mirror's folder; one without a revision is the default branch."""
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
    except Exception as error:  # of the hub, of its HTTP client, or of the disk
        raise _unreachable(error, repository, revision, uri) from error


def _describe(error: Exception, repository: str, revision: str) -> tuple[str, str]:
    """Return what went wrong, and what to do."""
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
