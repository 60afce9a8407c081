"""A read-only artifact repository over a local folder that a subclass finds or fetches."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mlflow.store.artifact.artifact_repo import ArtifactRepository

if TYPE_CHECKING:
    from mlflow.entities import FileInfo
    from mlflow.exceptions import MlflowException


class ExternalArtifactRepository(ArtifactRepository):
    """Files of a model version whose source is elsewhere: ``scheme:/name`` or ``scheme:/name@rev``.

    The scheme has one slash: MLflow's server refuses sources without a path, which
    ``scheme://name`` is.
    """

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """The files themselves, or a copy of them below ``dst_path``.

        Args:
            artifact_path: below the root; empty for everything.
            dst_path: an existing folder to copy to; None: nothing is copied.

        Returns:
            Absolute path of a file or folder.

        Raises:
            MlflowException: the source cannot be resolved, or there is no such artifact.
        """
        if dst_path:
            copied: str = super().download_artifacts(artifact_path, dst_path)
            return copied
        return str(self._inside(artifact_path))

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Files and folders directly below ``path``; nothing below a file.

        Raises:
            MlflowException: the source cannot be resolved, or there is no such artifact.
        """
        from mlflow.entities import FileInfo

        folder = self._inside(path)
        if folder.is_file():
            return []
        return [
            FileInfo(
                entry.relative_to(self._root).as_posix(),
                entry.is_dir(),
                None if entry.is_dir() else entry.stat().st_size,
            )
            for entry in sorted(folder.iterdir())
        ]

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> NoReturn:
        """Refused: see ``_refuse``."""
        self._refuse(local_file)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> NoReturn:
        """Refused: see ``_refuse``."""
        self._refuse(local_dir)

    def delete_artifacts(self, artifact_path: str | None = None) -> NoReturn:
        """Refused: see ``_refuse``."""
        self._refuse(artifact_path or "everything")

    @abstractmethod
    def _resolve(self, name: str, revision: str) -> Path:
        """The local folder of a source.

        Args:
            name: what follows the scheme's slash.
            revision: what follows the ``@``; empty without one.

        Raises:
            MlflowException: it cannot be had; the message says where, expected, got and remedy.
        """

    @cached_property
    def _root(self) -> Path:
        scheme, _, rest = self.artifact_uri.partition(":")
        name, _, revision = rest.removeprefix("/").partition("@")
        if not rest.startswith("/") or rest.startswith("//") or not _is_plain(name, revision):
            raise invalid(
                f"{self.artifact_uri}: expected {scheme}:/name or {scheme}:/name@revision, got "
                f"{rest!r} after the scheme: register the version with one slash and a plain name"
            )
        return self._resolve(name, revision).resolve()

    def _inside(self, path: str | None) -> Path:
        """A file or folder of the source, never one outside of it."""
        relative = Path(path or "")
        found = self._root / relative
        if relative.is_absolute() or ".." in relative.parts or not found.exists():
            held = ", ".join(sorted(entry.name for entry in self._root.iterdir()))
            raise missing(f"{self.artifact_uri}: no artifact {path!r}: expected one of {held}")
        return found

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        shutil.copyfile(self._inside(remote_file_path), local_path)

    def _refuse(self, what: str) -> NoReturn:
        raise invalid(
            f"{self.artifact_uri}: read-only: cannot log or delete {what}: "
            "log it to a run and register that as a version of its own"
        )


def _is_plain(name: str, revision: str) -> bool:
    parts = (*name.split("/"), *revision.split("/")) if revision else name.split("/")
    return all(part not in ("", ".", "..") for part in parts)


def invalid(message: str) -> MlflowException:
    """An error of what was asked for."""
    from mlflow.exceptions import MlflowException

    error: MlflowException = MlflowException.invalid_parameter_value(message)
    return error


def missing(message: str) -> MlflowException:
    """An error of what is not there."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    return MlflowException(message, error_code=RESOURCE_DOES_NOT_EXIST)
